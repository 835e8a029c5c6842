"""The trash: told, kept for its time, removed in the background, brought back, and left alone."""

import asyncio
import time
from dataclasses import replace

from operator_rig import (
    Api,
    after_sweeps,
    condition,
    eventually,
    place,
    running_operator,
)

from vfolder_backends.errors import Unavailable
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex
from vfolder_backends.port import FolderPhase, Owner
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Body, Kinds

GI = 1 << 30


async def ready(api: Api, scope: Body | None = None, folder: Body | None = None) -> Body:
    await api.scope(scope)
    await api.folder(folder)
    return await api.until_ready(Kinds.FOLDER, "data")


async def delete(api: Api, name: str = "data") -> None:
    await api.delete(Kinds.FOLDER, name)
    await api.until_gone(Kinds.FOLDER, name)


def lives(storage: MemoryStorage, at: tuple[ScopeHex, FolderHex]) -> list[FolderPhase]:
    entry = storage.tree.scopes[at[0]].folders.get(at[1])
    return [] if entry is None else [life.phase for life in entry.lives]


async def until_purged(storage: MemoryStorage, at: tuple[ScopeHex, FolderHex]) -> None:
    async def purged() -> bool:
        return lives(storage, at) == []

    await eventually(purged, 15, lambda: f"still there: {lives(storage, at)}")


async def note_of(api: Api, about: str, reason: str) -> str:
    """The text of an event, once it is posted."""
    found: list[str] = []

    async def posted() -> bool:
        async for event in api.kube.list(Kinds.EVENT):
            if (event["regarding"]["name"], event["reason"]) == (about, reason):
                found.append(event["note"])
        return bool(found)

    await eventually(posted, 10, lambda: f"no event {reason} about {about}")
    return found[-1]


async def test_a_folder_keeps_its_own_time_in_the_trash(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})
        kept = place(await ready(api, folder={"trashRetention": "1d"}))
        await api.folder(name="brief")
        brief = place(await api.until_ready(Kinds.FOLDER, "brief"))
        await delete(api)
        await delete(api, "brief")
        await until_purged(storage, brief)
        assert lives(storage, kept) == [FolderPhase.TRASHED]
        assert storage.tree.scopes[kept[0]].folders[kept[1]].keep == 86400
        scope = await api.until(
            Kinds.SCOPE, "research", lambda b: len(b["status"].get("trash") or []) == 1
        )
        (shown,) = scope["status"]["trash"]
        assert (shown["folderID"], shown["name"]) == (kept[1].uuid, "data")
        assert "1 deleted folders" in await note_of(api, "research", "TrashPurged")


