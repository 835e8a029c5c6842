"""What OneFS and FlashBlade say when they refuse, and sizes and versions as they send them."""

import json

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import PermissionDenied, Unavailable, Unsupported
from vfolder_backends.transport.messages import Answer
from vfolder_backends.transport.refusals import Exists, Invalid, Missing
from vfolder_backends.vendors.flashblade import client as flashblade
from vfolder_backends.vendors.flashblade.models import FileSystem
from vfolder_backends.vendors.onefs import client as onefs
from vfolder_backends.vendors.onefs.models import PoolUsage


def answer(status, body, call="GET /x"):
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(call, status, (), text.encode())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "AEC_BAD_REQUEST", Invalid),
        (404, "AEC_NOT_FOUND", Missing),
        (409, "AEC_CONFLICT", Exists),
        (403, "AEC_FORBIDDEN", PermissionDenied),
        (403, "AEC_INVALID_LICENSE", Unsupported),
        (500, "AEC_SYSTEM_INTERNAL_ERROR", Unavailable),
        (403, "AEC_OF_THE_FUTURE", PermissionDenied),
    ],
)
def test_onefs_codes_go_before_the_status(status, code, kind):
    refusal = onefs.classify(answer(status, {"errors": [{"code": code, "message": "no"}]}))
    assert (refusal.kind, refusal.code) == (kind, code)
    assert "no" in refusal.text


def test_onefs_tells_of_nodes_only_where_sessions_are_used():
    body = {"errors": [{"message": "authorization required"}]}
    login = "POST /session/1/session"
    assert "SmartConnect" in onefs.classify(answer(401, body), sessions=True).text
    assert "SmartConnect" not in onefs.classify(answer(401, body)).text
    assert "SmartConnect" not in onefs.classify(answer(401, body, login), sessions=True).text


@pytest.mark.parametrize("body", ["<html><h1>Bad Gateway</h1>", "[]", '{"errors": "x"}', ""])
@pytest.mark.parametrize("classify", [onefs.classify, flashblade.classify])
def test_what_stands_between_is_left_to_the_status(classify, body):
    assert classify(answer(502, body)) is None


def test_a_good_answer_is_no_refusal():
    for classify in (onefs.classify, flashblade.classify):
        assert classify(answer(200, {"errors": [{"message": "x"}]})) is None


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "File system does not exist.", Missing),
        (400, "File system already exists.", Exists),
        (400, "Something else.", Invalid),
        (401, "Invalid credentials.", PermissionDenied),
        (207, "One of them failed.", Invalid),
    ],
)
def test_flashblade_tells_by_words(status, message, kind):
    body = {"errors": [{"context": "fs1", "message": message}]}
    refusal = flashblade.classify(answer(status, body))
    assert (refusal.kind, refusal.text) == (kind, f"fs1: {message}")


@pytest.mark.parametrize(("sent", "read"), [("", None), (0, None), (None, None), (512, 512)])
def test_flashblade_s_ways_to_say_unlimited(sent, read):
    common = {"id": "1", "name": "a", "destroyed": False, "space": {"virtual": 0}}
    found = FileSystem(**common, hard_limit_enabled=True, provisioned=sent)
    assert found.hard_limit == read
    assert FileSystem(**common, hard_limit_enabled=False, provisioned=512).hard_limit is None


def test_onefs_pools_come_in_texts():
    usage = PoolUsage.model_validate({"total_bytes": "1099511627776", "free_bytes": "5"})
    assert (usage.total_bytes, usage.free_bytes) == (1 << 40, 5)


async def test_versions_are_chosen_that_both_know(monkeypatch):
    config = BackendConfig(
        "b", "flashblade", "/", endpoint="https://a", credentials={"apiToken": "T-1234"}
    )
    for known, chosen in ((["1.12", "2.0"], "2.0"), (["2.9", "2.10", "2.99", "3.1"], "2.10")):
        client = flashblade.FlashBladeClient(config)

        async def knock(request, known=known):
            return answer(200, {"versions": known})

        monkeypatch.setattr(client.channel, "knock", knock)
        assert await client.version() == chosen
        await client.channel.close()
    client = flashblade.FlashBladeClient(config)
    monkeypatch.setattr(client.channel, "knock", lambda request: knock(request, ["1.12"]))
    with pytest.raises(Unsupported, match=r"2\.0"):
        await client.version()
    await client.channel.close()
