"""One site for all end-to-end tests, and a namespace for each."""

import itertools
from collections.abc import Iterator

import pytest

from e2e.cluster import RigError
from e2e.world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def site() -> Iterator[World]:
    """CephFS, two nodes, and VFolder as the chart installs it."""
    with World() as running:
        running.install()
        running.until_ready("default", "storagebackend", "scratch")
        yield running


@pytest.fixture
def team(site: World) -> Iterator[str]:
    """A namespace that may have scopes; goes away with all that is in it."""
    name = f"team-{next(_numbers)}"
    site.team(name)
    yield name
    try:
        site.cluster.kubectl(
            "delete", "pods", "--all", "-n", name, "--grace-period=0", "--force", timeout=60
        )
        site.cluster.kubectl("delete", "namespace", name, "--wait=false")
    except RigError as error:
        print(f"left behind: {error}")
