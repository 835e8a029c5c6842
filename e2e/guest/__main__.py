"""`python -m e2e.guest`: the guest from a shell, run in the repository's root."""

import sys

from e2e.guest.cli import main

if __name__ == "__main__":
    sys.exit(main())
