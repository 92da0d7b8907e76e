"""Life of keys, pure: what kinds there are, in which state each is, and what depends on it."""
