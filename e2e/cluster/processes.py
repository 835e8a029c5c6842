"""Servers that outlive the program that started them, known by files alone.

Each server has a record with its pid, the start time of that pid and the boot it belongs to, so
that a reused pid is never taken for ours. A record is written just after the start, so a rig that
dies in between would leave a server without one: therefore every server also carries its folder in
the environment variable `VFOLDER_RIG`, which its own children inherit, and `find_marked` finds all.
"""

import contextlib
import dataclasses
import json
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import commands
from e2e.cluster.errors import NotUp, ProcessDied, TimedOut

MARK = "VFOLDER_RIG"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for all time: `started` is in clock ticks since boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process that has this pid now; None if there is none, or only its corpse."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may hold anything; the fields after it are fixed.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), _boot_id())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Signal it; False if it is gone. The descriptor keeps the pid from changing hands."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for its end; reap it if it was our own child."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if self.alive():
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(timeout * 1000)
        finally:
            os.close(descriptor)
        if self.alive():
            return False
        # It is nobody's child of ours if an earlier run of the rig started it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return True


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def find_marked(folder: Path) -> list[Identity]:
    """Every process that was started for `folder`, and their descendants that kept the mark."""
    mark = f"{MARK}={folder}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        identity = Identity.of(int(entry.name))
        try:
            environ = (entry / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if identity and (environ.startswith(mark) or b"\0" + mark in environ):
            found.append(identity)
    return found


def kill_all(identities: Iterable[Identity], timeout: float) -> list[Identity]:
    """SIGKILL them and return those that still live after `timeout` seconds."""
    targets = list(identities)
    for identity in targets:
        identity.send(signal.SIGKILL)
    end = time.monotonic() + timeout
    return [one for one in targets if not one.wait(max(0.0, end - time.monotonic()))]


@dataclass(frozen=True, slots=True)
class Record:
    """What is needed to know a server again, and to start it again."""

    name: str
    argv: list[str]
    namespaces: list[str]
    process: Identity | None


class Supervisor:
    """The servers of one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records = folder / "processes"
        self._logs = folder / "log"

    def names(self) -> list[str]:
        """All servers that were ever started here."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def record(self, name: str) -> Record:
        """Return what is known of a server.

        Raises:
            NotUp: there is none of that name.
        """
        try:
            raw = json.loads((self._records / f"{name}.json").read_text())
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none"
            raise NotUp(f"no process {name!r} in {self.folder.name!r}; known: {known}") from None
        process = Identity(**raw["process"]) if raw["process"] else None
        return Record(raw["name"], raw["argv"], raw["namespaces"], process)

    def log(self, name: str) -> Path:
        """The file that takes the server's output."""
        return self._logs / f"{name}.log"

    def alive(self, name: str) -> bool:
        """Whether the server runs."""
        process = self.record(name).process
        return process is not None and process.alive()

    def spawn(self, name: str, argv: Sequence[str | Path], namespaces: Sequence[str] = ()) -> None:
        """Start a server in a session of its own; `namespaces` as for `commands.entering`.

        Raises:
            Missing: the program is not installed.
        """
        self._records.mkdir(exist_ok=True)
        self._logs.mkdir(exist_ok=True)
        words = [str(word) for word in argv]
        words[0] = commands.find_program(words[0])
        self._start(Record(name, words, list(namespaces), None))

    def _start(self, record: Record) -> None:
        words = commands.entering(record.namespaces, record.argv)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # posix_spawn rather than Popen: a Popen object would complain when it is dropped while
        # its process runs, and running on is what these processes are for.
        pid = os.posix_spawn(
            commands.find_program(words[0]),
            words,
            commands.environment({MARK: str(self.folder)}),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(record.name)), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._save(dataclasses.replace(record, process=Identity.of(pid)))

    def _save(self, record: Record) -> None:
        path = self._records / f"{record.name}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(record), indent=1))
        partial.replace(path)

    def start(self, name: str) -> None:
        """Start a stopped server again with the same command line; nothing if it runs."""
        record = self.record(name)
        if not self.alive(name):
            self._start(record)

    def stop(self, name: str, timeout: float = 10) -> None:
        """End a server: SIGTERM, and SIGKILL after `timeout` seconds; nothing if it is dead.

        Raises:
            TimedOut: it survives even SIGKILL.
        """
        process = self.record(name).process
        if process is None or not process.send(signal.SIGTERM):
            return
        process.send(signal.SIGCONT)  # a paused process would not see SIGTERM
        if not process.wait(timeout) and kill_all([process], timeout):
            raise TimedOut(f"{name} (pid {process.pid}) does not end, not even by SIGKILL")

    def forget(self, name: str) -> None:
        """Drop the record of a server that ends in another way than by `stop`."""
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a running server.

        Raises:
            NotUp: it does not run.
        """
        process = self.record(name).process
        if process is None or not process.send(number):
            raise NotUp(f"{name} does not run")

    def demand_alive(self, name: str) -> None:
        """Raise with the server's last words if it is dead.

        Raises:
            ProcessDied: it is.
        """
        if not self.alive(name):
            said = commands.tail(self.log(name).read_text(errors="replace"))
            raise ProcessDied(f"{name} ended by itself:\n{said}")
