"""`python3 -m e2e.cluster`: the rig from a shell, run in the repository's root."""

import sys

from e2e.cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
