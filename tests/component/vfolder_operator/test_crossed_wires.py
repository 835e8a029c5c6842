"""Objects that share a name, a claim or a storage never get at each other's data."""

import asyncio
import json
import pathlib
import time
import uuid

import pytest
from operator_rig import (
    NAMESPACE,
    Api,
    after_sweeps,
    condition,
    eventually,
    hold_claim,
    place,
    running_operator,
)

from vfolder_backends.errors import BackendError, Unavailable
from vfolder_backends.ids import FolderHex, QuotaScopeID, ScopeHex
from vfolder_backends.port import FolderPhase, Limits
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_operator.kube import Body, Kinds

GI = 1 << 30


async def test_a_former_folder_of_the_same_name_is_not_taken_for_the_new_one(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder({"reclaimPolicy": "Retain"})
        first = await api.until_ready(Kinds.FOLDER, "data")
        old = first["status"]["folderID"]
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.folder(annotations={"vfolder.dev/start-empty": old})
        second = await api.until_ready(Kinds.FOLDER, "data")
        await after_sweeps(storage)
        now = await api.get(Kinds.FOLDER, "data")
        assert now["status"]["folderID"] == second["status"]["folderID"] != old
        assert now["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
        assert (await api.get(Kinds.BACKEND, "scratch"))["status"]["orphans"] == 1
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        folders = storage.tree.scopes[place(first)[0]].folders
        assert folders[FolderHex.from_uuid(old)].live is not None, "the retained folder went"


async def test_two_folders_that_want_one_claim_do_not_share_a_volume(api: Api) -> None:
    async with running_operator(api, MemoryStorage()):
        await api.backend()
        await api.scope()
        await api.folder({"claim": {"name": "shared"}}, name="first")
        await api.until_ready(Kinds.FOLDER, "first")
        before = await api.get(Kinds.CLAIM, "shared")
        await api.folder(name="shared")
        await api.until_reason(Kinds.FOLDER, "shared", "ClaimConflict")
        await api.delete(Kinds.FOLDER, "shared")
        await api.until_gone(Kinds.FOLDER, "shared")
        after = await api.get(Kinds.CLAIM, "shared")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_a_foreign_claim_with_our_label_is_not_touched(api: Api) -> None:
    async with running_operator(api, MemoryStorage()):
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        before = await api.apply(Kinds.CLAIM, "data", spec, labels={"vfolder.dev/managed": "true"})
        await api.backend()
        await api.scope()
        await api.folder()
        await api.until_reason(Kinds.FOLDER, "data", "ClaimConflict")
        after = await api.get(Kinds.CLAIM, "data")
        assert after["metadata"].get("annotations") is None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_restored_object_takes_its_claim_over_and_waits_for_its_pods(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder()
        first = await api.until_ready(Kinds.FOLDER, "data")
    # The cluster's objects are restored while nobody looks: a new uid, no status.
    await api.kube.patch(Kinds.FOLDER, "data", NAMESPACE, {"metadata": {"finalizers": None}})
    await api.delete(Kinds.FOLDER, "data")
    await api.until_gone(Kinds.FOLDER, "data")
    async with running_operator(api, storage):
        await api.folder(annotations={"vfolder.dev/id": first["status"]["folderID"]})
        await api.until_ready(Kinds.FOLDER, "data")
        await hold_claim(api, "trainer", "data")
        await api.delete(Kinds.FOLDER, "data")
        told = await api.until_reason(Kinds.FOLDER, "data", "ClaimInUse", "Deleting")
        assert "trainer" in condition(told, "Deleting")["message"]
        volume = await api.get(Kinds.VOLUME, f"vfolder-{place(first)[1]}")
        assert volume["metadata"].get("deletionTimestamp") is None, "deleted under the pod"
        await api.delete(Kinds.POD, "trainer")
        await api.until_gone(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.CLAIM, "data")


async def test_claims_that_are_made_again_are_never_misbound(api: Api) -> None:
    async with running_operator(api, MemoryStorage()):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        names = [f"f{n}" for n in range(10)]
        for name in names:
            await api.folder(name=name)
        for name in names:
            await api.until_ready(Kinds.FOLDER, name, seconds=30)
        uids = {n: (await api.get(Kinds.CLAIM, n))["metadata"]["uid"] for n in names}
        for name in names:
            await api.delete(Kinds.CLAIM, name)
        for name in names:
            await api.until(
                Kinds.CLAIM,
                name,
                lambda b, uid=uids[name]: (
                    b["metadata"]["uid"] != uid and b.get("status", {}).get("phase") == "Bound"
                ),
                seconds=30,
            )
    reasons = {e["reason"] async for e in api.kube.list(Kinds.EVENT)}
    assert not reasons & {"ClaimMisbound", "ClaimLost"}


async def test_a_backend_that_is_being_deleted_still_lets_its_folders_go(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        await api.delete(Kinds.BACKEND, "scratch")
        await api.until_reason(Kinds.BACKEND, "scratch", "ScopesRemain", "Deleting")
    async with running_operator(api, storage):  # another leader, which never saw it otherwise
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data", seconds=20)
        await api.delete(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.SCOPE, "research")
        await api.until_gone(Kinds.BACKEND, "scratch", seconds=20)


async def test_a_root_on_which_scopes_were_made_is_never_marked_anew(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
    await api.annotate(Kinds.BACKEND, "scratch", root_id=None)
    storage.unmount()
    async with running_operator(api, storage):
        await api.until_reason(Kinds.BACKEND, "scratch", "RootLost")
        assert storage.tree.root_id is None
        assert storage.tree.scopes == {}


async def test_a_scope_is_not_made_again_on_a_storage_that_was_rolled_back(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        storage.tree.scopes.clear()
        await api.until_reason(Kinds.SCOPE, "research", "DataMissing")
        assert storage.tree.scopes == {}


async def test_a_sweep_does_not_call_a_change_done_that_nobody_made_yet(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"drift": {"interval": "1s"}})
        await api.scope()
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        gates = [
            storage.gates.setdefault(f"ensure_{w}", asyncio.Event()) for w in ("scope", "folder")
        ]
        changed = {
            Kinds.SCOPE: await api.scope({"limits": {"bytes": "Unlimited"}}),
            Kinds.FOLDER: await api.folder({"mode": "2750"}),
        }
        await after_sweeps(storage, 6)
        for kind, body in changed.items():
            seen = await api.get(kind, body["metadata"]["name"])
            assert seen["status"]["observedGeneration"] < body["metadata"]["generation"], kind
        for gate in gates:
            gate.set()
        scope = await api.until_ready(Kinds.SCOPE, "research")
        assert scope["status"]["limits"] == {}
        await api.until_ready(Kinds.FOLDER, "data")


async def test_drift_stays_reported_and_is_not_taken_for_a_wish(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"drift": {"policy": "Report"}})
        await api.scope({"shrinkPolicy": "Allow"})
        body = await api.until_ready(Kinds.SCOPE, "research")
        scope = QuotaScopeID.parse(body["status"]["scopeID"]).hex
        storage.tamper(scope, Limits(4 * GI, None))
        await api.until_reason(Kinds.SCOPE, "research", "LimitDrifted", "Drifted")
        await after_sweeps(storage)
        body = await api.get(Kinds.SCOPE, "research")
        assert condition(body, "Drifted")["status"] == "True"
        assert storage.tree.scopes[scope].limits == Limits(4 * GI, None), "Report repaired"
        storage.tamper(scope, Limits(None, None))
        await api.until_reason(Kinds.SCOPE, "research", "LimitMissing", "QuotaEnforced")


async def test_one_scope_that_fails_does_not_hide_the_others(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1s"}})
        for name in ("one", "two"):
            await api.scope(name=name)
            await api.folder({"quotaScope": name}, name=name)
        folders: dict[str, Body] = {}
        for name in ("one", "two"):
            folders[name] = await api.until_ready(Kinds.FOLDER, name)
        first, second = sorted(folders, key=lambda n: place(folders[n])[0])
        storage.fail("purge", BackendError("a snapshot is in the trash"), times=1000)
        await api.delete(Kinds.FOLDER, first)
        await api.until_gone(Kinds.FOLDER, first)
        told = await api.until_reason(Kinds.BACKEND, "scratch", "TrashStuck", "Healthy")
        assert "a snapshot is in the trash" in condition(told, "Healthy")["message"]
        victim = place(folders[second])[0]
        storage.tamper(victim, Limits(8 * GI, None))

        async def repaired() -> bool:
            return storage.tree.scopes[victim].limits == Limits(GI, None)

        await eventually(repaired, 10, lambda: "drift of the other scope was not seen")


async def test_a_full_scope_loses_its_oldest_trash_first_and_no_more_than_it_needs(
    api: Api,
) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"trash": {"retention": "1d", "purgeAbovePercent": 90}})
        await api.scope()
        places: dict[str, tuple[ScopeHex, FolderHex]] = {}
        for name in ("old", "new"):
            await api.folder(name=name)
            places[name] = place(await api.until_ready(Kinds.FOLDER, name))
            storage.fill(*places[name], size=GI // 4)
            await api.delete(Kinds.FOLDER, name)
            await api.until_gone(Kinds.FOLDER, name)
        scope = places["old"][0]
        # Both are young; only their order counts.
        for n, name in enumerate(("old", "new")):
            storage.tree.scopes[scope].folders[places[name][1]].lives[-1].since = (
                time.time() - 100 + n
            )
        storage.fill(scope, size=GI // 2)

        async def purged() -> bool:
            return places["old"][1] not in storage.tree.scopes[scope].folders

        await eventually(purged, 10, lambda: "the scope stayed full")
        await after_sweeps(storage)
        kept = storage.tree.scopes[scope].folders[places["new"][1]].lives[-1]
        assert kept.phase is FolderPhase.TRASHED


async def test_a_namespace_that_is_let_in_or_out_is_noticed_at_once(api: Api) -> None:
    selector = {"allowedNamespaces": {"matchLabels": {"storage": "yes"}}}
    storage = MemoryStorage()
    async with running_operator(api, storage):
        try:
            await api.backend(selector)
            await api.scope()
            await api.until_reason(Kinds.SCOPE, "research", "NamespaceNotAllowed")
            await api.kubectl("label", "namespace", "team-a", "storage=yes")
            await api.until_ready(Kinds.SCOPE, "research", seconds=5)
            await api.kubectl("label", "namespace", "team-a", "storage-")
            told = await api.until_reason(Kinds.SCOPE, "research", "NamespaceNotAllowed")
            assert told["status"]["limits"] == {"bytes": GI}, "what is there is still told"
            await api.folder()
            await api.until_reason(Kinds.FOLDER, "data", "ScopeNotReady")
        finally:
            await api.kubectl("label", "namespace", "team-a", "storage-")


async def test_what_cannot_be_read_is_not_shown_as_true(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.until_ready(Kinds.SCOPE, "research")
        storage.fail("probe", Unavailable("gone"), times=1000)
        told = await api.until_reason(Kinds.SCOPE, "research", "BackendNotReady")
        assert condition(told, "QuotaEnforced")["status"] == "Unknown"
        storage.heal()
        told = await api.until_ready(Kinds.SCOPE, "research", seconds=20)
        assert condition(told, "QuotaEnforced")["status"] == "True"


async def test_a_declared_storage_that_is_refused_holds_up_no_other(
    api: Api, tmp_path: pathlib.Path
) -> None:
    good = {"type": "memory", "hostPath": "/mnt/x", "allowedNamespaces": {}}
    (tmp_path / "broken.json").write_text(json.dumps({**good, "allowedNamespace": {}}))
    (tmp_path / "scratch.json").write_text(json.dumps(good))
    async with running_operator(api, MemoryStorage(), backends_dir=str(tmp_path)):
        await api.until_ready(Kinds.BACKEND, "scratch")
        assert await api.kube.find(Kinds.BACKEND, "broken") is None


@pytest.mark.parametrize("data", [{}, {"password": "/w=="}])
async def test_a_bad_secret_is_told_and_a_mended_one_is_seen(
    api: Api, data: dict[str, str]
) -> None:
    name = f"filer-{uuid.uuid4().hex[:6]}"
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"credentialsSecretRef": {"name": name}})
        told = await api.until_reason(Kinds.BACKEND, "scratch", "CredentialsMissing")
        assert name in condition(told, "Ready")["message"]
        await api.kube.create(
            Kinds.SECRET, {"metadata": {"name": name}, "data": data}, "vfolder-system"
        )
        if data:
            told = await api.until_reason(Kinds.BACKEND, "scratch", "CredentialsInvalid")
            assert "'password'" in condition(told, "Ready")["message"]
            fixed = {"data": {"password": "aHVudGVyMg=="}}
            await api.kube.patch(Kinds.SECRET, name, "vfolder-system", fixed)
        await api.until_ready(Kinds.BACKEND, "scratch", seconds=20)
