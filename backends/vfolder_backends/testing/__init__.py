"""Shipped with the product: an in-memory backend, and the suite that every backend must pass."""
