import asyncio

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import DeadlineExceeded, RootMissing, Unavailable
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Limits, Owner, ScopeRequest
from vfolder_backends.testing.memory import MemoryBackend, MemoryFactory
from vfolder_backends.testing.memory_storage import MemoryStorage

SCOPE = ScopeHex("1" * 32)
REQUEST = ScopeRequest(SCOPE, Owner("c", "n", "q"), Limits(bytes=5000))


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
async def backend(storage):
    config = BackendConfig("b", "memory", "/x", call_timeout=0.1)
    backend = MemoryBackend(config, storage)
    await backend.attach(None)
    return backend


async def test_faults_before_and_after_acting(storage, backend):
    storage.fail("ensure_scope", Unavailable("before"), times=2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="before"):
            await backend.ensure_scope(REQUEST)
    assert storage.tree.scopes == {}
    storage.fail("ensure_scope", Unavailable("lost answer"), after=True)
    with pytest.raises(Unavailable, match="lost answer"):
        await backend.ensure_scope(REQUEST)
    assert SCOPE in storage.tree.scopes
    assert (await backend.ensure_scope(REQUEST)).limits == Limits(bytes=8192)
    assert storage.calls["ensure_scope"] == 4


async def test_latency_beyond_the_deadline_acts_all_the_same(storage, backend):
    storage.latency = 5.0
    async with asyncio.timeout(1):
        with pytest.raises(DeadlineExceeded):
            await backend.ensure_scope(REQUEST)
    storage.latency = 0.0
    assert (await backend.describe_scope(SCOPE)).owner == REQUEST.owner


async def test_backends_of_one_root_share_its_storage():
    factory = MemoryFactory()
    one, two = (factory.build(BackendConfig(n, "memory", "/same")) for n in ("one", "two"))
    other = factory.build(BackendConfig("three", "memory", "/other"))
    assert await one.attach(None) == await two.attach(None) != await other.attach(None)
    factory.storages["/same"].exists = False
    with pytest.raises(RootMissing, match="/same"):
        await one.attach(None)
