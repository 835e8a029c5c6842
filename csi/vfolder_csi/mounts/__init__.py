"""Mounts: the only part of the plugin that talks to the kernel about them."""
