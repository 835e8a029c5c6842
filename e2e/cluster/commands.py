"""Running programs and waiting for conditions, always with a deadline."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.errors import CommandFailed, Missing, TimedOut

_TAIL_LINES = 15


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-lines:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our own environment with our programs on `PATH`, and `extra` on top."""
    return {**os.environ, "PATH": paths.program_path(), **(extra or {})}


def find_program(name: str) -> str:
    """The absolute path of a program.

    Raises:
        Missing: it is nowhere on the path.
    """
    found = shutil.which(name, path=paths.program_path())
    if found is None:
        raise Missing(f"{name} is not installed; run `python3 -m e2e.cluster build`")
    return found


def entering(namespaces: Sequence[str], argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in other namespaces.

    nsenter, because `ip netns exec` would also hide /sys/fs/cgroup and make all mounts private.

    Args:
        namespaces: nsenter's options, as in `--net=FILE`; with none, `argv` runs here.
        argv: the program and its arguments.
    """
    return ["nsenter", *namespaces, "--", *argv] if namespaces else list(argv)


def run(
    *argv: str | Path,
    timeout: float = 60,
    namespaces: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | bytes | None = None,
) -> str:
    """Run a program and return its standard output.

    Args:
        argv: the program and its arguments.
        timeout: deadline in seconds.
        namespaces: where to run, as for `entering`.
        env: variables on top of ours.
        cwd: the folder to run in.
        stdin: what the program reads; nothing by default.

    Raises:
        Missing: there is no such program.
        CommandFailed: it failed or passed its deadline.
    """
    words = [str(word) for word in argv]
    shown = shlex.join(words)
    words[0] = find_program(words[0])
    try:
        done = subprocess.run(
            entering(namespaces, words),
            input=stdin.encode() if isinstance(stdin, str) else stdin or b"",
            capture_output=True,
            env=environment(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"not finished within {timeout:g} s: {shown}") from error
    if done.returncode:
        said = tail((done.stderr + done.stdout).decode(errors="replace"))
        raise CommandFailed(f"exit status {done.returncode}: {shown}\n{said}")
    return done.stdout.decode(errors="replace")


def succeeds(*argv: str | Path, timeout: float = 10, namespaces: Sequence[str] = ()) -> bool:
    """Whether a program ends well; its output is dropped."""
    try:
        run(*argv, timeout=timeout, namespaces=namespaces)
    except CommandFailed:
        return False
    return True


def wait_until(check: Callable[[], bool], what: str, timeout: float, every: float = 0.1) -> None:
    """Poll `check` until it holds; it may raise to give up early.

    Raises:
        TimedOut: it did not hold within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= end:
            raise TimedOut(f"{what}: not within {timeout:g} s")
        time.sleep(every)
