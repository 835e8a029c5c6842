"""Never lose or cross data: lost roots, missing data, former data, restored and forged objects."""

import uuid

import pytest
from operator_rig import NAMESPACE, Api, condition, eventually, place, running_operator

from vfolder_backends.errors import Unavailable
from vfolder_backends.ids import FolderHex, QuotaScopeID
from vfolder_backends.port import Limits, Owner
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Body, Kinds


async def ready(api: Api) -> tuple[Body, Body]:
    await api.backend()
    await api.scope()
    await api.folder()
    folder = await api.until_ready(Kinds.FOLDER, "data")
    return await api.get(Kinds.SCOPE, "research"), folder


@pytest.mark.parametrize("how", ["unmount", "mount_another"])
async def test_a_lost_root_stops_everything_until_it_is_back(api: Api, how: str) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await ready(api)
        getattr(storage, how)()
        told = await api.until_reason(Kinds.BACKEND, "scratch", "RootLost")
        assert condition(told, "Ready")["status"] == "False"
        await api.until_reason(Kinds.SCOPE, "research", "RootLost")
        await api.until_reason(Kinds.FOLDER, "data", "RootLost")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_reason(Kinds.FOLDER, "data", "RootLost", "Deleting")
        assert storage.tree.scopes == {}, "something was made on the wrong storage"
        storage.mount()
        await api.until_gone(Kinds.FOLDER, "data", seconds=30)
        await api.until_ready(Kinds.SCOPE, "research", seconds=30)


async def test_a_folder_that_vanished_is_not_made_again_unasked(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage, refresh_seconds=0.3):
        await api.backend({"drift": {"interval": "1s"}})
        _, folder = await ready_on(api)
        scope, hexes = place(folder)
        storage.lose_folder(scope, hexes)
        told = await api.until_reason(Kinds.FOLDER, "data", "DataMissing")
        assert told["status"]["phase"] == "Degraded"
        named = hexes.uuid
        assert f"vfolder.dev/start-empty={named}" in condition(told, "Ready")["message"]
        assert storage.tree.scopes[scope].folders[hexes].live is None
        await api.annotate(Kinds.FOLDER, "data", start_empty=named)
        after = await api.until_ready(Kinds.FOLDER, "data")
        assert storage.tree.scopes[scope].folders[hexes].live is not None
        assert "vfolder.dev/start-empty" not in after["metadata"]["annotations"]


async def ready_on(api: Api) -> tuple[Body, Body]:
    await api.scope()
    await api.folder()
    folder = await api.until_ready(Kinds.FOLDER, "data")
    return await api.get(Kinds.SCOPE, "research"), folder


