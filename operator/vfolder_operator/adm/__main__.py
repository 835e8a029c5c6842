"""The command."""

import sys

from vfolder_operator.adm.cli import run


def main() -> None:
    """Run with the process's own arguments, and end with the exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
