"""Key event receipt infrastructure (KERI): what events mean and which are valid."""
