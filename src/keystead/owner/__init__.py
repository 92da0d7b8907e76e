"""What an owner does: identifiers, keys, signatures. Knows ports, no adapter."""
