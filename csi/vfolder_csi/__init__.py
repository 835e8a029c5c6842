"""The CSI node plugin: makes folders appear in pods."""
