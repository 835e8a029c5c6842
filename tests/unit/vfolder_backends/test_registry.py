import subprocess
import sys

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import Misconfigured, UnknownOption
from vfolder_backends.registry import Registry
from vfolder_backends.testing.memory import MemoryBackend, MemoryFactory


def _config(**changes):
    return BackendConfig(**{"name": "b", "type": "memory", "root": "/x", **changes})


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Installs a distribution that offers backends, as pip would."""

    def install(name, source, **kinds):
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "".join(f"{kind} = {value}\n" for kind, value in kinds.items())
        (info / "entry_points.txt").write_text(f"[vfolder.backends]\n{lines}")

    monkeypatch.syspath_prepend(tmp_path)
    return install


def test_importing_it_imports_no_vendor():
    script = (
        "import sys, vfolder_backends.registry as r; print(r.Registry().types);"
        "print([m for m in sys.modules if m.startswith('vfolder_backends.vendors')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    types, vendors = done.stdout.splitlines()
    assert "'cephfs'" in types
    assert "'vfs'" in types
    assert vendors == "[]"


def test_unknown_type_names_the_known_and_the_nearest():
    with pytest.raises(Misconfigured, match=r"'cefs', known: .*cephfs.*vfs.*did you mean 'cephfs'"):
        Registry().build(_config(type="cefs"))


@pytest.mark.parametrize("kind", ["vfs", "cephfs"])
def test_unknown_parameter_is_refused_by_name(kind, tmp_path):
    with pytest.raises(UnknownOption, match="'fsname'"):
        Registry().build(_config(type=kind, root=str(tmp_path), parameters={"fsname": "x"}))


def test_nearest_parameter_is_named():
    with pytest.raises(UnknownOption, match="did you mean 'flavour'"):
        Registry({"memory": MemoryFactory()}).build(_config(parameters={"flavor": "x"}))


def test_missing_credential_is_named_and_no_secret_told():
    registry = Registry({"memory": MemoryFactory(required_credentials=("username", "password"))})
    with pytest.raises(Misconfigured, match="'username'") as caught:
        registry.build(_config(credentials={"password": "hunter2"}))
    assert "hunter2" not in str(caught.value)
    both = {"username": "u", "password": "hunter2"}
    assert isinstance(registry.build(_config(credentials=both)), MemoryBackend)


def test_third_party_backend_is_found(plugin):
    plugin("fine", "from vfolder_backends.testing.memory import MemoryFactory as F", mine="fine:F")
    registry = Registry()
    assert {"cephfs", "mine", "vfs"} <= set(registry.types)
    assert isinstance(registry.build(_config(type="mine")), MemoryBackend)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module", "no_such_module"),
        ("raise RuntimeError('at import')", "at import"),
        ("x = (", "SyntaxError"),
        ("", "has no attribute"),
        ("def F(): raise ValueError('at call')", "at call"),
    ],
)
def test_broken_plugin_disables_only_itself(plugin, tmp_path, source, cause):
    name = f"broken{abs(hash(source))}"
    plugin(name, source, broken=f"{name}:F")
    registry = Registry()
    with pytest.raises(Misconfigured, match=rf"{name}:F.*{cause}"):
        registry.build(_config(type="broken"))
    assert registry.build(_config(type="vfs", root=str(tmp_path)))


def test_one_name_from_two_packages_is_nobodys(plugin):
    source = "from vfolder_backends.testing.memory import MemoryFactory as F"
    plugin("first", source, twice="first:F")
    plugin("second", source, twice="second:F")
    with pytest.raises(Misconfigured, match=r"more than one package: .*first:F"):
        Registry().build(_config(type="twice"))
