"""A real API server for all component tests, and small words to talk to it."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest
from operator_rig import Api

from e2e.cluster import ControlPlane
from vfolder_operator.kube import Kinds, Kube

ROOT = pathlib.Path(__file__).parents[2]


def install_kinds(running: ControlPlane) -> None:
    running.kubectl("apply", "-f", str(ROOT / "crds"))
    for kind in (Kinds.BACKEND, Kinds.SCOPE, Kinds.FOLDER):
        name = f"crd/{kind.value.plural}.vfolder.dev"
        running.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        install_kinds(running)
        for namespace in ("vfolder-system", "team-a", "team-b"):
            running.kubectl("create", "namespace", namespace)
        yield running


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """The API server; what a test leaves is removed, held or not."""
    kube = await Kube.connect(str(control_plane.kubeconfig))
    api = Api(kube, control_plane)
    try:
        yield api
    finally:
        async with asyncio.timeout(30):
            await api.wipe()
        await kube.close()


@pytest.fixture
async def other_cluster() -> AsyncIterator[Api]:
    """A second API server, of a cluster that knows of nothing."""
    with ControlPlane() as running:
        install_kinds(running)
        running.kubectl("create", "namespace", "vfolder-system")
        kube = await Kube.connect(str(running.kubeconfig))
        try:
            yield Api(kube, running)
        finally:
            await kube.close()
