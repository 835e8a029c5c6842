"""Lines that tell a waiting person what happens and how long it has taken."""

import sys
import time

_START = time.monotonic()


def say(text: str) -> None:
    """Print a line to standard error with the seconds since the start of the program."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", file=sys.stderr, flush=True)
