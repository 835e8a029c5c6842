"""A control plane without nodes for measurements, and many objects for it at once."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from e2e.cluster import ControlPlane
from e2e.cluster.paths import REPOSITORY
from vfolder_operator.kube import Body, Kinds, Kube

_WIDTH = 32


def prepare(control_plane: ControlPlane, *namespaces: str) -> None:
    """Install the CRDs, and make namespaces."""
    control_plane.kubectl("apply", "-f", str(REPOSITORY / "crds"))
    for plural in ("storagebackends", "quotascopes", "vfolders"):
        name = f"crd/{plural}.vfolder.dev"
        control_plane.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    for namespace in namespaces:
        control_plane.kubectl("create", "namespace", namespace)


async def create(kubeconfig: Path, kind: Kinds, namespace: str, bodies: Iterable[Body]) -> None:
    """Create objects of one kind, 32 at a time."""
    kube = await Kube.connect(str(kubeconfig), timeout=60)
    waiting = iter(bodies)

    async def write() -> None:
        for body in waiting:
            await kube.create(kind, body, namespace)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_WIDTH):
                group.create_task(write())
    finally:
        await kube.close()
