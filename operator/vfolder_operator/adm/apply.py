"""Creates objects through the API server: all as a server-side dry run first, then in earnest.

What exists and stands for the same data is left alone; what exists and stands for something else is
refused, and then nothing at all is created.
"""

from collections.abc import AsyncIterator, Callable

from vfolder_backends.ids import FolderHex, QuotaScopeID
from vfolder_backends.port import Progress
from vfolder_operator.adm import manifests
from vfolder_operator.adm.spool import Spool
from vfolder_operator.kube import Body, Conflict, Kinds, Kube, KubeError
from vfolder_operator.names import ANNOTATION_ID, ANNOTATION_ROOT_ID

_KINDS = {kind.value.kind: kind for kind in (Kinds.SCOPE, Kinds.FOLDER, Kinds.NAMESPACE)}


async def apply(
    kube: Kube, spool: Spool, tell: Callable[[Progress], None], *, with_namespaces: bool
) -> AsyncIterator[str]:
    """Yield what was refused; when that is nothing, all has been created."""
    refused = False
    for dry_run in (True, False):
        async for problem in _pass(
            kube, spool, tell, dry_run=dry_run, with_namespaces=with_namespaces
        ):
            refused = True
            yield problem
        if refused:
            return


async def _pass(
    kube: Kube,
    spool: Spool,
    tell: Callable[[Progress], None],
    *,
    dry_run: bool,
    with_namespaces: bool,
) -> AsyncIterator[str]:
    made_later = set()
    if with_namespaces:
        for name in sorted(spool.namespaces):
            if await kube.find(Kinds.NAMESPACE, name) is None:
                made_later.add(name)
                await kube.create(
                    Kinds.NAMESPACE, manifests.namespace_manifest(name), dry_run=dry_run
                )
    problem = await _backend(kube, spool, dry_run=dry_run)
    if problem:
        yield problem
        return
    word, done = "Checking" if dry_run else "Creating", 0
    for manifest in spool.objects():
        done += 1
        tell(Progress(word, str(manifest["metadata"]["name"]), done))
        if dry_run and manifest["metadata"]["namespace"] in made_later:
            continue  # its namespace is not there yet, so the API server cannot check it
        problem = await _create(kube, manifest, dry_run=dry_run)
        if problem:
            yield problem


async def _backend(kube: Kube, spool: Spool, *, dry_run: bool) -> str:
    wanted = spool.backend()
    name = wanted["metadata"]["name"]
    present = await kube.find(Kinds.BACKEND, name)
    if present is None:
        try:
            await kube.create(Kinds.BACKEND, wanted, dry_run=dry_run)
        except KubeError as error:
            return f"StorageBackend {name}: {error}"
        return ""
    noted = (present["metadata"].get("annotations") or {}).get(ANNOTATION_ROOT_ID)
    root_id = (wanted["metadata"].get("annotations") or {}).get(ANNOTATION_ROOT_ID)
    if noted and root_id and noted != root_id:
        return (
            f"StorageBackend {name}: its {ANNOTATION_ROOT_ID} is {noted}, and the root here has"
            f" {root_id}: another storage"
        )
    have = present["spec"].get("adoptions") or []
    lacking = [e for e in spool.new_entries if not any(e.items() <= one.items() for one in have)]
    if not lacking:
        return ""
    patch = {
        "metadata": {"resourceVersion": present["metadata"]["resourceVersion"]},
        "spec": {"adoptions": [*have, *lacking]},
    }
    try:
        await kube.patch(Kinds.BACKEND, name, "", patch, dry_run=dry_run)
    except KubeError as error:
        return f"StorageBackend {name}: spec.adoptions: {error}"
    return ""


async def _create(kube: Kube, manifest: Body, *, dry_run: bool) -> str:
    kind, meta = _KINDS[manifest["kind"]], manifest["metadata"]
    where = f"{manifest['kind']} {meta['namespace']}/{meta['name']}"
    for _ in range(2):
        present = await kube.find(kind, meta["name"], meta["namespace"])
        if present is not None:
            mine, its = identity(manifest), identity(present)
            if mine == its:
                return ""
            return f"{where}: exists and stands for {its or 'data of its own'}, not for {mine}"
        try:
            await kube.create(kind, manifest, meta["namespace"], dry_run=dry_run)
        except Conflict:
            continue  # made just now: look what it is
        except KubeError as error:
            return f"{where}: {error}"
        return ""
    return f"{where}: appears and vanishes; run this again"


def identity(body: Body) -> str:
    """The digits of the data an object stands for, as far as it tells; else empty."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    noted = (body["metadata"].get("annotations") or {}).get(ANNOTATION_ID)
    try:
        if body.get("kind") == "QuotaScope":
            text = status.get("scopeID") or noted or spec.get("scopeID")
            return QuotaScopeID.parse(text).hex.value if text else ""
        text = status.get("folderID") or noted or spec.get("folderID")
        return FolderHex.from_uuid(text).value if text else ""
    except ValueError:
        return ""
