"""The operator with 5,000 VFolders: memory, processor time, and how long a restart takes.

The operator's program against a real API server without nodes, with directories on a local disk as
the storage. Binding is the controller manager's slowest part and `folders` measures it; here it
would only cost minutes, so the controller manager runs with a high client rate.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.bench import bare
from e2e.bench.operator_process import Operator
from e2e.bench.report import Figure, Section
from e2e.bench.watch import Watch
from e2e.cluster import ControlPlane, golang, packages
from e2e.cluster.progress import say
from vfolder_operator.kube import Body, Kinds, Kube

NAMESPACE = "bench-scale"
SCOPES = 50
COUNT = 5000
_BACKEND = "disk"
_DEADLINE = 600.0
_SETTLE_SECONDS = 10.0


def measure() -> Section:
    """Make 5,000 VFolders, and start the operator again under them."""
    packages.install(packages.NODES)
    golang.build()
    with (
        tempfile.TemporaryDirectory(prefix="vfolder-bench-") as folder,
        ControlPlane() as control_plane,
    ):
        _prepare(control_plane)
        log = Path(folder, "operator.log")
        with _running(control_plane, log) as operator:
            first = operator.until_ready(_DEADLINE)
            _make_scopes(control_plane, Path(folder, "storage"))
            empty = operator.usage()
            making = _make_folders(control_plane)
            time.sleep(_SETTLE_SECONDS)
            full = operator.usage()
        with _running(control_plane, log) as operator:
            again = operator.until_ready(_DEADLINE)
            looked = operator.until_reconciled(COUNT, _DEADLINE)
            time.sleep(_SETTLE_SECONDS)
            rested = operator.usage()
        say(f"{COUNT} VFolders: {full.resident:.0f} MiB, after a restart {rested.resident:.0f} MiB")
    return Section(
        "scale",
        f"the operator with {COUNT:,} VFolders in {SCOPES} scopes",
        "One process of the operator on a control plane without nodes; type vfs on a local disk; "
        "each VFolder with its claim and volume. The controller manager runs with "
        "--kube-api-qps=1000 here, or its default rate alone would take over four minutes. Memory "
        "is resident memory; the budget is 256 MiB.",
        [
            Figure("start to ready, no VFolder", first, "s"),
            Figure("memory, no VFolder", empty.resident, "MiB"),
            Figure("made and bound", COUNT / making, "1/s"),
            Figure("processor time per folder", 1000 * (full.cpu - empty.cpu) / COUNT, "ms"),
            Figure("memory after making them", full.resident, "MiB"),
            Figure("memory at most, making them", full.peak, "MiB"),
            Figure("restart to ready", again, "s"),
            Figure("restart until each was looked at", looked, "s"),
            Figure("memory after a restart", rested.resident, "MiB"),
            Figure("memory at most, restarting", rested.peak, "MiB"),
        ],
    )


def _prepare(control_plane: ControlPlane) -> None:
    bare.prepare(control_plane, "vfolder-system", NAMESPACE)
    supervisor, name = control_plane.supervisor, "controller-manager"
    supervisor.stop(name)
    rates = ("--kube-api-qps=1000", "--kube-api-burst=1000")
    argv = supervisor.record(name).argv
    supervisor.forget(name)
    supervisor.spawn(name, [*argv, *rates])


@contextmanager
def _running(control_plane: ControlPlane, log: Path) -> Iterator[Operator]:
    operator = Operator(control_plane.kubeconfig, log)
    try:
        yield operator
    finally:
        operator.stop()


def _make_scopes(control_plane: ControlPlane, root: Path) -> None:
    """Make a storage with all scopes; returns when they are Ready."""
    root.mkdir()
    with _watch(control_plane, "quotascopes") as watch:
        asyncio.run(_create_scopes(control_plane.kubeconfig, root))
        watch.until_reached(SCOPES, _DEADLINE)


async def _create_scopes(kubeconfig: Path, root: Path) -> None:
    backend: Body = {
        "type": "vfs",
        "hostPath": "/mnt/bench",
        "operatorPath": str(root),
        "allowedNamespaces": {},
    }
    scope: Body = {"backend": _BACKEND, "minEnforcement": "None", "limits": {"bytes": "1Gi"}}
    kube = await Kube.connect(str(kubeconfig))
    try:
        await kube.create(Kinds.BACKEND, {"metadata": {"name": _BACKEND}, "spec": backend})
    finally:
        await kube.close()
    bodies = ({"metadata": {"name": f"s{number}"}, "spec": scope} for number in range(SCOPES))
    await bare.create(kubeconfig, Kinds.SCOPE, NAMESPACE, bodies)


def _make_folders(control_plane: ControlPlane) -> float:
    """Make all VFolders; returns the seconds until the last one is Ready."""
    with _watch(control_plane, "vfolders") as watch:
        started = time.monotonic()
        bodies = (
            {"metadata": {"name": f"f{number}"}, "spec": {"quotaScope": f"s{number % SCOPES}"}}
            for number in range(COUNT)
        )
        asyncio.run(bare.create(control_plane.kubeconfig, Kinds.FOLDER, NAMESPACE, bodies))
        say(f"{COUNT} VFolders written after {time.monotonic() - started:.0f} s")
        return watch.until_reached(COUNT, _DEADLINE) - started


def _watch(control_plane: ControlPlane, plural: str) -> Watch:
    path = f"/apis/vfolder.dev/v1alpha1/namespaces/{NAMESPACE}/{plural}"
    return Watch(["kubectl"], control_plane.environment(), path, "Ready")
