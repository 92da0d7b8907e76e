"""Keystores: what holds private keys and uses them."""
