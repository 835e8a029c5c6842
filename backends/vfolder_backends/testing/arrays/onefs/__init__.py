"""A simulated OneFS cluster."""
