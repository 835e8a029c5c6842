"""The trash: told, kept for its time, removed in the background, brought back, and left alone."""

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
from trash_steps import delete, lives, note_of, ready, until_purged

from vfolder_backends.errors import Unavailable
from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase, Owner
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Kinds

GI = 1 << 30


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
