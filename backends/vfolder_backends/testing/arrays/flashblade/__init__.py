"""A simulated FlashBlade."""
