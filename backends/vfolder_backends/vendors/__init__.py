"""One package per kind of storage; they do not know each other."""
