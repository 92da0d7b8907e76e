"""A whole network of witnesses in one process, whose every accident comes from a seed."""
