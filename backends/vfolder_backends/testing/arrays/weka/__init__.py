"""A simulated WEKA cluster."""
