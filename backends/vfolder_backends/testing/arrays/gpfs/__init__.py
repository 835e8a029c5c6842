"""A simulated IBM Storage Scale cluster."""
