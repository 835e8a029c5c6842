"""Scopes that are deleted: with their trash, in another cluster's name, with their namespace."""

import asyncio

from operator_rig import (
    Api,
    after_sweeps,
    condition,
    eventually,
    place,
    running_operator,
)
from trash_steps import delete, lives, note_of, ready

from vfolder_backends.ids import QuotaScopeID
from vfolder_backends.port import FolderPhase, Owner
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Kinds


async def test_a_scope_goes_after_its_trash(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1d"}})
        at = place(await ready(api, {"reclaimPolicy": "Delete"}))
        await delete(api)
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        assert "removed after" in await note_of(api, "research", "TrashLeft")
        await after_sweeps(storage)
        assert lives(storage, at) == [FolderPhase.TRASHED], "the trash went with its scope"
        told = await api.get(Kinds.BACKEND, "scratch")
        assert told["status"]["orphans"] == 0
    # The object is gone, and so is the operator that knew: what remains is on the storage.
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})

        async def gone() -> bool:
            return at[0] not in storage.tree.scopes

        await eventually(gone, 20, lambda: "the scope stayed")


async def test_a_retired_scope_that_is_had_again_stays(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1d"}})
        at = place(await ready(api, {"reclaimPolicy": "Delete"}))
        await delete(api)
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        mine = str(QuotaScopeID.parse(f"project:{at[0].uuid}"))
        await api.scope({"reclaimPolicy": "Delete"})
        fresh = await api.until_ready(Kinds.SCOPE, "research")
        assert fresh["status"]["scopeID"] != mine
        assert f"vfolder.dev/id={mine}" in await note_of(api, "research", "RestorableFound")
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        await api.scope({"reclaimPolicy": "Delete"}, annotations={"vfolder.dev/id": mine})
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope["status"]["scopeID"] == mine
        await api.folder(annotations={"vfolder.dev/restore": at[1].uuid})
        assert place(await api.until_ready(Kinds.FOLDER, "data")) == at
        await api.backend({"trash": {"retention": "1s"}})
        await after_sweeps(storage, 4)
        assert not storage.tree.scopes[at[0]].retired


async def test_kept_folders_keep_their_scope(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})
        at = place(await ready(api, {"reclaimPolicy": "Delete"}, {"reclaimPolicy": "Retain"}))
        await delete(api)
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        await note_of(api, "research", "FoldersLeft")
        await after_sweeps(storage)
        assert lives(storage, at) == [FolderPhase.LIVE]


async def test_a_scope_of_another_cluster_is_not_deleted(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        at = place(await ready(api, {"reclaimPolicy": "Delete"}))
        await delete(api)
        storage.tree.scopes[at[0]].owner = Owner("elsewhere", "x", "y")
        for _ in ("with trash", "empty"):
            await api.delete(Kinds.SCOPE, "research")
            told = await api.until_reason(Kinds.SCOPE, "research", "NotOurs", "Deleting")
            assert "x/y of cluster elsewhere" in condition(told, "Deleting")["message"]
            storage.tree.scopes[at[0]].folders.clear()
        assert at[0] in storage.tree.scopes


async def test_a_folder_of_another_cluster_is_not_deleted(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        at = place(await ready(api))
        storage.tree.scopes[at[0]].folders[at[1]].owner = Owner("elsewhere", "x", "y")
        await api.delete(Kinds.FOLDER, "data")
        told = await api.until_reason(Kinds.FOLDER, "data", "NotOurs", "Deleting")
        assert "x/y of cluster elsewhere" in condition(told, "Deleting")["message"]
        assert lives(storage, at) == [FolderPhase.LIVE]


async def test_a_namespace_with_scopes_folders_trash_and_pods_goes_away(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.kubectl("create", "namespace", "short-lived")
        await api.scope({"reclaimPolicy": "Delete"}, namespace="short-lived")
        for name in ("data", "more", "trashed"):
            await api.folder(name=name, namespace="short-lived")
            await api.until(
                Kinds.FOLDER,
                name,
                lambda b: condition(b, "Ready").get("status") == "True",
                namespace="short-lived",
            )
        await api.delete(Kinds.FOLDER, "trashed", namespace="short-lived")
        pod = {
            "nodeName": "nowhere",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "none"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        await api.apply(Kinds.POD, "trainer", pod, namespace="short-lived")
        going = asyncio.create_task(
            api.kubectl("delete", "namespace", "short-lived", "--timeout=40s")
        )
        # Nobody runs the pod here: we do what kubelet does when it has stopped.
        await api.until(
            Kinds.POD,
            "trainer",
            lambda b: "deletionTimestamp" in b["metadata"],
            namespace="short-lived",
        )
        folder = await api.get(Kinds.FOLDER, "data", namespace="short-lived")
        assert lives(storage, place(folder)) == [FolderPhase.LIVE], "the data went under the pod"
        await api.kubectl(
            "delete", "pod", "trainer", "-n", "short-lived", "--force", "--grace-period=0"
        )
        await going
        volumes = [v["metadata"]["name"] async for v in api.kube.list(Kinds.VOLUME)]
        assert volumes == []
    (scope,) = storage.tree.scopes.values()
    assert scope.retired
    assert [f.lives[0].phase for f in scope.folders.values()] == [FolderPhase.TRASHED] * 3
    assert await api.kube.find(Kinds.NAMESPACE, "short-lived") is None
