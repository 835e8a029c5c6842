"""Storage backends of VFolder: one port, one implementation per kind, one conformance suite."""
