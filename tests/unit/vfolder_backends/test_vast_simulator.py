"""The simulated VAST cluster by itself: what a site's own tools meet, our client does not use."""

import pytest

from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.vast.simulator import API_TOKEN, make
from vfolder_backends.testing.arrays.vast.state import Counted, Quota


def asked(array, route, body=None, **params):
    call = Call(
        route,
        route.partition(" ")[2],
        {name: str(value) for name, value in params.items()},
        {},
        body,
        {"authorization": f"Api-Token {API_TOKEN}"},
    )
    reply = array.serve(call)
    assert array.violations == []
    return reply


def test_a_path_without_its_slash_is_no_call(tmp_path):
    array = make(tmp_path)
    assert array.find("POST", "/api/latest/quotas") is None
    assert array.find("POST", "/api/v1/quotas/")[0] == "POST /quotas/"


@pytest.mark.parametrize(
    ("usage", "state"),
    [
        ((1, 1), "OK"),
        ((20, 1), "SOFT_EXCEEDED"),
        ((1, 20), "INODE_SOFT_EXCEEDED"),
        ((20, 20), "SOFT_BOTH_EXCEEDED"),
        ((40, 1), "HARD_EXCEEDED"),
        ((1, 40), "INODE_HARD_EXCEEDED"),
        ((40, 40), "HARD_BOTH_EXCEEDED"),
    ],
)
def test_quota_states(tmp_path, usage, state):
    array = make(tmp_path)
    array.state.quotas[1] = Quota(1, "q", "/", 1, 30, 30, 10, 10)
    array.counted[1] = Counted(*usage, due=9)
    assert asked(array, "GET /quotas/{id}/", id=1).body["state"] == state


def test_a_folder_goes_to_the_trash_by_a_delete_with_a_body(tmp_path):
    array = make(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    array.settings.trash = False
    reply = asked(array, "DELETE /folders/delete_folder/", {"path": "/a", "tenant_id": 1})
    assert (reply.status, reply.body["detail"]) == (503, "trash folder disabled")
    array.settings.trash = True
    assert asked(array, "DELETE /folders/delete_folder/", {"path": "/a"}).status == 200
    assert (tmp_path / "a").exists()
    array.calm()
    assert not (tmp_path / "a").exists()


def test_a_clone_is_a_stream_with_a_task(tmp_path):
    array = make(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    snapshot = asked(array, "POST /snapshots/", {"name": "s", "path": "/a/"}).body["id"]
    body = {"loanee_root_path": "/b", "name": "c", "enabled": True, "loanee_tenant_id": 1}
    stream = asked(array, "POST /snapshots/{id}/clone/", body, id=snapshot).body
    task = stream["async_task"]["id"]
    assert asked(array, "GET /vtasks/{id}/", id=task).body["state"] == "RUNNING"
    assert not (tmp_path / "b").exists()
    array.passed(5)
    assert asked(array, "GET /vtasks/{id}/", id=task).body["state"] == "COMPLETED"
    shown = asked(array, "GET /globalsnapstreams/{id}/", id=stream["id"]).body
    assert shown["status"]["state"] == "FINISHED"
    assert (tmp_path / "b" / "file").read_text() == "x"
    asked(array, "PATCH /globalsnapstreams/{id}/stop", id=stream["id"])
    asked(array, "DELETE /globalsnapstreams/{id}/", {"remove_dir": False}, id=stream["id"])
    assert (tmp_path / "b" / "file").exists()
