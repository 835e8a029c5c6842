"""A backend of another package, built and installed as its users would, passes the suite."""

import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, UnknownOption
from vfolder_backends.registry import Registry
from vfolder_backends.testing.conformance import TreeConformance
from vfolder_backends.testing.storages import TreeUnderTest

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """Install the package where this process, and those that it starts, find it."""
    target = tmp_path_factory.mktemp("site")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    quiet = ("--disable-pip-version-check", "--root-user-action=ignore")
    subprocess.run(
        [sys.executable, *words, *quiet, "--target", target, EXAMPLE], check=True, timeout=120
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(target)
        importlib.invalidate_caches()
        yield target


@dataclass
class NotedUnderTest(TreeUnderTest):
    kind: str = "noted"

    async def tamper(self, scope, limits):
        text = f'{{"bytes": {limits.bytes or "null"}, "files": {limits.files or "null"}}}'
        os.setxattr(self.root / scope.value, "user.example.limits", text.encode())


class TestExamplePlugin(TreeConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        root = tmp_path / "root"
        root.mkdir()
        return NotedUnderTest(root)

    async def test_its_options_are_checked(self, tmp_path):
        def build(**parameters):
            return Registry().build(BackendConfig("x", "noted", str(tmp_path), parameters))

        with pytest.raises(UnknownOption, match="did you mean 'attribute'"):
            build(atribute="user.x")
        with pytest.raises(Misconfigured, match=r"parameters\.attribute: .*'trusted\.x'"):
            build(attribute="trusted.x")

    async def test_a_broken_one_beside_it_disables_only_itself(self, tmp_path):
        registry = Registry()
        assert {"noted", "broken", "vfs"} <= set(registry.types)
        with pytest.raises(Misconfigured, match="a_vendor_library_that_is_not_installed"):
            registry.build(BackendConfig("x", "broken", str(tmp_path)))
        assert registry.build(BackendConfig("x", "noted", str(tmp_path)))
