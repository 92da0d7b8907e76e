"""Tests of what stays after a crash; they run as `python -m keystead.testing.crash`."""
