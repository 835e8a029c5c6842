"""Plain directories, on any file system, without a quota."""
