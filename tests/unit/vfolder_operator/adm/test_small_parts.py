import argparse
import io
import json
from dataclasses import replace

import pytest

from vfolder_backends.adoption.mapping import MappedScope
from vfolder_backends.adoption.verdicts import FolderObject, Outcome, ScopeObject, Verdict
from vfolder_backends.facts import Enforcement, Level, Tristate
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex
from vfolder_backends.port import Limits, Owner, Progress
from vfolder_operator.adm import manifests
from vfolder_operator.adm.apply import identity
from vfolder_operator.adm.output import Column, Rows, printable
from vfolder_operator.adm.progress import Teller, bar
from vfolder_operator.adm.spool import MOST_ADOPTIONS, Spool
from vfolder_operator.adm.storage import described, is_file, read_credentials, seconds
from vfolder_operator.adm.world import Format, UsageError
from vfolder_operator.crds.backend import AdoptionSpec, StorageBackendSpec
from vfolder_operator.crds.folder import VFolderSpec
from vfolder_operator.crds.scope import QuotaScopeSpec

STRONG = Enforcement(Level.ENFORCED, Level.ENFORCED, Tristate.NO, "")
BODY = {
    "metadata": {"name": "b", "uid": "x", "annotations": {"a": "b"}},
    "spec": {"type": "vfs", "hostPath": "/x"},
    "status": {"scopes": 1},
}


def scope_object(number=1, limits=None, enforcement=STRONG, previous=None):
    id_ = QuotaScopeID.parse("project:" + ScopeHex(f"{number:032x}").uuid)
    return ScopeObject(id_, "team-a", f"s{number}", limits or Limits(), enforcement, previous)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_and_lines_elsewhere():
    screen = Terminal()
    teller = Teller(screen, "auto")
    teller(Progress("Tagging", "x", 5, 10))
    assert "Tagging [############------------] 5/10 x" in screen.getvalue()
    teller.close()
    assert screen.getvalue().endswith("\r\x1b[K")
    lines = io.StringIO()
    teller = Teller(lines, "auto")
    for n in range(1000):
        teller(Progress("Moving", "y", n))
    teller.close()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(told) == 2, "more than is good for a log"
    assert (told[-1]["progress"], told[-1]["done"]) == ("Moving", 999)


def test_no_progress_when_none_is_wanted():
    out = io.StringIO()
    teller = Teller(out, "none")
    teller.entries("Scanning", 5)
    teller.close()
    assert out.getvalue() == ""


def test_a_bar_knows_no_end_without_a_total():
    assert bar(Progress("Scanning", "", 500), 2.0) == "Scanning 500 (250/s)"


def test_nothing_that_a_terminal_acts_upon_is_printed():
    assert printable("a\x1b[2Jb\nc\udcffd") == r"a\x1b[2Jb\nc\udcffd"
    assert printable("ünïcode") == "ünïcode"


def test_rows_in_three_forms():
    columns = (Column("a", 5), Column("size", 6, size=True), Column("hidden"))
    row = {"a": "x", "size": 2048, "hidden": {"k": "v"}}
    wanted = {
        Format.TABLE: "A      SIZE\nx      2Ki\n",
        Format.CSV: "a,size,hidden\nx,2048,k=v\n",
        Format.JSON: '{"a": "x", "size": 2048, "hidden": {"k": "v"}}\n',
    }
    for form, text in wanted.items():
        out = io.StringIO()
        Rows(out, columns, form).write(row)
        assert out.getvalue() == text


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "1e12"])
def test_deadlines_are_positive_and_finite(text):
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


def test_limits_are_written_as_they_are():
    spec = manifests.scope_spec("b", Limits(3 << 30, 7), STRONG)
    assert spec["limits"] == {"bytes": "3Gi", "files": 7}
    assert "minEnforcement" not in spec
    assert manifests.scope_spec("b", Limits(1000001, None), STRONG)["limits"] == {
        "bytes": "1000001"
    }
    weak = Enforcement(Level.ENFORCED, Level.ADVISORY, Tristate.NO, "")
    assert "minEnforcement" not in manifests.scope_spec("b", Limits(5), weak)
    assert manifests.scope_spec("b", Limits(5, 5), weak)["minEnforcement"] == "Advisory"


