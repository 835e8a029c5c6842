"""From objects to a bound claim, in any order, and back."""

from operator_rig import Api, after_sweeps, condition, hold_claim, running_operator

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import FolderPhase
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Kinds


async def test_a_folder_becomes_ready_whatever_is_applied_first(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.folder({"owner": {"uid": 1000, "gid": 1000}, "mode": "2770"})
        await api.until_reason(Kinds.FOLDER, "data", "ScopeNotFound")
        await api.scope()
        await api.until_reason(Kinds.SCOPE, "research", "BackendNotFound")
        await api.until_reason(Kinds.FOLDER, "data", "ScopeNotReady")
        await api.backend()
        backend = await api.until_ready(Kinds.BACKEND, "scratch")
        scope = await api.until_ready(Kinds.SCOPE, "research")
        folder = await api.until_ready(Kinds.FOLDER, "data")

    assert backend["status"]["capabilities"]["enforcement"] == "Enforced"
    assert backend["metadata"]["annotations"]["vfolder.dev/root-id"] == storage.tree.root_id
    assert scope["status"]["limits"] == {"bytes": 1 << 30}
    assert scope["status"]["enforcement"]["bytes"] == "Enforced"
    claim = await api.get(Kinds.CLAIM, "data")
    volume = await api.get(Kinds.VOLUME, claim["spec"]["volumeName"])
    assert (claim["status"]["phase"], volume["status"]["phase"]) == ("Bound", "Bound")
    assert volume["spec"]["csi"]["volumeHandle"] == folder["status"]["volumeHandle"]
    assert volume["spec"]["csi"].get("volumeAttributes") is None
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    handle = folder["status"]["volumeHandle"].split("/")
    made = storage.tree.scopes[ScopeHex(handle[1])].folders[FolderHex(handle[2])].live
    assert made is not None
    assert (made.attributes.uid, made.attributes.mode) == (1000, 0o2770)


async def test_two_writes_make_a_folder_ready_and_then_there_are_none(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        made = await api.folder()
        folder = await api.until_ready(Kinds.FOLDER, "data")
        managers = folder["metadata"]["managedFields"]
        before = folder["metadata"]["resourceVersion"]
        await after_sweeps(storage)
        after = await api.get(Kinds.FOLDER, "data")
    assert after["metadata"]["resourceVersion"] == before, "a write in steady state"
    assert made["metadata"]["generation"] == after["metadata"]["generation"], "spec was written"
    assert {m.get("subresource", "") for m in managers} == {"", "status"}


async def test_deletion_waits_for_the_last_pod_and_ends_in_the_trash(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder()
        folder = await api.until_ready(Kinds.FOLDER, "data")
        await hold_claim(api, "trainer", "data")
        await api.delete(Kinds.FOLDER, "data")
        held = await api.until_reason(Kinds.FOLDER, "data", "ClaimInUse", "Deleting")
        assert "trainer" in condition(held, "Deleting")["message"]
        _, scope, hexes = folder["status"]["volumeHandle"].split("/")
        entry = storage.tree.scopes[ScopeHex(scope)].folders[FolderHex(hexes)]
        assert entry.live is not None, "the data went while a pod held the claim"
        await api.delete(Kinds.POD, "trainer")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.CLAIM, "data")
        await api.until_gone(Kinds.VOLUME, f"vfolder-{hexes}")
        assert [life.phase for life in entry.lives] == [FolderPhase.TRASHED]


async def test_a_namespace_goes_away_with_everything_in_it(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.kubectl("create", "namespace", "short-lived")
        await api.scope(namespace="short-lived")
        await api.folder(namespace="short-lived")
        await api.until(
            Kinds.FOLDER,
            "data",
            lambda b: condition(b, "Ready").get("status") == "True",
            namespace="short-lived",
        )
        await api.kubectl("delete", "namespace", "short-lived", "--timeout=30s")
    (scope,) = storage.tree.scopes.values()
    (folder,) = scope.folders.values()
    assert [life.phase for life in folder.lives] == [FolderPhase.TRASHED]


async def test_a_claim_that_a_user_deleted_is_made_again(api: Api) -> None:
    async with running_operator(api, MemoryStorage()):
        await api.backend()
        await api.scope()
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        first = await api.get(Kinds.CLAIM, "data")
        await api.delete(Kinds.CLAIM, "data")
        second = await api.until(
            Kinds.CLAIM,
            "data",
            lambda b: (
                b["metadata"]["uid"] != first["metadata"]["uid"]
                and b.get("status", {}).get("phase") == "Bound"
            ),
        )
        volume = await api.get(Kinds.VOLUME, second["spec"]["volumeName"])
        assert volume["spec"]["claimRef"]["uid"] == second["metadata"]["uid"]
        await api.until_ready(Kinds.FOLDER, "data")


async def test_a_claim_that_is_not_ours_is_never_touched(api: Api) -> None:
    foreign = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    async with running_operator(api, MemoryStorage()):
        before = await api.apply(Kinds.CLAIM, "data", foreign)
        await api.backend()
        await api.scope()
        await api.folder()
        await api.until_reason(Kinds.FOLDER, "data", "ClaimConflict")
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        after = await api.get(Kinds.CLAIM, "data")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"] == before["spec"]


async def test_a_claim_that_a_resource_quota_refuses_is_told_and_made_later(api: Api) -> None:
    await api.kubectl("create", "quota", "none", "--hard=persistentvolumeclaims=0", "-n", "team-a")
    try:
        async with running_operator(api, MemoryStorage()):
            await api.backend()
            await api.scope()
            await api.folder()
            told = await api.until_reason(Kinds.FOLDER, "data", "ClaimRefused")
            assert "exceeded quota" in condition(told, "Ready")["message"]
            await api.kubectl("delete", "quota", "none", "-n", "team-a")
            await api.until_ready(Kinds.FOLDER, "data")
    finally:
        await api.kubectl("delete", "quota", "none", "-n", "team-a", "--ignore-not-found")


async def test_no_claim_is_announced_as_lost_while_many_are_bound(api: Api) -> None:
    async with running_operator(api, MemoryStorage()):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        for n in range(40):
            await api.folder(name=f"f{n}")
        for n in range(40):
            await api.until_ready(Kinds.FOLDER, f"f{n}", seconds=30)
    lost = [
        e["regarding"]["name"]
        async for e in api.kube.list(Kinds.EVENT)
        if e["reason"] == "ClaimLost"
    ]
    assert lost == []


async def test_a_backend_and_a_scope_in_use_are_not_deleted(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope({"reclaimPolicy": "Delete"})
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        await api.delete(Kinds.BACKEND, "scratch")
        await api.delete(Kinds.SCOPE, "research")
        told = await api.until_reason(Kinds.SCOPE, "research", "FoldersRemain", "Deleting")
        assert "data" in condition(told, "Deleting")["message"]
        told = await api.until_reason(Kinds.BACKEND, "scratch", "ScopesRemain", "Deleting")
        assert "team-a/research" in condition(told, "Deleting")["message"]
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.BACKEND, "scratch")
    assert storage.calls["trash_folder"] == 1
