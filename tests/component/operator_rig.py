"""What the operator's component tests share: an API with short words, and an operator to run."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from e2e.cluster import ControlPlane, RigError
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.registry import Registry
from vfolder_backends.testing.memory import MemoryFactory, MemoryStorage
from vfolder_operator.app import Operator
from vfolder_operator.kube import Body, Conflict, Kinds, Kube, NotFound
from vfolder_operator.settings import Settings

NAMESPACE = "team-a"
BACKEND: Body = {"type": "memory", "hostPath": "/mnt/scratch", "allowedNamespaces": {}}
SCOPE: Body = {"backend": "scratch", "limits": {"bytes": "1Gi"}}
FOLDER: Body = {"quotaScope": "research"}


class Api:
    """The API server with deadlines for what is waited for."""

    def __init__(self, kube: Kube, control_plane: ControlPlane) -> None:
        self.kube = kube
        self.control_plane = control_plane

    async def apply(self, kind: Kinds, name: str, spec: Body, **meta: Any) -> Body:
        """Create an object, or replace its spec."""
        namespace = meta.pop("namespace", NAMESPACE if kind.value.namespaced else "")
        while (present := await self.kube.find(kind, name, namespace)) is not None:
            with contextlib.suppress(Conflict):  # a status was written meanwhile
                return await self.kube.replace(kind, name, namespace, {**present, "spec": spec})
        body = {"metadata": {"name": name, **meta}, "spec": spec}
        return await self.kube.create(kind, body, namespace)

    async def backend(self, spec: Body | None = None, name: str = "scratch", **meta: Any) -> Body:
        return await self.apply(Kinds.BACKEND, name, {**BACKEND, **(spec or {})}, **meta)

    async def scope(self, spec: Body | None = None, name: str = "research", **meta: Any) -> Body:
        return await self.apply(Kinds.SCOPE, name, {**SCOPE, **(spec or {})}, **meta)

    async def folder(self, spec: Body | None = None, name: str = "data", **meta: Any) -> Body:
        return await self.apply(Kinds.FOLDER, name, {**FOLDER, **(spec or {})}, **meta)

    async def get(self, kind: Kinds, name: str, namespace: str | None = None) -> Body:
        where = NAMESPACE if namespace is None else namespace
        return await self.kube.get(kind, name, where if kind.value.namespaced else "")

    async def until(
        self,
        kind: Kinds,
        name: str,
        wanted: Callable[[Body], bool],
        seconds: float = 15,
        namespace: str = NAMESPACE,
    ) -> Body:
        """The object as soon as it is as wanted; fails with the object as it is."""
        last: Body = {}

        async def look() -> bool:
            nonlocal last
            last = (
                await self.kube.find(kind, name, namespace if kind.value.namespaced else "") or {}
            )
            return bool(last) and wanted(last)

        await eventually(look, seconds, lambda: json.dumps(last, indent=1))
        return last

    async def until_ready(self, kind: Kinds, name: str, seconds: float = 15) -> Body:
        return await self.until(
            kind,
            name,
            lambda b: (
                condition(b, "Ready").get("status") == "True"
                and b["status"].get("observedGeneration") == b["metadata"]["generation"]
            ),
            seconds,
        )

    async def until_reason(self, kind: Kinds, name: str, reason: str, type_: str = "Ready") -> Body:
        return await self.until(kind, name, lambda b: condition(b, type_).get("reason") == reason)

    async def until_gone(self, kind: Kinds, name: str, seconds: float = 15) -> None:
        async def gone() -> bool:
            where = NAMESPACE if kind.value.namespaced else ""
            return await self.kube.find(kind, name, where) is None

        await eventually(gone, seconds, lambda: f"{kind} {name} is still there")

    async def delete(self, kind: Kinds, name: str, namespace: str = NAMESPACE) -> None:
        where = namespace if kind.value.namespaced else ""
        body = await self.kube.get(kind, name, where)
        await self.kube.delete(kind, name, where, uid=body["metadata"]["uid"])

    async def annotate(self, kind: Kinds, name: str, **annotations: str | None) -> None:
        named = {f"vfolder.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        where = NAMESPACE if kind.value.namespaced else ""
        await self.kube.patch(kind, name, where, {"metadata": {"annotations": named}})

    async def kubectl(self, *words: str) -> str:
        """kubectl, off the event loop that the operator under test runs on."""
        return await asyncio.to_thread(self.control_plane.kubectl, *words)

    def refused(self, manifest: Body) -> str:
        """What the API server says to a bad object."""
        try:
            self.control_plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
        except RigError as error:
            return str(error)
        raise AssertionError("the API server took it")

    async def events(self, about: str) -> list[str]:
        return [
            e["reason"]
            async for e in self.kube.list(Kinds.EVENT, NAMESPACE)
            if e["regarding"]["name"] == about
        ]

    async def wipe(self) -> None:
        """Remove everything that tests make, held or not."""
        for kind in (
            Kinds.POD, Kinds.FOLDER, Kinds.CLAIM, Kinds.VOLUME, Kinds.SCOPE, Kinds.BACKEND,
            Kinds.EVENT, Kinds.LEASE,
        ):  # fmt: skip
            async for body in self.kube.list(kind):
                meta = body["metadata"]
                where, name = meta.get("namespace", ""), meta["name"]
                if where.startswith("kube-"):
                    continue
                await self.kube.delete(kind, name, where, uid=meta["uid"])
                if await self.kube.find(kind, name, where) is not None:
                    with contextlib.suppress(NotFound):
                        await self.kube.patch(kind, name, where, {"metadata": {"finalizers": None}})


def condition(body: Body, type_: str) -> Body:
    for one in (body.get("status") or {}).get("conditions") or []:
        if one["type"] == type_:
            return dict(one)
    return {}


def place(folder: Body) -> tuple[ScopeHex, FolderHex]:
    """Where a VFolder lies on the storage."""
    _, scope, hexes = folder["status"]["volumeHandle"].split("/")
    return ScopeHex(scope), FolderHex(hexes)


async def hold_claim(api: Api, name: str, claim: str) -> None:
    """A pod that kubelet would run, bound to a node that does not exist."""
    await api.apply(
        Kinds.POD,
        name,
        {
            "nodeName": "nowhere",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "none"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        },
    )


async def eventually(
    check: Callable[[], Awaitable[bool]], seconds: float, what: Callable[[], str]
) -> None:
    """Poll until it holds, within a deadline."""
    end = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what()}")
        await asyncio.sleep(0.05)


async def after_sweeps(storage: MemoryStorage, count: int = 3) -> None:
    """Until the storage was listed that often again."""
    before = storage.calls["list_scopes"]

    async def swept() -> bool:
        return storage.calls["list_scopes"] >= before + count

    await eventually(swept, 15, lambda: "no sweeps")


@contextlib.asynccontextmanager
async def running_operator(
    api: Api, storage: MemoryStorage, *, factory: MemoryFactory | None = None, **settings: Any
) -> AsyncIterator[Operator]:
    """An operator in this process, over a storage in memory and whatever kinds are installed."""
    factory = factory or MemoryFactory()
    factory.storages["/backends/scratch"] = storage
    async with running_over(api, Registry({"memory": factory}), **settings) as operator:
        yield operator


@contextlib.asynccontextmanager
async def running_over(api: Api, registry: Registry, **settings: Any) -> AsyncIterator[Operator]:
    """An operator in this process, over the kinds of storage of a registry."""
    kube = await Kube.connect(str(api.control_plane.kubeconfig))
    values = {"port": 0, "identity": "test", "refresh_seconds": 0.5, **settings}
    operator = Operator(Settings(**values), kube, registry)
    task = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        operator.stop()
        try:
            async with asyncio.timeout(30):
                await task
        finally:
            await kube.close()
