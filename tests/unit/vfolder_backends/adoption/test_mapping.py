import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_backends.adoption.columns import Defaults, adapted
from vfolder_backends.adoption.failures import MappingError
from vfolder_backends.adoption.mapping import MappingTable
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeKind
from vfolder_backends.port import Limits
from vfolder_backends.testing.old_trees import OldFolder

A, B, C = OldFolder.of(1, 1), OldFolder.of(1, 2), OldFolder.of(2, 1)
HEADER = "folder_id,quota_scope_id,name,quota_bytes,quota_files,max_size,status,host,namespace\n"


def scope(folder):
    return f"project:{folder.scope.uuid}"


def row(folder, name="data", *more):
    return ",".join([folder.folder.uuid, scope(folder), name, *more])


def load(tmp_path, text, suffix=".csv", **defaults):
    path = tmp_path / f"map{suffix}"
    path.write_text(text)
    return MappingTable.load(path, Defaults(**{"namespace": "team-a", **defaults}))


def rows(*lines):
    width = HEADER.count(",")
    return HEADER + "".join(line + "," * (width - line.count(",")) + "\n" for line in lines)


def test_a_table_is_read(tmp_path):
    table = load(tmp_path, rows(row(A, "one", "5Gi", "1000", "2048"), row(B, "two", "5Gi", "1000")))
    said = table.scope(A.scope)
    assert said.limits(Limits()) == Limits(5 << 30, 1000)
    assert (said.namespace, said.name) == ("team-a", f"project-{A.scope.uuid}")
    found = table.folder(A.folder)
    assert (found.name, found.old_quota, found.line) == ("one", 2 << 30, 2)
    assert [f.folder for f in table.folders(A.scope)] == sorted([A.folder, B.folder])
    assert [s.id.hex for s in table.scopes()] == [A.scope]


def test_a_limit_that_is_not_said_stays(tmp_path):
    said = load(tmp_path, rows(row(A, "x", "", "Unlimited"))).scope(A.scope)
    assert said.limits(Limits(7, 8)) == Limits(7, None)
    assert not load(tmp_path, rows(row(A))).scope(A.scope).limits_said


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_is_read_like_csv(tmp_path, suffix):
    records = [
        {"id": A.folder.value, "Quota_Scope_ID": scope(A).upper(), "name": "x", "max_size": None},
        {"id": f"{scope(B)}/{B.folder}", "ownership_type": "GROUP", "group": B.scope.uuid},
    ]
    text = json.dumps(records) if suffix == ".json" else "\n".join(map(json.dumps, records))
    table = load(tmp_path, text, suffix)
    assert table.folder(A.folder).name == "x"
    assert table.folder(B.folder).name == B.folder.uuid
    assert table.scope(A.scope).id == QuotaScopeID(ScopeKind.PROJECT, A.scope)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert load(tmp_path, "\ufeff" + rows(row(A))).folder(A.folder) is not None


def test_rows_of_other_volumes_and_places_are_passed_over(tmp_path):
    text = rows(
        row(A, "a", "", "", "", "", "proxy:mine"),
        row(B, "b", "", "", "", "", "proxy:other"),
    )
    table = load(tmp_path, text, volume="mine")
    assert table.folder(A.folder)
    assert table.folder(B.folder) is None
    head = "folder_id,quota_scope_id,unmanaged_path\n"
    text = f"{head}{A.folder.uuid},{scope(A)},/somewhere\n"
    assert load(tmp_path, text).folder(A.folder) is None


BAD = {
    "line 2, column folder_id: 'x' is not a uuid": rows(f"x,{scope(A)},n"),
    "line 2, column quota_scope_id: 'team:1' is not user:<uuid>": rows(f"{A.folder},team:1,n"),
    "line 2, column ownership_type: '' is not user, project or group": rows(f"{A.folder},,n"),
    "line 3, column folder_id: .* is in line 2 already": rows(row(A), row(A)),
    "line 2, column quota_bytes: '5GiB' is not a whole quantity": rows(row(A, "n", "5GiB")),
    "line 2, column quota_bytes: '0' is not": rows(row(A, "n", "0")),
    "line 2, column quota_files: '-1' is not": rows(row(A, "n", "", "-1")),
    "line 2, column max_size: 'big' is not a number of MiB": rows(row(A, "n", "", "", "big")),
    "line 3, column quota_bytes: '1' differs from 'keep' in line 2": rows(row(A), row(B, "m", "1")),
    "line 2, column namespace: 'Team' is not the name": rows(row(A, "n", *[""] * 5, "Team")),
    "line 3, column namespace: 'b' differs from 'team-a'": rows(
        row(A), row(B, "m", *[""] * 5, "b")
    ),
    "line 2, has not the 9 values": HEADER + "a,b\n",
}


@pytest.mark.parametrize("message", BAD)
def test_errors_name_file_line_column_and_value(tmp_path, message):
    with pytest.raises(MappingError, match=f"map.csv: {message}"):
        load(tmp_path, BAD[message])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "line 1, is not a JSON object"),
        ("[{", "neither a JSON list nor JSON lines"),
        (json.dumps([{"id": A.folder.value, "name": ["x"]}]), "column name: .* neither a text"),
    ],
)
def test_errors_in_json(tmp_path, text, message):
    with pytest.raises(MappingError, match=f"map.json: .*{message}"):
        load(tmp_path, text, ".json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MappingError, match="cannot be read"):
        MappingTable.load(tmp_path / "none.csv", Defaults("a"))


def test_two_scopes_of_one_name_are_refused(tmp_path):
    text = "folder_id,quota_scope_id,scope_name\n"
    text += "".join(f"{f.folder},{scope(f)},same\n" for f in (A, C))
    with pytest.raises(MappingError, match=r"line 3, column scope_name: 'same' .*another scope"):
        load(tmp_path, text)


def test_rivals_for_a_name_are_the_other_live_rows(tmp_path):
    table = load(
        tmp_path, rows(row(A, "n"), row(C, "n"), row(B, "n", "", "", "", "delete-pending"))
    )
    assert table.rivals(A.folder) == [3]
    assert table.rivals(B.folder) == [2, 3]


def test_what_was_not_seen_is_told_and_the_deleted_not(tmp_path):
    table = load(
        tmp_path, rows(row(A, "a"), row(B, "b", "", "", "", "delete-complete"), row(C, "c"))
    )
    table.see(A.folder, 2)
    assert table.folder(A.folder).seen_in(2)
    assert not table.folder(A.folder).seen_in(3)
    assert [f.folder for f in table.unseen()] == [C.folder]


def test_names_are_kept_or_adapted(tmp_path):
    text = rows(row(A, "My Data!"))
    assert load(tmp_path, text).folder(A.folder).name == ""
    assert load(tmp_path, text, adapt_names=True).folder(A.folder).name == "my-data"
    assert load(tmp_path, text).folder(A.folder).given_name == "My Data!"


@given(st.text(max_size=400))
def test_an_adapted_name_is_a_name_or_nothing(text):
    name = adapted(text)
    assert name == "" or re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name)


def test_many_rows_need_little_memory(tmp_path):
    import tracemalloc

    lines = [f"{n:032x},{scope(A)},n{n}" for n in range(20_000)]
    (tmp_path / "m.csv").write_text(rows(*lines))
    tracemalloc.start()
    try:
        table = MappingTable.load(tmp_path / "m.csv", Defaults("team-a"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.folder(FolderHex(f"{19_999:032x}")) is not None
    assert peak < 2_000_000
