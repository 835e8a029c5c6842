"""The simulated ONTAP cluster by itself: what our client does not use, or not in this way."""

import base64

from vfolder_backends.testing.arrays.calls import Call
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.netapp import rules
from vfolder_backends.testing.arrays.netapp.simulator import make


def asked(array, route, body=None, query=None, **params):
    header = base64.b64encode(b"vfolder:simulated-ontap").decode()
    path = route.partition(" ")[2]
    asked_for = {name: [str(value)] for name, value in (query or {}).items()}
    call = Call(route, path, params, asked_for, body, {"authorization": f"Basic {header}"})
    reply = array.serve(call)
    assert array.violations == []
    return reply


def test_a_change_is_a_job_unless_the_caller_waits(tmp_path):
    array = make(tmp_path)
    (volume,) = array.state.volumes.values()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    job = asked(array, "POST /storage/qtrees", body).body["job"]["uuid"]
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "**"}, uuid=job).body
    assert shown["state"] in ("queued", "running")
    array.passed(5)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "state"}, uuid=job).body
    assert shown == {"uuid": job, "state": "success"}
    array.passed(100)
    assert asked(array, "GET /cluster/jobs/{uuid}", uuid=job).status == 404
    prompt = asked(array, "POST /storage/qtrees", {**body, "name": "q2"}, {"return_timeout": 15})
    assert prompt.status == 201


def test_codes_are_texts_in_refusals_and_numbers_in_jobs(tmp_path):
    array = make(tmp_path)
    assert asked(array, "GET /cluster/jobs/{uuid}", uuid="none").body["error"]["code"] == "4"
    (volume,) = array.state.volumes.values()
    volume.turn_off()
    volume.rules.clear()
    rules.add(volume, "somebody", Limit(1 << 30))
    volume.initialise()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    asked(array, "POST /storage/qtrees", body)
    array.passed(3)
    body = {"volume": {"uuid": volume.uuid}, "type": "tree", "qtree": {"name": "q1"}}
    job = asked(array, "POST /storage/quota/rules", body).body["job"]["uuid"]
    array.passed(3)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "**"}, uuid=job).body
    assert (shown["state"], shown["code"]) == ("failure", 5308571)
    assert shown["error"]["code"] == "5308571"
    volume.initialise()
    job = asked(array, "DELETE /storage/quota/rules/{uuid}", uuid=volume.rule_of("q1").uuid).body[
        "job"
    ]["uuid"]
    array.passed(3)
    shown = asked(array, "GET /cluster/jobs/{uuid}", query={"fields": "code"}, uuid=job).body
    assert shown["code"] == 5308572


def test_deleting_a_qtree_takes_all_below_with_it_and_its_rule(tmp_path):
    array = make(tmp_path)
    (volume,) = array.state.volumes.values()
    body = {"svm": {"name": "svm1"}, "volume": {"uuid": volume.uuid}, "name": "q1"}
    asked(array, "POST /storage/qtrees", body, {"return_timeout": 15})
    rules.add(volume, "q1", Limit(1 << 20))
    (tmp_path / "q1" / "below").mkdir()
    item = {"volume_uuid": volume.uuid, "id": "1"}
    asked(array, "DELETE /storage/qtrees/{volume.uuid}/{id}", None, {"return_timeout": 9}, **item)
    assert not (tmp_path / "q1").exists()
    assert volume.rule_of("q1") is None
