"""Merge patches, conditions, the store, display, durations, settings."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vfolder_operator import logs
from vfolder_operator.conditions import Condition, flips, merge, parse_timestamp, timestamp
from vfolder_operator.crds.common import parse_duration
from vfolder_operator.display import human_bytes
from vfolder_operator.kube import Body, Kinds, merge_patch
from vfolder_operator.settings import Settings
from vfolder_operator.store import Key, Store

_LEAVES = st.none().map(lambda _: 0) | st.booleans() | st.integers() | st.text(max_size=3)
_VALUES = st.recursive(
    _LEAVES | st.lists(_LEAVES, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4)


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


@given(_OBJECTS, _OBJECTS)
def test_a_merge_patch_turns_one_object_into_the_other(old: Body, new: Body) -> None:
    patch = merge_patch(old, new)
    assert apply_merge_patch(old, patch) == new
    assert bool(patch) is (old != new)


def test_a_condition_keeps_its_time_until_its_status_flips() -> None:
    first = merge([], [Condition("Ready", False, "A", "a")], 1)
    first[0]["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    same = merge(first, [Condition("Ready", False, "B", "b")], 2)
    assert same[0]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    flipped = merge(same, [Condition("Ready", True, "C", "c")], 3)
    assert flipped[0]["lastTransitionTime"] > "2026"
    assert [c["reason"] for c in flips(first, same)] == ["B"]
    assert flips(same, same) == []


def test_timestamps_survive_a_round_trip() -> None:
    assert parse_timestamp(timestamp(1_700_000_000)) == 1_700_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (999, "999"), (1024, "1Ki"), (1536, "1.5Ki"), (1 << 40, "1Ti"),
     (123 << 30, "123Gi"), (1023 << 20, "0.999Gi")],
)  # fmt: skip
def test_bytes_for_people(value: int | None, text: str) -> None:
    assert human_bytes(value) == text


def test_durations() -> None:
    assert [parse_duration(t) for t in ("30s", "5m", "24h", "7d")] == [30, 300, 86400, 604800]
    for bad in ("", "5", "m", "-1s", "1.5h", "5 m"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(bad)


def scope(name: str, backend: str, version: int, uid: str = "u") -> Body:
    return {
        "metadata": {
            "name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version),
            "managedFields": ["much"],
        },
        "spec": {"backend": backend},
    }  # fmt: skip


def test_the_store_keeps_the_newest_version_and_its_indexes() -> None:
    store = Store()
    key = store.put(Kinds.SCOPE, scope("a", "x", 5))
    store.put(Kinds.SCOPE, scope("a", "old", 4))
    assert store.scopes_of("x") == [key]
    assert store.scopes_of("old") == []
    assert "managedFields" not in (store.get(key) or {})["metadata"]
    store.put(Kinds.SCOPE, scope("a", "y", 2, uid="another"))
    assert store.scopes_of("x") == []
    assert store.scopes_of("y") == [key]
    store.remove(key)
    assert store.scopes_of("y") == []
    assert store.get(Key(Kinds.SCOPE, "n", "a")) is None


def test_settings_are_read_by_prefix_and_unknown_ones_refused() -> None:
    settings = Settings.from_environment(
        {"VFOLDER_OPERATOR_WORKERS": "3", "PATH": "/bin", "VFOLDER_CSI_X": "y"}
    )
    assert settings.workers == 3
    with pytest.raises(ValidationError, match="wrokers"):
        Settings.from_environment({"VFOLDER_OPERATOR_WROKERS": "3"})
    with pytest.raises(ValidationError, match="workers"):
        Settings.from_environment({"VFOLDER_OPERATOR_WORKERS": "many"})


def test_a_log_line_is_json_with_its_context() -> None:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "INFO", "msg": "hello %s", "args": ("you",), "extra": 1}
    )
    with logs.context(object="VFolder a/b"), logs.context(generation=3):
        line = json.loads(logs.JsonFormatter().format(record))
    assert line["message"] == "hello you"
    assert (line["object"], line["generation"], line["extra"]) == ("VFolder a/b", 3, 1)
    assert len(line["correlationID"]) == 8
    assert "correlationID" not in json.loads(logs.JsonFormatter().format(record))
