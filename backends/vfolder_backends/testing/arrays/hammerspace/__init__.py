"""A simulated Hammerspace system."""
