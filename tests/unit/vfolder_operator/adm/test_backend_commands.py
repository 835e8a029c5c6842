"""`vfolder-adm backend`: what is installed, what it takes, and whether a storage would work."""

import importlib
import io
import json

import pytest

from vfolder_backends.registry import Registry
from vfolder_backends.testing.arrays.server import Server
from vfolder_backends.testing.arrays.weka import simulator
from vfolder_operator.adm.cli import run
from vfolder_operator.adm.world import DONE, FAILED, World

SECRET = {"username": "vfolder", "password": "simulated-weka"}


@pytest.fixture
def adm():
    def call(*words):
        world = World(io.StringIO(), io.StringIO(), Registry())
        code = run([*map(str, words), "--output", "json"], world)
        rows = [json.loads(line) for line in world.out.getvalue().splitlines()]
        return code, rows, world.err.getvalue()

    return call


def test_every_kind_is_listed_with_its_package(adm):
    code, rows, _ = adm("backend", "list")
    assert code == DONE
    shown = {row["type"]: row for row in rows}
    assert set(shown) == set(Registry().types)
    assert shown["weka"]["package"].startswith("vfolder ")
    assert shown["purestorage"]["summary"] == shown["flashblade"]["summary"]


def test_a_kind_that_does_not_load_is_listed_with_the_reason(adm, tmp_path, monkeypatch):
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vfolder.backends]\nbroken = no_such_module:Factory\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    code, rows, _ = adm("backend", "list")
    assert code == FAILED
    (broken,) = [row for row in rows if row["state"] != "ok"]
    assert (broken["type"], broken["package"]) == ("broken", "broken-plugin 1.0")
    assert "no_such_module" in broken["summary"]


@pytest.mark.parametrize("kind", Registry().types)
def test_every_option_is_described(adm, kind):
    code, rows, _ = adm("backend", "describe", kind)
    assert code == DONE
    fields = Registry().factory(kind).options.model_fields
    assert {row["option"] for row in rows} == {f.alias or name for name, f in fields.items()}
    assert all(row["meaning"] and row["type"] for row in rows)


def test_options_are_shown_as_they_are_written(adm):
    _, rows, err = adm("backend", "describe", "xfs")
    assert rows[0]["type"] == "integer 1..4294967294"
    assert rows[0]["default"] == "268435456"
    assert "project quotas" in err


@pytest.fixture
def site(tmp_path):
    """A simulated array, the manifest of its StorageBackend, and its Secret as files."""
    disk = tmp_path / "disk"
    (disk / "vfolder").mkdir(parents=True)
    with Server(simulator.make(disk)) as server:
        manifest = {
            "apiVersion": "vfolder.dev/v1alpha1",
            "kind": "StorageBackend",
            "metadata": {"name": "scratch"},
            "spec": {
                "type": "weka",
                "hostPath": "/mnt/scratch",
                "endpoint": server.endpoint,
                "credentialsSecretRef": {"name": "weka"},
                "tls": {"caBundle": server.certificate.authority},
                "parameters": {"fileSystem": "default", "path": "/vfolder"},
            },
        }
        (tmp_path / "backend.json").write_text(json.dumps(manifest))
        secret = tmp_path / "secret"
        secret.mkdir()
        for key, value in SECRET.items():
            (secret / key).write_text(value)
        words = [tmp_path / "backend.json", "--root", disk / "vfolder", "--credentials", secret]
        yield server.array, ["backend", "check", *words]


def test_a_storage_that_works_is_looked_at_and_left_as_it_was(adm, site):
    array, words = site
    code, rows, _ = adm(*words)
    assert code == DONE
    assert {row["step"] for row in rows} >= {"manifest", "root", "storage", "limits", "capacity"}
    assert {row["result"] for row in rows} == {"ok"}
    assert array.limits() == {}
    assert [path for path in array.disk.root.rglob("*") if path.name[0] != "."] == [
        array.disk.root / "vfolder"
    ]


def test_a_scope_is_made_and_removed_where_that_is_asked_for(adm, site):
    array, words = site
    code, rows, _ = adm(*words, "--write")
    assert code == DONE
    details = {row["step"]: row["detail"] for row in rows}
    assert "limit 64Mi bytes" in details["make"]
    assert "limit 128Mi bytes" in details["change"]
    assert details["remove"] == "the scope is gone"
    assert array.limits() == {}


def test_a_wrong_password_is_told_and_not_shown(adm, site, tmp_path):
    _, words = site
    (tmp_path / "secret" / "password").write_text("planted-and-wrong")
    code, rows, err = adm(*words, "--write")
    assert code == FAILED
    assert rows[-1]["result"] == "failed"
    assert rows[-1]["detail"].startswith("PermissionDenied: ")
    assert "planted-and-wrong" not in json.dumps(rows) + err


def test_a_role_that_may_not_set_limits_is_told_before_anything_is_made(adm, site, tmp_path):
    array, words = site
    (tmp_path / "secret" / "username").write_text("reader")
    (tmp_path / "secret" / "password").write_text("simulated-reader")
    code, rows, _ = adm(*words, "--write")
    assert (code, array.limits()) == (FAILED, {})
    assert rows[-1]["step"] == "storage"
    assert "role" in rows[-1]["detail"]
