"""One run of a guest: boot, a command, its output and exit status, and nothing left behind.

    status = run(["pytest", "-q", "tests/conformance/guest"], Settings(results=folder))

Facts and pitfalls were measured on Debian's `user-mode-linux` 6.1; they stand beside what they led
to, here and in the two scripts.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from e2e.cluster import cleanup, commands, packages, state
from e2e.cluster.errors import Missing, ProcessDied, RigError, TimedOut
from e2e.cluster.processes import MARK
from e2e.cluster.state import Kind, State
from e2e.guest import disks
from e2e.guest.disks import EXT4, XFS, Disk

INSIDE: Final = "VFOLDER_GUEST"
"""Environment variable that is set for the command in a guest."""

_HERE: Final = Path(__file__).parent
_KERNEL: Final = "linux.uml"
_SPARE: Final = 64 << 20  # of the host's RAM, beyond the guest's own
_PR_SET_PDEATHSIG: Final = 1

_TOLD: Final = {
    INSIDE: "1",
    # Our own running things are none of the guest's: what it starts has a place of its own.
    "VFOLDER_STATE": "/run/vfolder",
    # Output passes through consoles, so programs take it for a terminal.
    "TERM": "dumb",
}

_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a guest is like.

    Attributes:
        memory: bytes of RAM; what is written outside disks and windows takes of it, too.
        disks: what is mounted, at `/mnt/<name>`.
        modules: kernel modules to load, beside `fuse`, `loop` and `quota_v2`.
        sys_resource: whether the command has CAP_SYS_RESOURCE, as no ordinary container has.
        results: a folder of the host that the command may write to.
        timeout: seconds until it is ended, boot included.
    """

    memory: int = 1 << 30
    disks: tuple[Disk, ...] = (XFS, EXT4)
    modules: tuple[str, ...] = ()
    sys_resource: bool = True
    results: Path | None = None
    timeout: float = 600.0


def inside() -> bool:
    """Whether this process runs in a guest."""
    return INSIDE in os.environ


