"""A wrong word in a request or in a reply is found, whatever kind of document a vendor has."""

import pytest

from vfolder_backends.testing.arrays import fieldtables, openapi, papi
from vfolder_backends.testing.arrays.calls import Call, Reply
from vfolder_backends.testing.arrays.documents import Document, Operation
from vfolder_backends.testing.arrays.faults import Fault, Faults, Kind
from vfolder_backends.testing.arrays.jobs import JobFailed, Jobs, Stage

QUOTA = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "hard_limit": {"type": "integer"}},
}
OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/quotas/": {
            "get": {
                "parameters": [{"in": "query", "name": "page", "schema": {"type": "integer"}}],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "array",
                                    "items": {"$ref": "#/components/schemas/Quota"},
                                }
                            }
                        }
                    }
                },
            },
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "allOf": [
                                    {"$ref": "#/components/schemas/Quota"},
                                    {"properties": {"name": {"type": "string"}}},
                                ]
                            }
                        }
                    },
                },
                "responses": {"201": {"description": "made"}},
            },
        },
        "/quotas/{id}/": {"delete": {"responses": {"204": {"description": "gone"}}}},
    },
    "components": {"schemas": {"Quota": QUOTA}},
}


@pytest.fixture
def document():
    return openapi.read(OPENAPI, nullable=["Quota.hard_limit"])


def test_openapi_requests(document):
    assert document.check_request(Call("POST /quotas/", "", body={"id": 1, "name": "a"})) == []
    for call, word in (
        (Call("POST /quotas/", "", body={"id": 1, "nam": "a"}), "field 'nam' does not exist"),
        (Call("POST /quotas/", "", body={"id": "1"}), "not of type 'integer'"),
        (Call("POST /quotas/", "", body={}), "'id' is a required property"),
        (Call("POST /quotas/", ""), "the body is missing"),
        (Call("GET /quotas/", "", query={"pag": ["1"]}), "'pag' does not exist"),
        (Call("GET /quotas/", "", query={"page": ["x"]}), "not of type 'integer'"),
        (Call("GET /quotas/", "", body={}), "a body is not foreseen"),
    ):
        (found,) = document.check_request(call)
        assert word in found


def test_openapi_replies(document):
    call = Call("GET /quotas/", "")
    assert document.check_reply(call, Reply(200, [{"id": 1, "hard_limit": None}])) == []
    assert document.check_reply(call, Reply(500, "anything")) == []
    for reply, word in (
        (Reply(200, [{"id": 1, "hard": 1}]), "field '[0].hard' does not exist"),
        (Reply(200, [{"id": None}]), "not of type 'integer'"),
        (Reply(200, {}), "not of type 'array'"),
        (Reply(202), "status 202 is not foreseen"),
    ):
        (found,) = document.check_reply(call, reply)
        assert word in found


def test_paths_are_matched_with_their_parameters(document):
    operation, params = document.find("DELETE", "/quotas/a%2Fb/")
    assert (operation.route, params) == ("DELETE /quotas/{id}/", {"id": "a/b"})
    assert document.find("DELETE", "/quotas/1/2/") is None
    assert document.find("PUT", "/quotas/1/") is None


def test_field_tables():
    schema = fieldtables.schema(
        {
            "data[].id": "integer required",
            "data[].tags": "list of string",
            "data[].state": "string enum A|B",
            "data[].soft": "integer nullable",
            "next": "string",
        }
    )
    document = Document([Operation("GET", "/x", replies={200: schema})])

    def check(body):
        return document.check_reply(Call("GET /x", "/x"), Reply(200, body))

    assert check({"data": [{"id": 1, "tags": ["a"], "state": "A", "soft": None}]}) == []
    for item in ({}, {"id": 1, "tag": []}, {"id": 1, "tags": [1]}, {"id": 1, "state": "C"}):
        assert check({"data": [item]})


def test_tables_of_models():
    fields = {
        "space.hard_limit": {"type": "integer", "set_in": ["POST"]},
        "state": {"type": "string", "enum": ["on", "off"]},
        "below": {"type": "list[Other]"},
    }
    others = {"Other": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    whole = fieldtables.model(fields, others.get)
    settable = fieldtables.model(fields, settable="POST")
    document = Document([Operation("POST", "/x", request=settable, replies={201: whole})])
    call = Call("POST /x", "/x", body={"space": {"hard_limit": 1}})
    assert document.check_request(call) == []
    assert document.check_request(Call("POST /x", "/x", body={"state": "on"}))
    good = {"state": "on", "below": [{"a": 1}]}
    assert document.check_reply(call, Reply(201, good)) == []
    assert document.check_reply(call, Reply(201, {"state": "on", "below": [{"b": 1}]}))


def test_draft_3_schemas_are_translated():
    schema = papi.translated(
        {
            "type": "object",
            "properties": {
                "path": {"type": "string", "required": True},
                "persona": {"type": [{"type": "object"}, {"type": "null"}]},
                "any": {"type": "any"},
            },
        }
    )
    document = Document([Operation("PUT", "/x", request=schema, replies={204: None})])
    assert document.check_request(Call("PUT /x", "", body={"path": "a", "persona": None})) == []
    assert document.check_request(Call("PUT /x", "", body={"path": "a", "persona": "b"}))
    assert document.check_request(Call("PUT /x", "", body={"any": 1}))


def test_amended_documents(document):
    more = document.amended("POST /other", replies={200: None})
    assert more.find("POST", "/other")
    assert document.find("POST", "/other") is None


def test_faults_hit_the_call_they_name():
    faults = Faults()
    third = Fault(Kind.ERROR, nth=3)
    faults.arm(third, Fault(Kind.HANG, route="PUT /a", times=2))
    routes = ["GET /a", "PUT /a", "PUT /a", "PUT /a", "GET /a"]
    assert [faults.take(route) for route in routes] == [
        None,
        Kind.HANG,
        Kind.ERROR,
        Kind.HANG,
        None,
    ]
    assert third.fired == 1


def test_jobs_take_calls_and_their_records_go():
    done = []
    jobs = Jobs(short=2, long=5, kept=3)
    first = jobs.submit("a", lambda: done.append("a"))
    jobs.fault = Kind.LOST_JOB
    lost = jobs.submit("b", lambda: done.append("b"))
    jobs.fault = Kind.EXPIRED_JOB
    expired = jobs.submit("c", lambda: done.append("c"))

    def fails():
        raise JobFailed("no")

    failed = jobs.submit("d", fails)
    assert jobs.find(first).stage is Stage.QUEUED
    jobs.tick()
    assert jobs.find(first).stage is Stage.RUNNING
    jobs.tick()
    assert (jobs.find(first).stage, jobs.find(failed).error) == (Stage.DONE, "no")
    assert (jobs.find(lost), jobs.find(expired)) == (None, None)
    assert done == ["a", "c"]
    for _ in range(5):
        jobs.tick()
    assert jobs.find(first) is None
