"""A node to test on; what a killed run left is taken away by the next one."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import node_rig
import pytest
from node_rig import Node, base_folder, clear


@pytest.fixture(scope="session", autouse=True)
def clean_slate() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for left in Path(tempfile.gettempdir()).glob("vf[0-9]*-*"):
        if not Path("/proc", left.name[2:].partition("-")[0]).exists():
            clear(left)


@pytest.fixture
def base() -> Iterator[Path]:
    with base_folder() as path:
        yield path


@pytest.fixture
async def node(base: Path) -> AsyncIterator[Node]:
    node = Node(base)
    try:
        await node.start()
        yield node
    finally:
        await node.stop()
        node.release()


@pytest.fixture
def fails() -> Callable[..., Any]:
    """Expect a status code and words of the message."""
    return node_rig.fails


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Poll until a condition holds."""
    return node_rig.eventually
