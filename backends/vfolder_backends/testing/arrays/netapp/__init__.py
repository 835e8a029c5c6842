"""A simulated ONTAP cluster."""
