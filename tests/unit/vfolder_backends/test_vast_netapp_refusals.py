"""What VAST's and ONTAP's error bodies mean to us."""

import json

import pytest

from vfolder_backends.errors import BackendError, NoSpace, PermissionDenied, Unavailable
from vfolder_backends.transport.messages import Answer
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.vendors.netapp import codes
from vfolder_backends.vendors.vast import client as vast
from vfolder_backends.vendors.vast.models import ViewPolicy


def answer(status, body):
    return Answer("POST /x/", status, (), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (400, {"detail": "bad"}, Invalid, "bad"),
        (400, {"path": ["A quota for path /a already exists"]}, Exists, "path: A quota"),
        (400, {"name": ["must be unique"], "path": ["x"]}, Exists, "path: x"),
        (503, {"detail": "no such directory: /a"}, Missing, "no such directory"),
        (503, {"detail": "try later"}, Unavailable, "try later"),
        (400, "bare text", Invalid, "bare text"),
        (400, ["one", "two"], Invalid, "one; two"),
        (404, {"detail": "Not found."}, Missing, "Not found."),
        (403, {"detail": "no permission"}, PermissionDenied, "role needs"),
    ],
)
def test_vast_tells_why_in_several_shapes(status, body, kind, text):
    refusal = vast.classify(answer(status, body))
    assert refusal.kind is kind
    assert text in refusal.text


def test_vast_s_expired_session_is_no_lack_of_rights():
    over = answer(403, {"detail": "Token is invalid or expired"})
    assert vast.session_is_over(over)
    assert "role" not in vast.classify(over).text
    assert not vast.session_is_over(answer(403, {"detail": "no permission"}))


def test_vast_s_hosts_are_a_list_or_a_text():
    policy = ViewPolicy.model_validate({"name": "p", "nfs_read_only": "10.0.0.1,*"})
    assert list(policy.nfs_read_only) == ["10.0.0.1", "*"]
    assert list(ViewPolicy.model_validate({"name": "p", "nfs_read_only": ""}).nfs_read_only) == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "1", Exists),
        (404, "4", Missing),
        (403, "6", PermissionDenied),
        (400, "7", NoSpace),
        (503, "262160", codes.Busy),
        (429, "262160", codes.Busy),
        (500, "5308568", codes.ResizeFailed),
        (500, "5308571", codes.NotInForce),
        (500, "65541", Unavailable),
        (400, "999999", Invalid),
        (401, "6691623", PermissionDenied),
    ],
)
def test_ontap_s_codes(status, code, kind):
    refusal = codes.classify(answer(status, {"error": {"code": code, "message": "words"}}))
    assert (refusal.kind, refusal.code) == (kind, code)
    assert "words" in refusal.text


def test_an_unknown_code_of_a_job_is_an_error_and_no_success():
    assert codes.kind_of_code("123") is BackendError
