"""The verb of `python -m e2e.guest`."""

import argparse
import signal
import sys
from pathlib import Path

from e2e.cluster import packages
from e2e.cluster.errors import RigError, TimedOut
from e2e.guest.disks import DISKS, EXT4, XFS
from e2e.guest.guest import Settings, run

_DESCRIPTION = """\
Run a command in a guest of User Mode Linux, with fresh disks that have project quotas.
"""
_NOTES = """\
exit status: the command's own; 124 when it was ended at its deadline, 125 when the guest did not
come up or died. Example, the suite on XFS alone:

  python -m e2e.guest run -- .venv/bin/pytest -q tests/conformance/guest/test_xfs.py
"""


def main(argv: list[str] | None = None) -> int:
    """Run the verb; return the exit status."""
    arguments = _parser().parse_args(argv)
    if not arguments.command:
        print("no command given; see --help", file=sys.stderr)
        return 2
    # So that the folder and the processes of the guest go with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = Settings(
        memory=int(arguments.memory * (1 << 30)),
        disks=tuple(DISKS[name] for name in arguments.disks.split(",") if name),
        modules=tuple(arguments.modules.split()),
        sys_resource=not arguments.no_sys_resource,
        results=arguments.results,
        timeout=arguments.timeout,
    )
    try:
        packages.install(packages.GUEST)
        return run(arguments.command, settings)
    except TimedOut as error:
        print(error, file=sys.stderr)
        return 124
    except RigError as error:
        print(error, file=sys.stderr)
        return 125


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m e2e.guest",
        description=_DESCRIPTION,
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("run", help="run a command; needs root")
    verb.add_argument("--memory", type=float, default=1.0, metavar="GIB", help="default: 1")
    verb.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    verb.add_argument(
        "--disks",
        default=f"{XFS.name},{EXT4.name}",
        metavar="NAMES",
        help=f"mounted at /mnt/NAME (default: %(default)s; there are {', '.join(DISKS)})",
    )
    verb.add_argument("--modules", default="", metavar="NAMES", help="kernel modules to load")
    verb.add_argument(
        "--no-sys-resource",
        action="store_true",
        help="without CAP_SYS_RESOURCE, as in a container; with it root passes ext4's limits",
    )
    verb.add_argument("--results", type=Path, metavar="FOLDER", help="a folder it may write to")
    verb.add_argument("command", nargs="*", metavar="COMMAND", help="after --")
    return parser