def run(
    argv: Sequence[str | Path],
    settings: Settings = Settings(),
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run a command in a fresh guest and return its exit status.

    Its standard input is empty, it has no network but `lo`, and whatever it writes outside its
    disks and the results is gone afterwards. Several guests may run at once.

    Args:
        argv: the command.
        settings: what the guest is like.
        stdout: takes the standard output as it comes; our own by default.
        stderr: likewise.
        env: variables on top of ours.
        cwd: the folder to run in; our own by default.

    Returns:
        the exit status; 128 and the signal's number for a command that a signal killed.

    Raises:
        Missing: root or a package is not there.
        TimedOut: it had to be ended.
        ProcessDied: the guest did not come up, or died; the message holds what it said.
    """
    packages.demand_root("a guest")
    if lacking := packages.missing(packages.GUEST):
        raise Missing(f"packages are missing: apt-get install {' '.join(lacking)}")
    cleanup.remove_abandoned()
    place = State(Kind.GUEST, state.random_name(), 0, state.myself())
    place.create()
    with cleanup.on_failure(place):
        status = _Run(place.folder, settings, stdout, stderr).go(argv, env or {}, cwd or Path.cwd())
    cleanup.take_down(place)
    return status


class _Run:
    def __init__(
        self,
        folder: Path,
        settings: Settings,
        stdout: IO[bytes] | None,
        stderr: IO[bytes] | None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._control = folder / "control"
        self._console = bytearray()
        self._sinks: tuple[Callable[[bytes], object], ...] = (
            _writer(stdout or sys.stdout.buffer),
            _writer(stderr or sys.stderr.buffer),
            self._console.extend,
        )

    def go(self, argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> int:
        """Boot, wait, and read the status."""
        settings = self._settings
        for name in ("control", "ram", "uml"):
            (self._folder / name).mkdir()
        windows = [settings.results.resolve()] if settings.results else []
        for path in (self._folder, *windows):
            # Both kernel command line and mount options are split at these.
            if set(str(path)) & set(", \t\n"):
                raise RigError(f"{path}: a guest's folders may not hold commas or blanks")
        for window in windows:
            window.mkdir(parents=True, exist_ok=True)
        images = disks.make(settings.disks, self._folder)
        self._write_variables(windows)
        self._write_command(argv, env, cwd)
        shutil.copy(_HERE / "init.sh", self._control / "init")
        late = self._boot(images, windows)
        said = self._control / "status"
        if late:
            raise TimedOut(f"the guest was not done within {settings.timeout:g} s")
        if not said.exists():
            what = "died" if (self._control / "started").exists() else "did not come up"
            raise ProcessDied(f"the guest {what}; end of its console:\n{self._last_words()}")
        return int(said.read_text())

    def _write_variables(self, windows: Sequence[Path]) -> None:
        settings = self._settings
        disks_by_letter = zip("abcdefgh", settings.disks, strict=False)
        variables = {
            "WINDOWS": [str(window) for window in windows],
            "MODULES": settings.modules,
            "DISKS": [
                f"{disk.kind} {disk.options} /dev/ubd{letter} {disk.mount_point}"
                for letter, disk in disks_by_letter
            ],
        }
        text = "".join(f"{name}=({shlex.join(values)})\n" for name, values in variables.items())
        text += f"NO_SYS_RESOURCE={'' if settings.sys_resource else 'yes'}\n"
        (self._control / "vars").write_text(text)

    def _write_command(self, argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> None:
        told = {**os.environ, **_TOLD, **env}
        told.pop(MARK, None)
        words = [*(f"{name}={value}" for name, value in told.items()), *map(str, argv)]
        (self._control / "command").write_text(
            f"cd {shlex.quote(str(cwd))} || exit 126\nexec env -i {shlex.join(words)}\n"
        )

    def _boot(self, images: Sequence[Path], windows: Sequence[Path]) -> bool:
        """Run the guest to its end; return whether it had to be ended."""
        # Pipes, since a plain file cannot be a console, and since this kernel sets O_NONBLOCK on
        # what it is given: the caller's own descriptors must not suffer that.
        pipes = [os.pipe() for _ in self._sinks]
        out, err, console = (write for _, write in pipes)
        memory = self._settings.memory
        kernel = [
            commands.find_program(_KERNEL),
            f"mem={memory >> 20}M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            *(f"ubd{number}={image}" for number, image in enumerate(images)),
            f"uml_dir={self._folder}/uml/",
            "umid=uml",
            f"init={self._control}/init",
            f"con0=null,fd:{console}",
            f"con1=null,fd:{out}",
            f"con2=null,fd:{err}",
            "con=null",
            "ssl=null",
            "quiet",
        ]
        boot: list[str | Path] = [
            _HERE / "boot.sh",
            self._folder,
            str(memory + _SPARE),
            *windows,
            "--",
            *kernel,
        ]
        apart = ("--mount", "--pid", "--ipc", "--net", "--fork", "--kill-child=KILL")
        guest = subprocess.Popen(
            [commands.find_program("unshare"), *apart, "--mount-proc", "--", *boot],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(out, err, console),
            env=commands.environment({MARK: str(self._folder)}),
            # With the namespace's first process everything in it dies, and that one with us.
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        copiers = []
        for (read, write), sink in zip(pipes, self._sinks, strict=True):
            os.close(write)
            copiers.append(threading.Thread(target=_copy, args=(read, sink), daemon=True))
            copiers[-1].start()
        try:
            guest.wait(self._settings.timeout)
        except subprocess.TimeoutExpired:
            return True
        finally:
            guest.kill()
            guest.wait()
            for copier in copiers:
                copier.join()
        return False

    def _last_words(self) -> str:
        lines = self._console.decode(errors="replace").splitlines()
        for number, line in enumerate(lines):
            if "Kernel panic" in line or "Out of memory" in line:
                return "\n".join(lines[number : number + 4])
        return commands.tail("\n".join(lines))


def _writer(stream: IO[bytes]) -> Callable[[bytes], object]:
    def write(data: bytes) -> None:
        # Who reads us may have gone; the guest's own end must not hang on that.
        with suppress(BrokenPipeError):
            stream.write(data)
            stream.flush()

    return write


def _copy(source: int, sink: Callable[[bytes], object]) -> None:
    with open(source, "rb", buffering=0) as file:
        while data := file.read(65536):
            sink(data)
