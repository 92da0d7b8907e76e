"""Decentralized key management on key event logs that anyone can verify."""
