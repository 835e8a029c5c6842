"""Project ids: given once, by however many operators, and not at all when nobody can vouch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from operator_rig import Api

from vfolder_backends.errors import Unavailable
from vfolder_operator.kube import Kinds, Kube
from vfolder_operator.ledger import ConfigMapLedger

NAMESPACE, NAME = "vfolder-system", "ids"


@pytest.fixture
async def ledgers(api: Api) -> AsyncIterator[list[ConfigMapLedger]]:
    """Those of four operators, each with a client of its own."""
    clients = [await Kube.connect(str(api.control_plane.kubeconfig)) for _ in range(4)]
    try:
        yield [ConfigMapLedger(client, NAMESPACE, NAME, deadline=60) for client in clients]
    finally:
        for client in clients:
            await client.close()
        with contextlib.suppress(KeyError):
            await forget(api)


async def forget(api: Api) -> None:
    held = await api.kube.find(Kinds.CONFIG_MAP, NAME, NAMESPACE)
    if held is not None:
        uid = held["metadata"]["uid"]
        await api.kube.delete(Kinds.CONFIG_MAP, NAME, NAMESPACE, uid=uid)


async def test_operators_that_draw_at_once_never_get_one_number(
    ledgers: list[ConfigMapLedger],
) -> None:
    async def draw(ledger: ConfigMapLedger) -> list[int]:
        return [await ledger.next("fs-1", 1000) for _ in range(75)]

    drawn = await asyncio.gather(*(draw(ledger) for ledger in ledgers))
    numbers = [number for some in drawn for number in some]
    assert len(set(numbers)) == 300
    assert sorted(numbers) == list(range(1000, 1300))
    for some in drawn:
        assert some == sorted(some)


async def test_one_operator_may_draw_many_at_once(ledgers: list[ConfigMapLedger]) -> None:
    numbers = await asyncio.gather(*(ledgers[0].next("fs-1", 7) for _ in range(50)))
    assert sorted(numbers) == list(range(7, 57))


async def test_numbers_only_rise_and_each_space_has_its_own(
    api: Api, ledgers: list[ConfigMapLedger]
) -> None:
    one, other = ledgers[:2]
    assert await one.next("fs-1", 10) == 10
    assert await other.next("fs-1", 5) == 11
    assert await one.next("fs-1", 100) == 100
    assert await other.next("fs-1", 0) == 101
    odd = "a file system / with spaces: " + "x" * 300
    assert await one.next(odd, 1) == 1
    assert await other.next(odd, 1) == 2
    held = await api.kube.get(Kinds.CONFIG_MAP, NAME, NAMESPACE)
    assert held["data"]["fs-1"] == "101"
    assert len(held["data"]) == 2


async def test_a_deleted_ledger_begins_again_at_what_is_asked_for(
    api: Api, ledgers: list[ConfigMapLedger]
) -> None:
    assert await ledgers[0].next("fs-1", 50) == 50
    await forget(api)
    assert await ledgers[0].next("fs-1", 51) == 51


@pytest.mark.parametrize("value", ["", "-5", "12x", "0x10", "007", "9" * 40])
async def test_what_is_no_number_gives_none(
    api: Api, ledgers: list[ConfigMapLedger], value: str
) -> None:
    body = {"metadata": {"name": NAME}, "data": {"fs-1": value, "fs-2": "3"}}
    await api.kube.create(Kinds.CONFIG_MAP, body, NAMESPACE)
    with pytest.raises(Unavailable, match="fs-1"):
        await ledgers[0].next("fs-1", 1)
    assert await ledgers[0].next("fs-2", 1) == 4
    held = await api.kube.get(Kinds.CONFIG_MAP, NAME, NAMESPACE)
    assert held["data"]["fs-1"] == value


async def test_without_an_api_server_there_is_no_number(api: Api, unused_tcp_port: int) -> None:
    kube = await Kube.connect(str(api.control_plane.kubeconfig), timeout=2)
    kube.connection.configuration.host = f"https://127.0.0.1:{unused_tcp_port}"
    try:
        with pytest.raises(Unavailable, match="no project id is given"):
            await ConfigMapLedger(kube, NAMESPACE, NAME).next("fs-1", 1)
    finally:
        await kube.close()
    assert await api.kube.find(Kinds.CONFIG_MAP, NAME, NAMESPACE) is None


async def test_who_may_not_write_gets_no_number(api: Api) -> None:
    kube = await Kube.connect(str(api.control_plane.kubeconfig))
    try:
        with pytest.raises(Unavailable, match="no number within"):
            await ConfigMapLedger(kube, "no-such-namespace", NAME, deadline=1).next("fs-1", 1)
    finally:
        await kube.close()
