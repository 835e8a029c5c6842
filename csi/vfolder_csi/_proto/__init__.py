"""Interface definitions and the stubs generated from them by `make proto`."""
