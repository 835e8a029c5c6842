"""The command tree of `vfolder-adm`, and how errors become exit codes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from vfolder_backends.adoption.failures import AdoptionError, MappingError
from vfolder_backends.errors import BackendError
from vfolder_operator.adm import adopt, kinds, migrate, rebuild, scan
from vfolder_operator.adm.output import printable
from vfolder_operator.adm.world import FAILED, USAGE, Command, UsageError, World
from vfolder_operator.kube import KubeError

_DESCRIPTION = """\
Looks at, adopts, migrates and rebuilds folders on a storage that VFolder manages; tells what kinds
of storage there are, and whether one would work.
"""

_EPILOG = """\
Nothing is changed unless --apply or --write is given; scan never changes anything.
Results go to standard output, progress and messages to standard error.

exit codes:
  0  done, nothing was refused
  1  something was refused or failed; the message or the report says what
  2  wrong usage: an argument, a mapping or a manifest; nothing was touched
"""


class _Parser(argparse.ArgumentParser):
    """Prints help as it is written, line by line."""

    def __init__(self, **more: object) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **more})  # type: ignore[arg-type]


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = _Parser(prog="vfolder-adm", description=_DESCRIPTION, epilog=_EPILOG)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (scan, adopt, migrate, rebuild, kinds):
        module.add(commands)
    return top


def run(words: Sequence[str], world: World | None = None) -> int:
    """Run one command line and return the exit code."""
    world = world or World(sys.stdout, sys.stderr)
    try:
        return asyncio.run(execute(words, world))
    except KeyboardInterrupt:
        world.err.write("vfolder-adm: interrupted; a migration goes on when it is started again\n")
        return FAILED
    except BrokenPipeError:
        # Whoever read our output went away; nothing more can be told there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


async def execute(words: Sequence[str], world: World) -> int:
    """The same on a running event loop."""
    try:
        args = parser().parse_args(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    command: Command = args.run
    try:
        return await command(args, world)
    except (UsageError, MappingError) as error:
        code, why = USAGE, str(error)
    except BackendError as error:
        code, why = FAILED, f"{error.reason}: {error}"
    except (AdoptionError, KubeError) as error:
        code, why = FAILED, str(error)
    world.err.write(f"vfolder-adm: {printable(why)}\n")
    return code
