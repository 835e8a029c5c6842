"""Reading the API server's audit log."""

import json
from pathlib import Path
from typing import Any

from e2e.bench.audit import CLIENT, CONTROLLERS, OPERATOR, AuditLog, Write, count, parse


def line(user: str, verb: str, code: int = 200, **about: str) -> str:
    event: dict[str, Any] = {
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user},
        "objectRef": about,
        "responseStatus": {"code": code},
    }
    return json.dumps(event)


OURS = "system:serviceaccount:vfolder-system:vf-operator"
BINDER = "system:serviceaccount:kube-system:persistent-volume-binder"


def test_a_write_is_told_with_its_subresource_and_writer() -> None:
    status = line(OURS, "patch", resource="vfolders", subresource="status", namespace="team-a")
    assert parse([status]) == [Write(OPERATOR, "patch", "vfolders/status", "team-a", 200)]


def test_writers_have_short_names() -> None:
    users = (OURS, BINDER, "system:kube-controller-manager", "admin", "system:node:node1")
    found = parse(line(user, "update", resource="persistentvolumes") for user in users)
    assert [write.writer for write in found] == [
        OPERATOR,
        CONTROLLERS,
        CONTROLLERS,
        CLIENT,
        "system:node:node1",
    ]


def test_refused_writes_are_known_and_still_counted() -> None:
    lines = [line(OURS, "create", code, resource="events") for code in (201, 409, 403)]
    found = parse(lines)
    assert [write.refused for write in found] == [False, True, True]
    assert count(found) == {(OPERATOR, "events"): 3}


def test_what_is_no_finished_write_to_an_object_is_left_out() -> None:
    panic = json.loads(line(OURS, "create", resource="events")) | {"stage": "Panic"}
    nothing = json.loads(line(OURS, "create"))
    del nothing["objectRef"]
    assert parse([json.dumps(panic), json.dumps(nothing)]) == []


def test_only_whole_lines_after_the_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(line(OURS, "create", resource="before") + "\n")
    log = AuditLog(path)
    mark = log.mark()
    half = line(OURS, "create", resource="after")
    with path.open("a") as stream:
        stream.write(f"{half}\n{half[:40]}")
    assert [write.resource for write in log.since(mark)] == ["after"]
    with path.open("a") as stream:
        stream.write(f"{half[40:]}\n")
    assert [write.resource for write in log.since(mark)] == ["after", "after"]
    assert log.since(log.mark()) == []