async def test_a_scope_that_vanished_is_not_made_again_unasked(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        scope, folder = await ready(api)
        storage.lose_scope(place(folder)[0])
        await api.scope({"limits": {"bytes": "2Gi"}})
        told = await api.until_reason(Kinds.SCOPE, "research", "DataMissing")
        wanted = f"vfolder.dev/start-empty={scope['status']['scopeID']}"
        assert wanted in condition(told, "Ready")["message"]


async def test_former_data_is_named_and_taken_or_left(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder({"reclaimPolicy": "Retain"})
        first = await api.until_ready(Kinds.FOLDER, "data")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.folder({"reclaimPolicy": "Retain"})
        told = await api.until_reason(Kinds.FOLDER, "data", "FormerDataFound")
        old = first["status"]["folderID"]
        assert f"vfolder.dev/id={old}" in condition(told, "Ready")["message"]
        assert len(storage.tree.scopes[place(first)[0]].folders) == 1
        await api.annotate(Kinds.FOLDER, "data", id=old)
        taken = await api.until_ready(Kinds.FOLDER, "data")
        assert taken["status"]["folderID"] == old

        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.folder(annotations={"vfolder.dev/start-empty": old})
        fresh = await api.until_ready(Kinds.FOLDER, "data")
        assert fresh["status"]["folderID"] != old
        assert len(storage.tree.scopes[place(first)[0]].folders) == 2


async def test_former_data_of_a_scope_is_found_too(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        first = await api.until_ready(Kinds.SCOPE, "research")
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        assert len(storage.tree.scopes) == 1, "Retain keeps the scope"
        await api.scope()
        await api.until_reason(Kinds.SCOPE, "research", "FormerDataFound")
        await api.annotate(Kinds.SCOPE, "research", id=first["status"]["scopeID"])
        again = await api.until_ready(Kinds.SCOPE, "research")
        assert again["status"]["scopeID"] == first["status"]["scopeID"]
        assert len(storage.tree.scopes) == 1


async def test_a_restored_object_finds_its_data_and_a_forged_one_does_not(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder({"reclaimPolicy": "Retain"})
        first = await api.until_ready(Kinds.FOLDER, "data")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        old = first["status"]["folderID"]
        await api.folder(name="thief", annotations={"vfolder.dev/id": old})
        told = await api.until_reason(Kinds.FOLDER, "thief", "NotOurs")
        assert "team-a/data" in condition(told, "Ready")["message"]
        await api.folder(annotations={"vfolder.dev/id": old})
        back = await api.until_ready(Kinds.FOLDER, "data")
        assert back["status"]["folderID"] == old
        await api.delete(Kinds.FOLDER, "thief")
        await api.until_gone(Kinds.FOLDER, "thief")
        assert storage.tree.scopes[place(first)[0]].folders[place(first)[1]].live is not None


async def test_data_of_others_is_taken_only_with_leave(api: Api) -> None:
    storage = MemoryStorage()
    foreign = QuotaScopeID.parse(f"project:{uuid.uuid4()}")
    async with running_operator(api, storage):
        await api.backend()
        await api.until_ready(Kinds.BACKEND, "scratch")
        storage.plant_scope(foreign.hex, Owner("elsewhere", "x", "y"), Limits(5 << 30, None))
        await api.scope({"scopeID": str(foreign)})
        told = await api.until_reason(Kinds.SCOPE, "research", "NotOurs")
        assert "elsewhere" in condition(told, "Ready")["message"]
        entry = {"scopeID": str(foreign), "namespace": NAMESPACE, "name": "research"}
        await api.backend({"adoptions": [entry]})
        await api.until_ready(Kinds.SCOPE, "research", seconds=30)
        assert storage.tree.scopes[foreign.hex].owner is not None
        assert storage.tree.scopes[foreign.hex].owner.name == "research"


async def test_an_unmarked_folder_of_the_teams_own_scope_can_be_adopted(api: Api) -> None:
    storage = MemoryStorage()
    lying = FolderHex(uuid.uuid4().hex)
    other = FolderHex(uuid.uuid4().hex)
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        scope = await api.until_ready(Kinds.SCOPE, "research")
        where = QuotaScopeID.parse(scope["status"]["scopeID"]).hex
        storage.plant_folder(where, lying, None)
        storage.plant_folder(where, other, Owner("elsewhere", "x", "y"))
        await api.folder({"folderID": lying.uuid})
        folder = await api.until_ready(Kinds.FOLDER, "data")
        assert folder["status"]["folderID"] == lying.uuid
        await api.folder({"folderID": other.uuid}, name="other")
        await api.until_reason(Kinds.FOLDER, "other", "NotOurs")
        await api.folder({"folderID": str(uuid.uuid4())}, name="none")
        await api.until_reason(Kinds.FOLDER, "none", "FolderNotFound")


async def test_a_storage_that_is_away_is_told_and_retried(api: Api) -> None:
    storage = MemoryStorage()
    storage.fail("probe", Unavailable("the array does not answer"), times=3)
    async with running_operator(api, storage):
        await api.backend()
        await api.until_reason(Kinds.BACKEND, "scratch", "Unavailable")
        await api.until_ready(Kinds.BACKEND, "scratch")


async def test_an_answer_that_was_lost_doubles_nothing(api: Api) -> None:
    storage = MemoryStorage()
    lost = Unavailable("the answer was lost")
    for method in ("ensure_scope", "set_limits", "ensure_folder", "trash_folder", "attach"):
        storage.fail(method, lost, after=True)
    async with running_operator(api, storage):
        _, folder = await ready(api)
        assert len(storage.tree.scopes) == 1
        assert len(storage.tree.scopes[place(folder)[0]].folders) == 1
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")


async def test_an_orphan_is_counted_and_never_removed(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"drift": {"interval": "1s"}})
        _, folder = await ready_on(api)
        scope, hexes = place(folder)
        storage.unmount()
        await api.until_reason(Kinds.BACKEND, "scratch", "RootLost")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_reason(Kinds.FOLDER, "data", "RootLost", "Deleting")
        # Somebody loses patience and takes the finalizer off: the data must not go with it.
        await api.kube.patch(Kinds.FOLDER, "data", NAMESPACE, {"metadata": {"finalizers": None}})
        storage.mount()
        counted = await api.until(
            Kinds.BACKEND, "scratch", lambda b: b["status"].get("orphans") == 1
        )
        assert counted["status"]["orphans"] == 1
        assert storage.tree.scopes[scope].folders[hexes].live is not None


async def test_forgetting_lets_the_object_go_and_leaves_the_data(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        _, folder = await ready(api)
        storage.unmount()
        await api.until_reason(Kinds.BACKEND, "scratch", "RootLost")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_reason(Kinds.FOLDER, "data", "RootLost", "Deleting")
        await api.annotate(Kinds.FOLDER, "data", forget="true")
        await api.until_gone(Kinds.FOLDER, "data")

        async def told() -> bool:
            return "Forgotten" in await api.events("data")

        await eventually(told, 5, lambda: "no event")
        storage.mount()
        scope, hexes = place(folder)
        assert storage.tree.scopes[scope].folders[hexes].live is not None
