"""Every call leaves one line that finds it again, and no line holds a secret."""

import io
import json
import logging

import grpc
import pytest

from vfolder_csi.directory import NetworkMount
from vfolder_csi.logs import JsonFormatter

KEY = "QVFBcGxhbnRlZHNlY3JldGtleQ=="
TOKEN = "eyJhbGciOiJSUzI1NiJ9.planted"
SECRETS = {"userID": "client.planteduser", "userKey": KEY}
CONTEXT = {"csi.storage.k8s.io/serviceAccount.tokens": json.dumps({"": {"token": TOKEN}})}


@pytest.fixture
def lines():
    """Everything that is logged at all, as it would be written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before)


def no_secret_in(text):
    for secret in (KEY, TOKEN, "planteduser"):
        assert secret not in text


async def test_one_line_per_call(node, lines):
    handle = node.folder()
    target = await node.publish(handle)
    [line] = [entry for entry in lines() if entry["message"] == "call ended"]
    assert line["method"] == "NodePublishVolume"
    assert (line["volume"], line["target"], line["code"]) == (str(handle), str(target), "OK")
    assert 9 < line["remaining"] < 11
    assert line["duration"] < 10
    assert len(line["correlation"]) == 12


async def test_chatty_calls_are_quiet(node, lines):
    logging.getLogger().setLevel(logging.INFO)
    handle = node.folder()
    await node.publish(handle)
    before = len(lines())
    await node.stats(handle)
    assert len(lines()) == before


async def test_secrets_stay_out_of_logs_and_errors(node, lines):
    node.add_backend("net", NetworkMount("ceph", "mon:/", ("fs=x",), True))
    handle = node.folder(1, "net", make=False)
    for call in (node.stage, node.publish):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(handle, secrets=SECRETS, volume_context=CONTEXT)
        assert "mounting mon:/" in caught.value.details()
        no_secret_in(caught.value.details())
    begins = [entry for entry in lines() if entry["message"] == "call begins"]
    assert len(begins) == 2
    no_secret_in(json.dumps(lines()))


async def test_the_unforeseen_is_logged_and_only_its_id_is_told(node, lines):
    class Broken:
        async def get(self, name):
            raise RuntimeError(f"unforeseen, with {KEY}")

    node.backends.get = Broken().get
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await node.publish(node.folder(), secrets=SECRETS)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    [line] = [entry for entry in lines() if entry["message"] == "call failed unexpectedly"]
    assert caught.value.details() == f"internal error, see log id {line['correlation']}"
    assert "RuntimeError: unforeseen" in line["exception"]
    no_secret_in(json.dumps(lines()))
