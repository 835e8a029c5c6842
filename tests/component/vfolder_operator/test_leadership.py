"""Two replicas as processes: who leads, and how fast a dead, hung or cut-off leader is replaced."""

import asyncio
import contextlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import AsyncIterator

import pytest
from operator_rig import Api, eventually

from vfolder_operator.kube import Kinds, NotFound

REPLACED_WITHIN = 20.0


class Replica:
    """One operator process."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, log: pathlib.Path) -> None:
        self.process = process
        self.name = name
        self.log = log

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def end(self) -> None:
        if self.running:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def root(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@contextlib.asynccontextmanager
async def replica(
    api: Api, name: str, tmp_path: pathlib.Path, kubeconfig: pathlib.Path | None = None
) -> AsyncIterator[Replica]:
    log = tmp_path / f"{name}.log"
    environment = {
        **os.environ,
        "VFOLDER_OPERATOR_IDENTITY": name,
        "VFOLDER_OPERATOR_PORT": "0",
        "VFOLDER_OPERATOR_KUBECONFIG": str(kubeconfig or api.control_plane.kubeconfig),
        "VFOLDER_OPERATOR_REFRESH_SECONDS": "2",
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vfolder_operator", env=environment, stderr=output
        )
    one = Replica(process, name, log)
    try:
        yield one
    finally:
        await one.end()


async def holder(api: Api) -> str:
    try:
        lease = await api.kube.get(Kinds.LEASE, "vfolder-operator", "vfolder-system")
    except NotFound:
        return ""
    return str(lease["spec"].get("holderIdentity") or "")


async def until_leads(api: Api, name: str, seconds: float = REPLACED_WITHIN) -> float:
    started = time.monotonic()

    async def leads() -> bool:
        return await holder(api) == name

    await eventually(leads, seconds, lambda: f"{name} does not lead")
    return time.monotonic() - started


async def prepare(api: Api, root: pathlib.Path) -> None:
    await api.backend({"type": "vfs", "operatorPath": str(root)})
    await api.scope({"minEnforcement": "None"})


async def works(api: Api, name: str) -> None:
    """Whoever leads now does the work."""
    await api.folder(name=name)
    await api.until_ready(Kinds.FOLDER, name, seconds=20)


async def test_a_rolling_update_hands_over_at_once(
    api: Api, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await prepare(api, root)
    async with replica(api, "one", tmp_path) as one:
        await until_leads(api, "one")
        await works(api, "before")
        async with replica(api, "two", tmp_path):
            await until_stands_by(tmp_path / "two.log")
            one.process.terminate()
            seconds = await until_leads(api, "two")
            assert await one.process.wait() == 0
            assert seconds < 8, "the lease was left to run out"
            await works(api, "after")


async def until_stands_by(log: pathlib.Path) -> None:
    async def stands_by() -> bool:
        return "standing by" in log.read_text()

    await eventually(stands_by, 20, lambda: log.read_text())


async def test_a_killed_leader_is_replaced(
    api: Api, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await prepare(api, root)
    async with replica(api, "one", tmp_path) as one:
        await until_leads(api, "one")
        async with replica(api, "two", tmp_path):
            await until_stands_by(tmp_path / "two.log")
            one.process.kill()
            await until_leads(api, "two")
            await works(api, "after")


async def test_a_hung_leader_is_replaced_and_ends_when_it_wakes(
    api: Api, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await prepare(api, root)
    async with replica(api, "one", tmp_path) as one:
        await until_leads(api, "one")
        async with replica(api, "two", tmp_path):
            await until_stands_by(tmp_path / "two.log")
            one.process.send_signal(signal.SIGSTOP)
            await until_leads(api, "two")
            await works(api, "after")
            one.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(10):
                assert await one.process.wait() == 1
            assert await holder(api) == "two"
            await works(api, "still")


async def test_a_leader_that_is_cut_off_ends_before_it_is_replaced(
    api: Api, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await prepare(api, root)
    async with (
        cuttable(api, tmp_path) as (kubeconfig, cut),
        replica(api, "one", tmp_path, kubeconfig) as one,
    ):
        await until_leads(api, "one")
        async with replica(api, "two", tmp_path):
            await until_stands_by(tmp_path / "two.log")
            cut.set()
            ended = asyncio.create_task(one.process.wait())
            await until_leads(api, "two", REPLACED_WITHIN)
            assert ended.done(), "two leaders at a time"
            assert ended.result() == 1
            await works(api, "after")


@contextlib.asynccontextmanager
async def cuttable(
    api: Api, tmp_path: pathlib.Path
) -> AsyncIterator[tuple[pathlib.Path, asyncio.Event]]:
    """A kubeconfig whose way to the API server can be cut: packets vanish, nothing is refused."""
    text = api.control_plane.kubeconfig.read_text()
    address = text.split("https://", 1)[1].split('"')[0].split("\n")[0].strip("/ ,}")
    host, port = address.rsplit(":", 1)
    cut = asyncio.Event()

    connections: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if cut.is_set():
                await asyncio.Event().wait()
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        there, back = await asyncio.open_connection(host, int(port))
        pumps = [asyncio.create_task(pump(*ends)) for ends in ((reader, back), (there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            for one in pumps:
                one.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, back):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            connections.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    path = tmp_path / "cuttable.kubeconfig"
    path.write_text(text.replace(f"{host}:{port}", f"127.0.0.1:{own}"))
    try:
        yield path, cut
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        while connections:
            await asyncio.sleep(0)
