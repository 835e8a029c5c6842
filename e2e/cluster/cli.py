"""The verbs of `python3 -m e2e.cluster`."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster import cleanup, commands, golang, images, packages, state
from e2e.cluster.ceph import Ceph
from e2e.cluster.cluster import Cluster
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import NotUp, RigError
from e2e.cluster.processes import Supervisor
from e2e.cluster.progress import say
from e2e.cluster.state import Kind

_DESCRIPTION = """\
A real Kubernetes and a real CephFS on this machine, without Docker and without a registry.
Run it in the repository's root. VFOLDER_CACHE and VFOLDER_STATE move its two folders.
"""
_SIGNALS = {"pause": signal.SIGSTOP, "resume": signal.SIGCONT}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m e2e.cluster",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default="default", help="which one (default: %(default)s)")

    verb = verbs.add_parser("build", help="install Debian packages and compile what is missing")
    verb.set_defaults(run=_build)

    verb = verbs.add_parser("up", parents=[named], help="start a cluster; prints its variables")
    verb.add_argument(
        "--nodes",
        type=int,
        default=2,
        metavar="N",
        help="0: only the API and its controllers, on loopback (default: %(default)s)",
    )
    verb.set_defaults(run=_up)

    verb = verbs.add_parser("down", parents=[named], help="take a cluster down, however broken")
    verb.add_argument("--all", action="store_true", help="every cluster, CephFS and guest")
    verb.set_defaults(run=_down)

    verb = verbs.add_parser("status", help="what runs, and which of its processes")
    verb.set_defaults(run=_status)

    verb = verbs.add_parser("env", parents=[named], help="print a cluster's variables again")
    verb.set_defaults(run=_env)

    verb = verbs.add_parser("load", parents=[named], help="import image archives into every node")
    verb.add_argument("archives", nargs="+", type=Path, metavar="IMAGE.tar")
    verb.set_defaults(run=_load)

    verb = verbs.add_parser("run", parents=[named], help="run a command where the API is reached")
    verb.add_argument("command", nargs="+", metavar="-- COMMAND")
    verb.set_defaults(run=_run)

    verb = verbs.add_parser(
        "on", parents=[named], help="run a command as on a node (its network, its mounts)"
    )
    verb.add_argument("node")
    verb.add_argument("command", nargs="+", metavar="-- COMMAND")
    verb.set_defaults(run=_on)

    for word in ("stop", "start", "pause", "resume"):
        verb = verbs.add_parser(word, parents=[named], help=f"{word} one process of a cluster")
        verb.add_argument("where", metavar="NODE", help="a node, or `control`")
        verb.add_argument("process", help="as `status` shows it: kubelet, apiserver, ...")
        verb.set_defaults(run=_act, verb=word)

    verb = verbs.add_parser("image", help="build the project's images; prints name and archive")
    verb.set_defaults(run=_image)

    verb = verbs.add_parser(
        "ceph", parents=[named], help="a private CephFS; start it before the cluster that uses it"
    )
    verb.add_argument("action", choices=("up", "down", "env"))
    verb.add_argument("--quick", action="store_true", help="report sizes without Ceph's delays")
    verb.set_defaults(run=_ceph)
    return parser


def _build(_: argparse.Namespace) -> None:
    packages.install(packages.EVERYTHING)
    golang.build()


def _up(arguments: argparse.Namespace) -> None:
    _demand_free(Kind.CLUSTER, arguments.name)
    if arguments.nodes:
        Cluster(arguments.name, nodes=arguments.nodes, keep=True).start()
    else:
        ControlPlane(arguments.name, keep=True).start()
    _env(arguments)


def _demand_free(kind: Kind, name: str) -> None:
    """Remove what is left of a broken one; refuse if a good one is up."""
    try:
        found = state.load(kind, name)
    except NotUp:
        return
    supervisor = Supervisor(found.folder)
    if all(supervisor.alive(process) for process in supervisor.names()):
        raise RigError(f"{kind} {name!r} is up already; take it down first, or use `env`")
    say(f"{kind} {name!r} is broken and will be made again")
    cleanup.take_down(found)


def _env(arguments: argparse.Namespace) -> None:
    found = state.load(Kind.CLUSTER, arguments.name)
    if found.nodes:
        _export(Cluster.attach(arguments.name).environment())
    else:
        _export(ControlPlane(arguments.name, keep=True).environment())


def _export(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def _down(arguments: argparse.Namespace) -> None:
    if not arguments.all:
        cleanup.take_down(state.load(Kind.CLUSTER, arguments.name))
        return
    # CephFS first: a process that waits for a storage server which hangs cannot be killed, but the
    # end of ceph-fuse fails its call.
    for kind in (Kind.GUEST, Kind.CEPH, Kind.CLUSTER):
        for found in state.load_all(kind):
            cleanup.take_down(found)
            say(f"{kind} {found.name!r} is down")


def _status(_: argparse.Namespace) -> None:
    for kind in Kind:
        for found in state.load_all(kind):
            nodes = f", {found.nodes} node(s)" if kind is Kind.CLUSTER else ""
            print(f"{kind} {found.name}{nodes}: {found.folder}")
            supervisor = Supervisor(found.folder)
            for name in supervisor.names():
                process = supervisor.record(name).process
                alive = process is not None and process.alive()
                print(f"  {name:24} {f'pid {process.pid}' if process and alive else 'dead'}")


def _load(arguments: argparse.Namespace) -> None:
    Cluster.attach(arguments.name).load(*arguments.archives)


def _run(arguments: argparse.Namespace) -> None:
    cluster = Cluster.attach(arguments.name)
    _replace_myself(cluster.command(arguments.command), cluster.environment())


def _on(arguments: argparse.Namespace) -> None:
    cluster = Cluster.attach(arguments.name)
    namespaces = cluster.node(arguments.node).namespaces
    _replace_myself(commands.entering(namespaces, arguments.command), cluster.environment())


def _replace_myself(argv: list[str], variables: Mapping[str, str]) -> None:
    """Become a program, so that its exit status, its signals and its terminal are ours."""
    os.execvpe(argv[0], argv, {**os.environ, **variables})


def _act(arguments: argparse.Namespace) -> None:
    cluster = Cluster.attach(arguments.name)
    name = cluster.process(arguments.where, arguments.process)
    if arguments.verb == "stop":
        cluster.supervisor.stop(name)
    elif arguments.verb == "start":
        cluster.supervisor.start(name)
    else:
        cluster.supervisor.signal(name, _SIGNALS[arguments.verb])


def _image(_: argparse.Namespace) -> None:
    for image in images.build().values():
        print(image.name, image.archive)


def _ceph(arguments: argparse.Namespace) -> None:
    ceph = Ceph(arguments.name, quick=arguments.quick, keep=True)
    if arguments.action == "down":
        cleanup.take_down(state.load(Kind.CEPH, arguments.name))
        return
    if arguments.action == "up":
        _demand_free(Kind.CEPH, arguments.name)
        ceph.start()
    else:
        state.load(Kind.CEPH, arguments.name)
    _export(
        {
            "CEPH_CONF": str(ceph.conf),
            "VFOLDER_CEPH_OPERATOR": str(ceph.operator_mount),
            "VFOLDER_CEPH_NODE": str(ceph.node_mount),
        }
    )
