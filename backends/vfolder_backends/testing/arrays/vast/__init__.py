"""A simulated VAST cluster."""
