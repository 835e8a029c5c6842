"""A simulated Lustre, as far as its program lfs shows it."""
