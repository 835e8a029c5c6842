import json

import pytest

from vfolder_backends.adoption.failures import JournalError
from vfolder_backends.adoption.journal import BEGIN, MOVED, PLAN, Journal


def written(path):
    journal = Journal(path)
    journal.append(BEGIN, cluster="c")
    journal.append(PLAN, "f1", scope="s1", source="a")
    journal.append(PLAN, "f2", scope="s2", source="b")
    journal.append(PLAN, "f1", scope="s1", source="c")
    journal.close()
    return path.read_bytes()


def test_it_is_read_again_and_the_last_record_counts(tmp_path):
    path = tmp_path / "j"
    written(path)
    journal = Journal(path)
    assert journal.get(PLAN, "f1")["source"] == "c"
    assert [r["id"] for r in journal.all(PLAN)] == ["f1", "f2"]
    assert [r["id"] for r in journal.all(PLAN, "s2")] == ["f2"]
    assert journal.get(MOVED, "f1") is None
    assert journal.get(BEGIN)["cluster"] == "c"
    journal.close()


def test_a_torn_last_line_was_never_acted_upon_wherever_it_was_torn(tmp_path):
    path = tmp_path / "j"
    whole = written(path)
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        assert journal.get(PLAN, "f1")["source"] == "a"
        journal.append(MOVED, "f1")
        journal.close()
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["type"] for line in lines] == [BEGIN, PLAN, PLAN, MOVED]


def test_looking_changes_nothing(tmp_path):
    path = tmp_path / "j"
    torn = written(path)[:-3]
    path.write_bytes(torn)
    Journal(path, read_only=True).close()
    assert path.read_bytes() == torn
    with pytest.raises(JournalError):
        Journal(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("bad", [b"{}\n", b"[]\n", b"nonsense\n"])
def test_a_damaged_line_is_told_with_its_number(tmp_path, bad):
    path = tmp_path / "j"
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(lines[0] + bad + lines[1])
    with pytest.raises(JournalError, match="line 2 is damaged"):
        Journal(path)