@pytest.mark.parametrize("rebuilt", [False, True])
def test_manifests_are_what_the_schema_takes(rebuilt):
    made = scope_object(previous=Owner("lost", "team-a", "s1"))
    scope = manifests.scope_manifest(made, "b", rebuilt=rebuilt)
    folder = manifests.folder_manifest(
        FolderObject(made, FolderHex("f" * 32), "data", "Data!"), rebuilt=rebuilt
    )
    entry = manifests.adoption_entry(made, rebuilt=rebuilt)
    QuotaScopeSpec.model_validate(scope["spec"])
    VFolderSpec.model_validate(folder["spec"])
    assert (AdoptionSpec.model_validate(entry).previous_cluster == "lost") is rebuilt
    assert identity(scope) == made.id.hex.value
    assert identity(folder) == "f" * 32
    assert (scope["spec"].get("scopeID") is None) is rebuilt
    notes = folder["metadata"]["annotations"]
    assert notes == (
        {"vfolder.dev/id": FolderHex("f" * 32).uuid}
        if rebuilt
        else {"vfolder.dev/given-name": "Data!"}
    )


def test_an_object_that_tells_nothing_has_no_identity():
    assert identity({"kind": "VFolder", "metadata": {}, "spec": {}}) == ""
    bad = {"kind": "QuotaScope", "metadata": {"annotations": {"vfolder.dev/id": "x"}}}
    assert identity(bad) == ""


def spool(entries=0, **spec):
    body = {**BODY, "spec": {**BODY["spec"], **spec}}
    found = Spool(described(body, "b"), "0" * 32, rebuilt=True)
    for number in range(1, entries + 1):
        made = scope_object(number, previous=Owner("lost", "team-a", f"s{number}"))
        found.add(Verdict(Outcome.ADOPT, "p", made=made))
    return found


def test_a_backend_gets_what_it_lacks_and_loses_what_people_do_not_write():
    one = spool(2)
    body = one.backend()
    assert body["metadata"] == {
        "name": "b",
        "annotations": {"a": "b", "vfolder.dev/root-id": "0" * 32},
    }
    assert "status" not in body
    spec = StorageBackendSpec.model_validate(body["spec"])
    assert [entry.name for entry in spec.adoptions] == ["s1", "s2"]
    assert spec.allowed_namespaces.matches({"kubernetes.io/metadata.name": "team-a"})
    assert not spec.allowed_namespaces.matches({"kubernetes.io/metadata.name": "team-b"})
    one.close()


def test_an_entry_that_is_there_is_not_added_again():
    first = spool(1)
    again = spool(1, adoptions=first.backend()["spec"]["adoptions"])
    assert again.new_entries == []
    assert len(again.backend()["spec"]["adoptions"]) == 1
    first.close()
    again.close()


def test_more_scopes_than_fit_are_told():
    full = spool(MOST_ADOPTIONS)
    assert len(full.backend()["spec"]["adoptions"]) == MOST_ADOPTIONS
    full.close()
    over = spool(MOST_ADOPTIONS + 1)
    with pytest.raises(UsageError, match=r"4097 entries, 4096 may be; .*--scope"):
        over.backend()
    over.close()


def test_the_most_is_what_the_schema_says():
    (limit,) = (
        m.max_length
        for m in StorageBackendSpec.model_fields["adoptions"].metadata
        if hasattr(m, "max_length")
    )
    assert limit == MOST_ADOPTIONS


@pytest.mark.parametrize(
    ("name", "file"), [("scratch", False), ("a/b", True), ("b.yaml", True), ("x.json", True)]
)
def test_a_backend_is_a_name_or_a_file(name, file):
    assert is_file(name) is file


def test_credentials_are_read_and_never_shown(tmp_path):
    (tmp_path / "password").write_text("hunter2")
    (tmp_path / "..data").mkdir()
    assert read_credentials(str(tmp_path)) == {"password": "hunter2"}
    with pytest.raises(UsageError, match="cannot be read"):
        read_credentials(str(tmp_path / "none"))
    assert "hunter2" not in repr(replace(described(BODY, "b"), credentials={"p": "hunter2"}))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metadata": {"name": "B"}, "spec": {}}, "metadata.name: 'B'"),
        ({"metadata": {"name": "b"}, "spec": {"type": "vfs", "x": 1}}, "spec.x: Extra inputs"),
        ({}, "metadata.name: ''"),
    ],
)
def test_a_manifest_that_cannot_be_used(body, message):
    with pytest.raises(UsageError, match=message):
        described(body, "file")


def test_a_mapped_scope_keeps_or_replaces_limits():
    said = MappedScope(scope_object().id, "n", "s", "keep", "5", 1)
    assert said.limits(Limits(1, 2)) == Limits(1, 5)
