"""`vfolder-sim KIND`: serves a simulated array, so that the product can be tried without one.

`vfolder-sim lfs` has no endpoint: it puts a program `lfs` into a directory, and answers it.
"""

import argparse
import signal
import sys
from pathlib import Path

from vfolder_backends.testing.arrays import catalogue
from vfolder_backends.testing.arrays.certificates import Certificate, issue, load
from vfolder_backends.testing.arrays.exascaler import program
from vfolder_backends.testing.arrays.exascaler.lustre import SimulatedLustre
from vfolder_backends.testing.arrays.server import Server


def main(words: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    chosen = _parser().parse_args(words)
    if chosen.kind == program.NAME:
        _answer_lfs(chosen)
        return
    if (chosen.tls_cert is None) != (chosen.tls_key is None):
        sys.exit("--tls-cert and --tls-key go together")
    chosen.data.mkdir(parents=True, exist_ok=True)
    array = catalogue.make(chosen.kind, chosen.data)
    array.latency = chosen.latency_ms / 1000
    server = Server(array, chosen.host, chosen.port, _certificate(chosen), chosen.control_port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.start()
    if chosen.ca_file is not None:
        chosen.ca_file.write_text(server.certificate.authority)
    print(f"endpoint: {server.endpoint}{array.shown_base}", flush=True)  # noqa: T201 - the output
    if server.control_endpoint is not None:
        print(f"control: {server.control_endpoint}", flush=True)  # noqa: T201
    for account in array.tokens.accounts.values():
        print(f"account: {account.name} / {account.password} ({account.role})", flush=True)  # noqa: T201
    how = "for real, by CephFS" if array.disk.real else "only for what the simulator writes"
    print(f"limits on {chosen.data} are enforced {how}", flush=True)  # noqa: T201
    server.join()


def _answer_lfs(chosen: argparse.Namespace) -> None:
    if chosen.bin is None:
        sys.exit("lfs needs --bin DIR: the directory that gets the program")
    for folder in (chosen.data, chosen.bin):
        folder.mkdir(parents=True, exist_ok=True)
    lustre = SimulatedLustre(chosen.data.resolve())
    lfs = program.Program(lustre, chosen.bin.resolve())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: lfs.stop())
    lfs.start()
    print(f"lfsPath: {lfs.path}", flush=True)  # noqa: T201 - the output
    print(f"mountPoint: {lustre.state.mount}", flush=True)  # noqa: T201
    how = "for real, by CephFS" if lustre.disk.real else "on nobody"
    print(f"limits are kept until this ends, and enforced {how}", flush=True)  # noqa: T201
    lfs.join()


def _certificate(chosen: argparse.Namespace) -> Certificate:
    if chosen.tls_cert is not None:
        return load(chosen.tls_cert, chosen.tls_key)
    return issue("localhost", "127.0.0.1", *chosen.name)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("vfolder-sim", description=__doc__)
    made.add_argument("kind", choices=(*catalogue.kinds(), program.NAME), help="which array")
    made.add_argument("--data", type=Path, required=True, help="directory that is its file system")
    made.add_argument("--bin", type=Path, help="only for lfs: directory for the program")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on")
    made.add_argument("--port", type=int, default=0, help="0 takes a free one")
    made.add_argument("--name", action="append", default=[], help="one more host name to certify")
    made.add_argument("--tls-cert", type=Path, help="certificate chain, PEM")
    made.add_argument("--tls-key", type=Path, help="its key, PEM")
    made.add_argument("--ca-file", type=Path, help="write the made authority's certificate here")
    made.add_argument(
        "--control-port", type=int, help="loopback port at which somebody at the array works"
    )
    made.add_argument("--latency-ms", type=float, default=0.0, help="delay of each call")
    return made


if __name__ == "__main__":
    main()
