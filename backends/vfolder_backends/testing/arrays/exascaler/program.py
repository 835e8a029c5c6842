"""The program `lfs` of a simulated Lustre, and what answers it.

The program is a few lines that hand arguments to the process that has the simulator, by a socket
beside it, and end as they are told. A backend calls it many times, so it is in Perl where there is
one, which starts in a fifth of the time. It needs no package, so its directory can be put on PATH.
"""

import os
import re
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from vfolder_backends.testing.arrays.exascaler.lustre import Answer, SimulatedLustre
from vfolder_backends.testing.arrays.faults import BEFORE, Kind

NAME: Final = "lfs"
_SOCKET: Final = "lfs.socket"
_PEER: Final = struct.Struct("3i")  # process, user, group
_MOST: Final = 1 << 18  # bytes of arguments or answer; one datagram
_KILLED: Final = -9
_QUEUE: Final = 128
_SECONDS: Final = 5.0  # for a caller to say what it wants
_DESCRIPTOR = re.compile(r"/proc/self/fd/([0-9]+)")

# Both open the directory first: a socket's address has no more than 108 bytes.
_PERL: Final = """\
#!{interpreter}
# lfs, simulated
if (!(open(D, "<", "{folder}") && socket(S, {family}, {type}, 0)
      && connect(S, pack("S a*", {family}, "/proc/self/fd/" . fileno(D) . "/{socket}"))
      && syswrite(S, join("\\0", @ARGV)) && sysread(S, $answer, {most}))) {{
    print STDERR "lfs: no simulated Lustre answers: $!\\n";
    exit 1;
}}
($status, $out, $message) = split(/\\0/, $answer, -1);
kill(-$status, $$) if $status < 0;
print STDOUT $out;
print STDERR $message;
exit $status;
"""
_PYTHON: Final = """\
#!{interpreter} -IS
# lfs, simulated; with the two modules that are built in, as others take long to import
import _socket, posix, sys
try:
    there = posix.open("{folder}", posix.O_RDONLY)
    door = _socket.socket({family}, {type})
    door.connect(f"/proc/self/fd/{{there}}/{socket}")
    door.send("\\0".join(sys.argv[1:]).encode("utf-8", "surrogateescape"))
    status, out, message = door.recv({most}).decode().split("\\0")
except (OSError, ValueError) as error:
    sys.exit(f"lfs: no simulated Lustre answers: {{error}}")
if int(status) < 0:
    posix.kill(posix.getpid(), -int(status))
sys.stdout.write(out)
sys.stderr.write(message)
sys.exit(int(status))
"""


class Program:
    """The program in a directory; it answers between `start` and `stop`, or in a `with` block.

    Args:
        array: what its calls are about.
        folder: an existing directory; gets the program and its socket.
        perl: which Perl to write it in; Python where there is none.
    """

    def __init__(
        self, array: SimulatedLustre, folder: Path, perl: str | None = shutil.which("perl")
    ) -> None:
        self.array = array
        self.path = folder.absolute() / NAME
        self.in_flight = 0
        """How many calls have not ended."""
        self._perl = perl
        self._socket = folder / _SOCKET
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write the program, and answer it.

        Raises:
            OSError: the directory cannot be written.
            ValueError: its name cannot be written down in a program.
        """
        if re.search(r'["\\$@\s]', str(self.path)):
            raise ValueError(f'{self.path}: choose a directory without blanks and \\ " $ @')
        self._socket.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        there = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self._listener.bind(f"/proc/self/fd/{there}/{_SOCKET}")
        finally:
            os.close(there)
        self._listener.listen(_QUEUE)
        self._write()
        self._thread = threading.Thread(
            target=self._serve, args=(self._listener,), name="lfs", daemon=True
        )
        self._thread.start()

    def _write(self) -> None:
        text = (_PERL if self._perl else _PYTHON).format(
            interpreter=self._perl or sys.executable,
            folder=self.path.parent,
            socket=_SOCKET,
            family=int(socket.AF_UNIX),
            type=int(socket.SOCK_SEQPACKET),
            most=_MOST,
        )
        self.path.write_text(text)
        self.path.chmod(0o755)

    def stop(self) -> None:
        """Answer no more; the program stays and says that nobody is there."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
        self._socket.unlink(missing_ok=True)

    def join(self) -> None:
        """Wait until it was stopped."""
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "Program":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.join()

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return  # stopped
                self._count(1)
                with suppress(OSError):  # gone before it said anything
                    self._take(caller)
                    continue
                self._count(-1)

    def _count(self, change: int) -> None:
        with self.array.lock:
            self.in_flight += change

    def _take(self, caller: socket.socket) -> None:
        caller.settimeout(_SECONDS)
        words = caller.recv(_MOST).decode("utf-8", "surrogateescape").split("\0")
        caller.settimeout(None)
        kind = self.array.taken(words)
        work = partial(self._answer, caller, words, kind)
        if kind in (Kind.HANG, Kind.LATE):
            threading.Thread(target=work, daemon=True).start()
        else:
            work()

    def _answer(self, caller: socket.socket, words: list[str], kind: Kind | None) -> None:
        answer = Answer(0)
        with caller:
            peer = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            with _place(words[-1], _PEER.unpack(peer)[0]) as place:
                if kind in (Kind.HANG, Kind.LATE):
                    with suppress(OSError):
                        caller.recv(1)  # until it is gone
                if kind in (Kind.FORBIDDEN, Kind.ERROR):
                    answer = self.array.refuse(words, kind)
                elif kind not in BEFORE:
                    answer = self.array.serve(words, place)
            self._count(-1)
            status, out = answer.status, answer.out
            if kind in (Kind.RESET, Kind.LOST):
                status = _KILLED
            elif kind is Kind.TRUNCATED:
                out = out[: len(out) // 3]
            reply = f"{status}\0{out}\0{answer.message}"
            with suppress(OSError):  # killed meanwhile; what it asked for is done all the same
                caller.send(reply.encode("utf-8", "surrogateescape"))


@contextmanager
def _place(word: str, caller: int) -> Iterator[str]:
    """What a word names; one of the caller's open files is held open, as the kernel would."""
    own = _DESCRIPTOR.fullmatch(word)
    if own is None:
        yield word
        return
    theirs = f"/proc/{caller}/fd/{own[1]}"
    try:
        held = os.open(theirs, os.O_PATH)
    except OSError:
        yield theirs  # it is gone, and so is this path
        return
    try:
        yield f"/proc/self/fd/{held}"
    finally:
        os.close(held)