async def test_a_deletion_says_how_to_undo_it_and_that_works(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        made = await ready(api, folder={"owner": {"uid": 7, "gid": 8}, "mode": "2770"})
        at = place(made)
        storage.fill(*at, size=4096, files=3)
        await delete(api)
        note = await note_of(api, "data", "Trashed")
        named = f"vfolder.dev/restore={at[1].uuid}"
        assert named in note
        await api.folder(annotations=dict([named.split("=")]))
        back = await api.until_ready(Kinds.FOLDER, "data")
        assert back["status"]["volumeHandle"] == made["status"]["volumeHandle"]
        assert "vfolder.dev/restore" not in back["metadata"]["annotations"]
        assert back["metadata"]["uid"] != made["metadata"]["uid"]
        claim = await api.get(Kinds.CLAIM, "data")
        assert claim["spec"]["volumeName"] == f"vfolder-{at[1]}"
        assert claim["status"]["phase"] == "Bound"
        (life,) = storage.tree.scopes[at[0]].folders[at[1]].lives
        assert (life.phase, life.files, life.attributes.uid, life.attributes.mode) == (
            FolderPhase.LIVE, 3, 7, 0o2770,
        )  # fmt: skip
        await note_of(api, "data", "Restored")
        await api.until(Kinds.SCOPE, "research", lambda b: not b["status"].get("trash"))


async def test_a_new_folder_is_empty_and_names_the_one_in_the_trash(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        old = place(await ready(api))
        await delete(api)
        await api.folder()
        fresh = place(await api.until_ready(Kinds.FOLDER, "data"))
        assert fresh != old
        assert f"vfolder.dev/restore={old[1].uuid}" in await note_of(api, "data", "RestorableFound")
        # It has a folder now: the wish must not cost it.
        await api.annotate(Kinds.FOLDER, "data", restore=old[1].uuid)
        told = await api.until_reason(Kinds.FOLDER, "data", "RestoreRefused", "Restored")
        assert condition(told, "Ready")["status"] == "True"
        await after_sweeps(storage)
        told = await api.get(Kinds.FOLDER, "data")
        assert condition(told, "Restored")["reason"] == "RestoreRefused"
        assert (lives(storage, fresh), lives(storage, old)) == (
            [FolderPhase.LIVE], [FolderPhase.TRASHED],
        )  # fmt: skip
        await delete(api)
        await api.folder(annotations={"vfolder.dev/restore": old[1].uuid})
        back = await api.until_ready(Kinds.FOLDER, "data")
        assert place(back) == old
        assert lives(storage, fresh) == [FolderPhase.TRASHED]


async def test_what_is_not_in_the_trash_or_not_ours_is_not_restored(api: Api) -> None:
    storage = MemoryStorage()
    other, stranger = FolderHex("ab" * 16), FolderHex("cd" * 16)
    async with running_operator(api, storage):
        await api.backend()
        scope, _ = place(await ready(api))
        storage.plant_folder(scope, other, replace(owner_of(storage, scope), name="theirs"))
        storage.plant_folder(scope, stranger, Owner("elsewhere", "team-a", "back"))
        for folder in (other, stranger):
            storage.tree.scopes[scope].folders[folder].lives[0].since = time.time()
        for folder, whose in ((other, "team-a/theirs"), (stranger, "elsewhere")):
            await api.folder(name="back", annotations={"vfolder.dev/restore": folder.uuid})
            told = await api.until_reason(Kinds.FOLDER, "back", "NotOurs")
            assert whose in condition(told, "Ready")["message"]
            await delete(api, "back")
            assert lives(storage, (scope, folder)) == [FolderPhase.TRASHED]
        gone = FolderHex("ef" * 16)
        await api.folder(name="back", annotations={"vfolder.dev/restore": gone.uuid})
        told = await api.until_reason(Kinds.FOLDER, "back", "NothingToRestore")
        assert "removed for good" in condition(told, "Ready")["message"]
        await api.annotate(Kinds.FOLDER, "back", restore=None)
        fresh = await api.until_ready(Kinds.FOLDER, "back")
        assert place(fresh)[1] not in (other, stranger, gone)
        await api.folder(name="odd", annotations={"vfolder.dev/restore": "yesterday"})
        await api.until_reason(Kinds.FOLDER, "odd", "InvalidID")


def owner_of(storage: MemoryStorage, scope: ScopeHex) -> Owner:
    owner = storage.tree.scopes[scope].owner
    assert owner is not None
    return owner


async def test_a_restore_whose_answer_was_lost_is_finished(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        at = place(await ready(api))
        await delete(api)
        storage.fail("restore_folder", Unavailable("the answer was lost"), after=True)
        await api.folder(annotations={"vfolder.dev/restore": at[1].uuid})
        assert place(await api.until_ready(Kinds.FOLDER, "data")) == at
        # Deleted while it is on its way back, the data is in the trash again, not an orphan.
        await delete(api)
        storage.fail("restore_folder", Unavailable("the answer was lost"), times=1000, after=True)
        await api.folder(annotations={"vfolder.dev/restore": at[1].uuid})
        await api.until_reason(Kinds.FOLDER, "data", "Unavailable")
        assert lives(storage, at) == [FolderPhase.LIVE]
        await delete(api)
        assert lives(storage, at) == [FolderPhase.TRASHED]


async def test_two_leaders_restore_one_folder_once(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        at = place(await ready(api))
        await delete(api)
    storage.latency = 0.05
    async with (
        running_operator(api, storage, lease="one", identity="one"),
        running_operator(api, storage, lease="two", identity="two"),
    ):
        await api.folder(annotations={"vfolder.dev/restore": at[1].uuid})
        back = await api.until_ready(Kinds.FOLDER, "data")
        assert place(back) == at
        await after_sweeps(storage, 4)
        assert lives(storage, at) == [FolderPhase.LIVE]
        assert len(storage.tree.scopes[at[0]].folders) == 1


async def test_removal_holds_up_neither_folders_nor_drift(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}, "drift": {"interval": "1s"}})
        at = place(await ready(api))
        # One budget a call: the removal goes on all through the test.
        storage.fill(*at, files=10**9)
        await delete(api)
        told = await api.until(
            Kinds.BACKEND,
            "scratch",
            lambda b: (b["status"].get("trash") or {}).get("removedEntries", 0) > 0,
        )
        assert told["status"]["trash"]["folders"] == 1
        assert told["status"]["trash"]["removing"] == 1
        await api.folder(name="more")
        await api.until_ready(Kinds.FOLDER, "more")
        storage.fill(at[0], size=GI // 2)
        await api.until(
            Kinds.SCOPE, "research", lambda b: (b["status"].get("usage") or {}).get("percent") == 50
        )
        assert lives(storage, at) == [FolderPhase.PURGING]
        storage.fill(*at, files=1)
        await until_purged(storage, at)
        await api.until(
            Kinds.BACKEND, "scratch", lambda b: b["status"]["trash"] == {
                "folders": 0, "bytes": 0, "removing": 0,
            }
        )  # fmt: skip


async def test_a_removal_goes_on_where_a_dead_operator_left_it(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})
        at = place(await ready(api))
        storage.fill(*at, files=10**9)
        await delete(api)

        async def begun() -> bool:
            return lives(storage, at) == [FolderPhase.PURGING]

        await eventually(begun, 15, lambda: "no removal")
    storage.fill(*at, files=5)
    async with running_operator(api, storage):
        await until_purged(storage, at)


async def test_trash_of_another_cluster_is_named_and_left(api: Api) -> None:
    storage = MemoryStorage()
    stranger = FolderHex("cd" * 16)
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})
        at = place(await ready(api))
        storage.plant_folder(at[0], stranger, Owner("elsewhere", "x", "y"))
        storage.tree.scopes[at[0]].folders[stranger].lives[0].since = 1.0
        await delete(api)
        await until_purged(storage, at)
        told = await api.until_reason(Kinds.BACKEND, "scratch", "TrashStuck", "Healthy")
        assert "x/y of cluster elsewhere" in condition(told, "Healthy")["message"]
        assert lives(storage, (at[0], stranger)) == [FolderPhase.TRASHED]


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
