import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.processes import Supervisor, find_marked


@pytest.fixture(autouse=True)
def area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every state folder and cache of these tests to themselves."""
    monkeypatch.setenv("VFOLDER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VFOLDER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "state"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    folder = tmp_path / "servers"
    folder.mkdir()
    yield Supervisor(folder)
    for one in find_marked(folder):
        one.send(signal.SIGKILL)
        assert one.wait(5)
