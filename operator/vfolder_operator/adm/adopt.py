"""`vfolder-adm adopt`: objects for scopes and folders that lie there already."""

import argparse
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vfolder_backends.adoption.columns import Defaults
from vfolder_backends.adoption.found import Tick
from vfolder_backends.adoption.judge import Court, Names, judge
from vfolder_backends.adoption.mapping import MappedScope, MappingTable
from vfolder_backends.adoption.pacing import Pace
from vfolder_backends.adoption.verdicts import DefaultNames
from vfolder_backends.facts import Capabilities
from vfolder_backends.ids import ScopeHex, ScopeKind
from vfolder_backends.port import ScopeState
from vfolder_backends.tree.root import opened_root
from vfolder_operator.adm import manifests, progress, storage, told
from vfolder_operator.adm.apply import apply
from vfolder_operator.adm.progress import Teller
from vfolder_operator.adm.spool import Spool
from vfolder_operator.adm.storage import Described
from vfolder_operator.adm.told import Verdicts
from vfolder_operator.adm.world import DONE, FAILED, UsageError, World
from vfolder_operator.crds.scope import QuotaScopeSpec
from vfolder_operator.kube import Kinds, Kube
from vfolder_operator.reconcile import policies

_DESCRIPTION = """\
Makes QuotaScopes and VFolders for the scopes and folders of layout 3 below ROOT, with the
limits they have now. No data is moved or changed: the operator only writes marks beside it.

By default the manifests go to standard output (or to --manifests DIR), for kubectl apply, with
the StorageBackend and the spec.adoptions it needs first. --apply creates the objects instead,
after a dry run of all of them on the API server. Objects are made with reclaimPolicy Retain.
Running it again changes nothing.

Whose a scope is and what a folder is called is not on the disk. It comes from --mapping, an export
of the former system's folder table (columns: see migrate --help); without one, --default-type says
whose scopes they are, and ids become names.

Refused, each with a reason: links and files where directories belong, marks of somebody else, two
folders of one name, names that Kubernetes does not take, limits that cannot be read, and what no
line of the mapping is about. Folders of layout 2 have to be migrated first.
"""

_EPILOG = """\
examples:
  vfolder-adm adopt /mnt/scratch --backend scratch.yaml --namespace team-a \\
      --mapping folders.csv --report report.csv > objects.yaml
  vfolder-adm adopt /mnt/scratch --backend scratch --namespace team-a --mapping folders.csv --apply
"""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "adopt",
        help="make objects for existing scopes and folders, without moving a byte",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("root", metavar="ROOT", type=storage.root_path, help="the directory")
    parser.add_argument(
        "--backend",
        required=True,
        metavar="NAME|FILE",
        help="the StorageBackend: its name in the cluster, or a file with its manifest",
    )
    parser.add_argument(
        "--namespace", default="", metavar="NS", help="where rows of no namespace go"
    )
    add_mapping_arguments(parser)
    parser.add_argument(
        "--default-type",
        choices=[str(kind) for kind in ScopeKind],
        help="whose scopes they are, where there is no mapping",
    )
    parser.add_argument(
        "--cluster-uid",
        default="",
        metavar="UID",
        help="uid of the cluster's kube-system namespace, by which marks name it; asked of the API "
        "server where one is used",
    )
    add_object_arguments(parser)
    parser.set_defaults(run=run)


def add_mapping_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what reads a mapping."""
    parser.add_argument("--mapping", default="", metavar="FILE", help="CSV or JSON; see above")
    parser.add_argument(
        "--volume",
        default="",
        metavar="NAME",
        help="only rows whose host is <anything>:NAME, or that have none",
    )
    parser.add_argument(
        "--adapt-names",
        action="store_true",
        help="make names that Kubernetes takes: lower case, with dashes for all else",
    )


def add_object_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where objects go, shared with rebuild."""
    parser.add_argument(
        "--scope",
        action="append",
        default=[],
        type=scope_id,
        metavar="UUID",
        help="only this scope; may be given more than once",
    )
    parser.add_argument(
        "--manifests",
        default="-",
        metavar="DIR",
        help="write manifests there, a file per scope (default: standard output)",
    )
    parser.add_argument("--apply", action="store_true", help="create the objects")
    parser.add_argument(
        "--with-namespaces", action="store_true", help="make namespaces that are not there, too"
    )
    told.add_arguments(parser)
    storage.add_storage_arguments(parser)
    storage.add_cluster_arguments(parser)
    storage.add_deadlines(parser)
    progress.add_arguments(parser)


