"""Pure Storage FlashBlade, by its REST API 2: one file system per scope."""
