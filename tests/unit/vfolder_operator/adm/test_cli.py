"""The command line: exit codes, messages, help, and what is printed where."""

import csv
import io
import json
import subprocess
import sys

import pytest
import yaml

from vfolder_backends.testing.old_trees import OldFolder, plant, portrait, write_mapping
from vfolder_operator.adm.cli import parser, run
from vfolder_operator.adm.world import DONE, FAILED, USAGE, World

A, B = OldFolder.of(1, 1), OldFolder.of(2, 1)
MANIFEST = """\
apiVersion: vfolder.dev/v1alpha1
kind: StorageBackend
metadata: {name: plain}
spec:
  type: vfs
  hostPath: /mnt/plain
  allowedNamespaces: {}
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    plant(root, A, 3, owner=None)
    plant(root, B, 3, owner=None)
    (tmp_path / "b.yaml").write_text(MANIFEST)
    write_mapping(tmp_path / "m.csv", [A, B])
    return root


@pytest.fixture
def adm(tmp_path):
    def call(*words):
        world = World(io.StringIO(), io.StringIO())
        code = run([*map(str, words), "--progress", "none"], world)
        return code, world.out.getvalue(), world.err.getvalue()

    return call


def adopt(root, **changes):
    words = {
        "--backend": root.parent / "b.yaml",
        "--mapping": root.parent / "m.csv",
        "--namespace": "team-a",
        **changes,
    }
    return ["adopt", root, *(w for pair in words.items() if pair[1] is not None for w in pair)]


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("csv", lambda text: list(csv.DictReader(io.StringIO(text)))),
        ("json", lambda text: [json.loads(line) for line in text.splitlines()]),
    ],
)
def test_a_scan_is_read_by_machines(adm, root, form, read):
    before = portrait(root)
    code, out, err = adm("scan", root, "--output", form, "--type", "vfs")
    assert (code, err) == (DONE, "")
    rows = read(out)
    folder = next(row for row in rows if row.get("folder") == A.folder.uuid)
    assert (int(folder["inodes"]), folder["state"]) == (9, "Live")
    assert rows[-1]["note"] == "0 folders in layout 2, 2 in layout 3"
    assert portrait(root) == before


def test_a_table_is_read_by_people(adm, root):
    (root / "evil\x1b[31mname").mkdir()
    code, out, _ = adm("scan", root, "--output", "table")
    head, *lines = out.splitlines()
    assert code == DONE
    assert head.split()[:3] == ["KIND", "LAYOUT", "PATH"]
    assert any(line.startswith("scope ") and "1 folders" in line for line in lines)
    assert "\x1b" not in out
    assert r"evil\x1b[31mname" in out


def test_adopting_prints_manifests_and_changes_nothing(adm, root, tmp_path):
    before = portrait(root)
    report = tmp_path / "r.csv"
    code, out, err = adm(*adopt(root, **{"--report": report}))
    assert (code, err) == (DONE, "adopt: 4 adopt\n")
    kinds = [m["kind"] for m in yaml.safe_load_all(out)]
    assert kinds[0] == "StorageBackend"
    assert sorted(kinds[1:]) == ["QuotaScope", "QuotaScope", "VFolder", "VFolder"]
    assert portrait(root) == before
    with report.open() as file:
        assert {row["result"] for row in csv.DictReader(file)} == {"adopt"}


def test_adopting_one_scope_of_many(adm, root):
    code, out, err = adm(*adopt(root), "--scope", A.scope.uuid)
    assert (code, err) == (DONE, "adopt: 2 adopt\n")
    assert B.scope.uuid not in out


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (MANIFEST.replace("  allowedNamespaces: {}\n", ""), "NamespaceNotAllowed"),
        (MANIFEST + "  maxLimits: {bytes: 1Gi}\n", "LimitAboveMaximum"),
    ],
)
def test_what_the_operator_would_hold_is_refused_beforehand(adm, root, tmp_path, manifest, reason):
    (tmp_path / "b.yaml").write_text(manifest)
    code, _, err = adm(*adopt(root))
    assert code == FAILED
    assert f"NotAdmitted: {reason}" in err


def test_too_many_refusals_are_counted(adm, root, tmp_path):
    for n in range(60):
        plant(root, OldFolder.of(1, 100 + n), 3, owner=None)
    code, _, err = adm(*adopt(root))
    assert code == FAILED
    assert "... and 10 more: name a file with --report FILE to have them all" in err
    assert len(err.splitlines()) == 52


BAD = [
    (["scan", "/nowhere"], "argument ROOT: '/nowhere' is not a directory"),
    (["scan", "{root}", "--answer-seconds", "-1"], "'-1' is not a positive number of seconds"),
    (["scan", "{root}", "--type", "vfs", "--backend", "b.yaml"], "only one of them"),
    (["adopt", "{root}", "--backend", "{dir}/none.yaml"], "cannot be read"),
    (["adopt", "{root}", "--backend", "{dir}/b.yaml"], "give --mapping FILE, or --default-type"),
    (["adopt", "{root}", "--backend", "{dir}/m.csv", "--mapping", "x"], "holds 0 StorageBackends"),
    (["adopt", "{root}", "--backend", "{dir}/bad.yaml"], "spec.type: Field required"),
    (["migrate", "{root}"], "--mapping FILE is needed"),
    (["migrate", "{root}", "--mapping", "{dir}/m.csv", "--apply"], "--type TYPE or --backend FILE"),
    (["migrate", "{root}", "--mapping", "{dir}/m.csv"], "line 2, column namespace"),
    (["rebuild", "{root}", "--backend", "{dir}/b.yaml", "--scope", "x"], "is not 32 lower-case"),
    (["scan"], "the following arguments are required: ROOT"),
    (["adapt"], "invalid choice: 'adapt'"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_wrong_usage_ends_with_2_and_touches_nothing(adm, root, tmp_path, capsys, words, message):
    (tmp_path / "bad.yaml").write_text(
        "kind: StorageBackend\nmetadata: {name: plain}\nspec: {hostPath: /x}\n"
    )
    before = portrait(root)
    code, out, err = adm(*(w.format(root=root, dir=tmp_path) for w in words))
    assert (code, out) == (USAGE, "")
    assert message in err + capsys.readouterr().err
    assert portrait(root) == before


def test_a_type_that_is_not_there_is_a_failure_with_the_nearest_one(adm, root):
    code, _, err = adm("scan", root, "--type", "vsf")
    assert code == FAILED
    assert "unknown backend type 'vsf'" in err
    assert "did you mean 'vfs'?" in err


def test_rebuild_of_what_never_was_ours(adm, root):
    code, _, err = adm("rebuild", root, "--backend", root.parent / "b.yaml")
    assert code == FAILED
    assert "RootLost: " in err


def test_a_migration_and_its_report(adm, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    plant(root, A, 2, owner=None)
    mapping = write_mapping(tmp_path / "m.csv", [A], {"max_size": "1024"})
    words = ("migrate", root, "--mapping", mapping, "--namespace", "team-a", "--volume", "vol1")
    code, out, _ = adm(*words)
    (row,) = csv.DictReader(io.StringIO(out))
    assert (code, row["result"], row["current_size"]) == (DONE, "planned", "")
    assert A.path(root, 2).is_dir()
    report = tmp_path / "r.csv"
    code, out, _ = adm(*words, "--type", "vfs", "--apply", "--report", report)
    (row,) = csv.DictReader(io.StringIO(out))
    assert code == DONE
    assert list(row)[:7] == [
        "volume_id", "folder_id", "quota_scope_id", "current_size", "old_quota", "src_path",
        "dst_path",
    ]  # fmt: skip
    assert (row["volume_id"], row["old_quota"], row["result"], row["inode_count"]) == (
        "vol1", str(1 << 30), "migrated", "9",
    )  # fmt: skip
    assert report.read_text() == out


def test_a_migration_that_is_refused_ends_with_1(adm, tmp_path, root):
    plant(root, OldFolder.of(5, 5), 2, owner=None)
    words = ("--mapping", tmp_path / "m.csv", "--namespace", "team-a")
    code, _, err = adm("migrate", root, *words)
    assert code == FAILED
    assert "refused: " in err
    assert "NotInMapping" in err


def subparsers():
    (actions,) = (a for a in parser()._actions if a.choices and "scan" in a.choices)
    return actions.choices


@pytest.mark.parametrize("command", ["scan", "adopt", "migrate", "rebuild"])
def test_help_is_a_manual(command):
    text = subparsers()[command].format_help()
    assert "examples:" in text
    for action in subparsers()[command]._actions:
        assert action.help, action.dest


def test_the_module_runs_and_leaves_the_terminal_alone(root):
    words = [sys.executable, "-m", "vfolder_operator.adm", "scan", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kind,layout,")
    progress = [json.loads(line) for line in done.stderr.splitlines()]
    assert progress[-1]["progress"] == "Scanning"
    assert progress[-1]["done"] > 18
