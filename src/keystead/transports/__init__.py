"""How others are reached: HTTP, and the guard that decides whom to reach at all."""
