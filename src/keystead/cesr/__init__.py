"""Composable event streaming representation (CESR): bytes to typed elements and back."""
