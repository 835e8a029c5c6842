"""`vfolder-adm rebuild`: the objects again, after the loss of a whole cluster."""

import argparse
from contextlib import AsyncExitStack
from typing import Any

from vfolder_backends.adoption.found import Tick
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.rebuild import choose_cluster, rebuild
from vfolder_backends.errors import RootLost
from vfolder_backends.tree.root import opened_root
from vfolder_operator.adm import storage
from vfolder_operator.adm.adopt import add_object_arguments, deliver, open_backend
from vfolder_operator.adm.progress import Teller
from vfolder_operator.adm.spool import Spool
from vfolder_operator.adm.told import Verdicts
from vfolder_operator.adm.world import World

_DESCRIPTION = """\
Makes StorageBackend, QuotaScope and VFolder again from what lies below ROOT: the root mark, the
owner marks, the index of names and the limits on the storage. Nothing is changed there.

The marks name the lost cluster by its uid, and a new cluster has another one. So the StorageBackend
gets entries in spec.adoptions, one per scope, with previousCluster: they let an object take exactly
what the object of the same namespace and name had in that cluster, and nothing else. The first
operator that takes it writes its own marks. Be sure that the old cluster is gone: where it still
runs, its operator stops at NotOurs, and its pods go on writing.

What marks do not hold is not brought back: owner, mode, claim and thresholds of the objects, and
the labels of namespaces. Objects from Git or a backup are the better source for those; give them
the annotation vfolder.dev/id that is printed here. The type of a scope's id (user or project) is
not on the disk, either: project is printed, and only the digits count.

Trash is listed in the report, not rebuilt.
"""

_EPILOG = """\
examples:
  vfolder-adm rebuild /mnt/scratch --backend scratch.yaml --with-namespaces > objects.yaml
  vfolder-adm rebuild /mnt/scratch --backend scratch.yaml --report report.csv --apply
"""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rebuild",
        help="make the objects of a lost cluster again from marks and limits",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("root", metavar="ROOT", type=storage.root_path, help="the directory")
    parser.add_argument(
        "--backend",
        required=True,
        metavar="NAME|FILE",
        help="the StorageBackend: a file with its manifest, or its name in the new cluster; its "
        "type and paths are not on the disk",
    )
    parser.add_argument(
        "--cluster",
        default="",
        metavar="UID",
        help="whose marks, where there are those of several clusters: uid of its kube-system "
        "namespace",
    )
    add_object_arguments(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace, world: World) -> int:
    """Read the marks, then write or create."""
    async with AsyncExitStack() as stack:
        kube, found = await open_backend(stack, args, args.backend)
        port = storage.build(world, args, args.root, found, read_only=True)
        stack.push_async_callback(port.close)
        root_id = await port.attach(None, initialise=False)
        if not root_id:
            raise RootLost(f"{args.root} has no root mark: it is not mounted, or never was ours")
        pace = Pace(str(args.root), args.answer_seconds)
        stack.callback(pace.close)
        root = stack.enter_context(opened_root(str(args.root)))
        cluster = await pace.run(choose_cluster, root, args.cluster)
        teller = Teller(world.err, args.progress)
        verdicts = Verdicts(world.err, teller, args.report)
        stack.callback(verdicts.close)
        spool = Spool(found, root_id, rebuilt=True)
        stack.callback(spool.close)
        async for item in rebuild(pace, root, port, cluster, frozenset(args.scope)):
            if isinstance(item, Tick):
                teller.entries("Reading marks", item.entries)
                continue
            verdicts.add(item)
            spool.add(item)
        return await deliver(args, world, kube, spool, verdicts, teller, "rebuild")