def scope_id(text: str) -> ScopeHex:
    """A uuid, or its 32 digits."""
    try:
        return ScopeHex.from_uuid(text) if "-" in text else ScopeHex(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def run(args: argparse.Namespace, world: World) -> int:
    """Judge all that is there, then write or create."""
    async with AsyncExitStack() as stack:
        kube, found = await open_backend(stack, args, args.backend)
        names = _names(args)
        if isinstance(names, MappingTable):
            stack.callback(names.close)
        cluster = args.cluster_uid
        if not cluster and kube is not None:
            cluster = await storage.cluster_uid(kube)
        port = storage.build(world, args, args.root, found, read_only=True)
        stack.push_async_callback(port.close)
        root_id = await port.attach(None, initialise=False)
        pace = Pace(str(args.root), args.answer_seconds)
        stack.callback(pace.close)
        root = stack.enter_context(opened_root(str(args.root)))
        teller = Teller(world.err, args.progress)
        verdicts = Verdicts(world.err, teller, args.report)
        stack.callback(verdicts.close)
        spool = Spool(found, root_id, rebuilt=False)
        stack.callback(spool.close)
        admit = await _admission(kube, found)
        court = Court(pace, root, names, port, cluster, admit, frozenset(args.scope))
        async for item in judge(court):
            if isinstance(item, Tick):
                teller.entries("Judging", item.entries)
                continue
            verdicts.add(item)
            spool.add(item)
        return await deliver(args, world, kube, spool, verdicts, teller, "adopt")


async def open_backend(
    stack: AsyncExitStack, args: argparse.Namespace, name: str
) -> tuple[Kube | None, Described]:
    """Read the StorageBackend; connect where it, or what follows, needs the API server."""
    kube = None
    if args.apply or not storage.is_file(name):
        kube = await storage.connect(args)
        stack.push_async_callback(kube.close)
    if storage.is_file(name):
        return kube, storage.read_manifest(Path(name))
    assert kube is not None  # noqa: S101 - a name was given, so it was connected above
    return kube, await storage.find(name, kube, args.operator_namespace)


async def deliver(
    args: argparse.Namespace,
    world: World,
    kube: Kube | None,
    spool: Spool,
    verdicts: Verdicts,
    teller: Teller,
    what: str,
) -> int:
    """Write the manifests, or create the objects; returns the exit code."""
    if not args.apply:
        good = verdicts.summary(what)
        spool.write(args.manifests, world.out, with_namespaces=args.with_namespaces)
        return DONE if good else FAILED
    assert kube is not None  # noqa: S101 - --apply connects
    async for problem in apply(kube, spool, teller, with_namespaces=args.with_namespaces):
        verdicts.refuse(problem)
    return DONE if verdicts.summary(what) else FAILED


def _names(args: argparse.Namespace) -> Names:
    if args.mapping:
        defaults = Defaults(args.namespace, args.volume, args.adapt_names)
        return MappingTable.load(Path(args.mapping), defaults)
    if not args.default_type or not args.namespace:
        raise UsageError(
            "whose the scopes are is not on the disk: give --mapping FILE, or --default-type and"
            " --namespace"
        )
    return DefaultNames(ScopeKind(args.default_type), args.namespace)


async def _admission(kube: Kube | None, found: Described) -> Any:
    """What the operator would say to a scope; without an API server, by the namespace's name."""
    labels: dict[str, dict[str, str]] = {}
    if kube is not None:
        async for namespace in kube.list(Kinds.NAMESPACE):
            meta = namespace["metadata"]
            labels[meta["name"]] = meta.get("labels") or {}

    def admit(said: MappedScope, state: ScopeState) -> str | None:
        spec = QuotaScopeSpec.model_validate(
            manifests.expected_spec(found.name, said, state.limits, state.enforcement)
        )
        mine = labels.get(said.namespace, {"kubernetes.io/metadata.name": said.namespace})
        offered = Capabilities(state.enforcement)
        violation = policies.admission(spec, found.spec, said.namespace, mine, offered)
        return None if violation is None else f"{violation.reason}: {violation.message}"

    return admit
