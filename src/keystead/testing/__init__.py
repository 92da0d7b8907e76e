"""Tools that test this and other implementations; they run as `python -m keystead.testing.X`."""
