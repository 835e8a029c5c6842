"""A plugin that does not load is told where people look, and holds up nobody else."""

import importlib
import pathlib

import pytest
from operator_rig import Api, condition, running_operator

from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Kinds


async def test_a_broken_plugin_disables_only_itself(
    api: Api, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vfolder.backends]\nbroken = broken_plugin:Factory\n")
    (tmp_path / "broken_plugin.py").write_text("import a_library_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    async with running_operator(api, MemoryStorage()):
        await api.backend({"type": "broken"}, name="ill")
        await api.backend()
        await api.scope()
        told = await api.until_reason(Kinds.BACKEND, "ill", "Misconfigured")
        message = condition(told, "Ready")["message"]
        assert "broken_plugin:Factory" in message
        assert "a_library_that_is_not_installed" in message
        await api.until_ready(Kinds.SCOPE, "research")
