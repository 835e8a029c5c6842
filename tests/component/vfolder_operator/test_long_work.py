"""Work that takes many calls: tagging a scope, copying a folder, walking over all files."""

import time
from dataclasses import replace

from operator_rig import Api, after_sweeps, condition, eventually, place, running_operator

from vfolder_backends.facts import Capabilities, Enforcement, Level, Tristate
from vfolder_backends.ids import FolderHex, QuotaScopeID
from vfolder_backends.port import FolderPhase, Survey, Usage
from vfolder_backends.testing.memory import MemoryStorage
from vfolder_backends.testing.memory_storage import ENFORCED
from vfolder_operator.kube import Body, Kinds

GI = 1 << 30


async def events_until(api: Api, about: str, *reasons: str) -> None:
    async def posted() -> bool:
        return set(reasons) <= set(await api.events(about))

    await eventually(posted, 10, lambda: f"not all of {reasons} about {about}")


async def test_a_scope_whose_limits_do_not_hold_yet_says_how_far_it_is(api: Api) -> None:
    storage = MemoryStorage()
    storage.settling = 10**6
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        told = await api.until_reason(Kinds.SCOPE, "research", "Tagging")
        assert told["status"]["phase"] == "Pending"
        assert "entries are done" in condition(told, "Ready")["message"]
        assert condition(told, "QuotaEnforced")["reason"] == "Tagging"
        first = told["metadata"]["resourceVersion"]
        before = storage.calls["ensure_scope"]

        async def went_on() -> bool:
            return storage.calls["ensure_scope"] > before + 10

        await eventually(went_on, 10, lambda: "the work does not go on")
        now = await api.get(Kinds.SCOPE, "research")
        assert now["metadata"]["resourceVersion"] == first, "a write with every step"
        storage.settling = 1
        await api.until_ready(Kinds.SCOPE, "research")
        await events_until(api, "research", "Tagging", "Completed")


async def test_a_clone_is_told_and_has_no_claim_before_it_is_complete(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder()
        at = place(await api.until_ready(Kinds.FOLDER, "data"))
        storage.fill(*at, size=4096, files=1000)
        storage.copy_files = 0
        await api.folder({"source": {"vfolder": "data"}}, name="copy")
        told = await api.until_reason(Kinds.FOLDER, "copy", "Cloning")
        assert told["status"]["phase"] == "Pending"
        assert "of 1000 entries" in condition(told, "Ready")["message"]
        assert "volumeHandle" not in told["status"]
        assert await api.kube.find(Kinds.CLAIM, "copy", "team-a") is None
        storage.copy_files = 1000
        copy = place(await api.until_ready(Kinds.FOLDER, "copy"))
        assert copy != at
        (life,) = storage.tree.scopes[copy[0]].folders[copy[1]].lives
        assert (life.phase, life.bytes, life.files) == (FolderPhase.LIVE, 4096, 1000)
        assert (await api.get(Kinds.CLAIM, "copy"))["status"]["phase"] == "Bound"
        await events_until(api, "copy", "Copying", "Completed")
        # What becomes of the source later is no matter of the copy's.
        await api.delete(Kinds.FOLDER, "data")
        await api.until_gone(Kinds.FOLDER, "data")
        await after_sweeps(storage)
        assert condition(await api.get(Kinds.FOLDER, "copy"), "Ready")["status"] == "True"


async def test_a_clone_waits_for_its_source(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.scope()
        await api.folder({"source": {"vfolder": "data"}}, name="copy")
        told = await api.until_reason(Kinds.FOLDER, "copy", "SourceNotFound")
        assert "'data'" in condition(told, "Ready")["message"]
        await api.folder({"quotaScope": "missing"})
        await api.until_reason(Kinds.FOLDER, "copy", "SourceNotReady")
        await api.scope(name="missing")
        await api.until_ready(Kinds.FOLDER, "copy", seconds=30)


async def test_a_clone_is_made_on_one_storage_and_only_where_it_can_be(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend()
        await api.backend(name="elsewhere")
        await api.scope()
        await api.scope({"backend": "elsewhere"}, name="other")
        await api.folder()
        await api.until_ready(Kinds.FOLDER, "data")
        await api.folder({"quotaScope": "other", "source": {"vfolder": "data"}}, name="copy")
        told = await api.until_reason(Kinds.FOLDER, "copy", "SourceElsewhere")
        assert "'scratch'" in condition(told, "Ready")["message"]
        storage.capabilities = replace(ENFORCED, clone="None")
        await api.until(
            Kinds.BACKEND, "scratch", lambda b: b["status"]["capabilities"]["clone"] == "None"
        )
        await api.folder({"source": {"vfolder": "data"}}, name="second")
        await api.until_reason(Kinds.FOLDER, "second", "CloneUnsupported")


def survey(escaped: int = 0, **values: object) -> Survey:
    examples = tuple(f"s/f/{n}" for n in range(min(escaped, 10)))
    return replace(Survey(True, 100, escaped, examples, {}, time.time()), **values)


def scope_hex(body: Body) -> QuotaScopeID:
    return QuotaScopeID.parse(body["status"]["scopeID"])


async def test_what_escaped_its_limits_is_told(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage):
        await api.backend({"drift": {"auditInterval": "1s"}})
        await api.scope()
        made = await api.until_ready(Kinds.SCOPE, "research")
        await api.until_reason(Kinds.SCOPE, "research", "NothingEscaped", "Escaped")
        hexes = scope_hex(made).hex
    async with running_operator(api, storage):
        storage.surveys[hexes] = survey(7)
        told = await api.until_reason(Kinds.SCOPE, "research", "ForeignProjectIDs", "Escaped")
        message = condition(told, "Escaped")["message"]
        assert "7 of 100 entries" in message
        assert "s/f/0, " in message
        assert told["status"]["audit"]["escaped"] == 7
        assert condition(told, "Ready")["status"] == "True"
        await events_until(api, "research", "ForeignProjectIDs")
        storage.surveys[hexes] = survey()
        await api.until_reason(Kinds.SCOPE, "research", "NothingEscaped", "Escaped")


async def test_a_walk_that_is_not_over_is_gone_on_with_and_not_told(api: Api) -> None:
    storage = MemoryStorage()
    async with running_operator(api, storage, refresh_seconds=3600):
        await api.backend()
        await api.until_ready(Kinds.BACKEND, "scratch")
        uuid = "11111111-1111-4111-8111-111111111111"
        hexes = QuotaScopeID.parse(f"project:{uuid}").hex
        storage.surveys[hexes] = survey(3, complete=False)
        await api.scope({"scopeID": f"project:{uuid}"})
        await api.until_ready(Kinds.SCOPE, "research")
        await api.backend({"limits": {"maxConcurrent": 4}})  # has the storage looked at

        async def called() -> bool:
            return storage.calls["survey_scope"] > 3

        await eventually(called, 10, lambda: "the walk does not go on")
        told = await api.get(Kinds.SCOPE, "research")
        assert condition(told, "Escaped")["status"] == "Unknown"
        storage.surveys[hexes] = survey(3)
        await api.until_reason(Kinds.SCOPE, "research", "ForeignProjectIDs", "Escaped")
        calls = storage.calls["survey_scope"]
        await api.backend({"limits": {"maxConcurrent": 5}})
        await after_sweeps(storage, 1)
        await api.until_ready(Kinds.BACKEND, "scratch")
        assert storage.calls["survey_scope"] == calls, "a walk before its time"


async def test_usage_that_nothing_counts_comes_from_the_walk(api: Api) -> None:
    nothing = Enforcement(Level.NONE, Level.NONE, Tristate.UNKNOWN, "nothing")
    storage = MemoryStorage(Capabilities(nothing))
    storage.tree.counts_folders = False
    async with running_operator(api, storage):
        await api.backend({"drift": {"auditInterval": "1s"}})
        uuid = "11111111-1111-4111-8111-111111111111"
        hexes = QuotaScopeID.parse(f"project:{uuid}").hex
        folder = FolderHex("22222222222242228222222222222222")
        storage.surveys[hexes] = survey()
        await api.scope({"scopeID": f"project:{uuid}", "minEnforcement": "None"})
        await api.until_ready(Kinds.SCOPE, "research")
        storage.plant_folder(hexes, folder, None)
        await api.folder({"folderID": folder.uuid})
        await api.until_ready(Kinds.FOLDER, "data")
        walked = {"observed_at": time.time(), "source": "Walk"}
        storage.surveys[hexes] = survey(
            usage={folder: Usage(5 * GI, 7, **walked)}, scope_usage=Usage(6 * GI, 9, **walked)
        )
        told = await api.until(Kinds.SCOPE, "research", lambda b: "usage" in b["status"])
        usage = told["status"]["usage"]
        assert (usage["bytes"], usage["files"], usage["source"]) == (6 * GI, 9, "Walk")
        told = await api.until(
            Kinds.FOLDER,
            "data",
            lambda b: (b["status"].get("usage") or {}).get("source") == "Walk",
        )
        assert (told["status"]["usage"]["bytes"], told["status"]["used"]) == (5 * GI, "5Gi")
    # It is as old as the walk, and stays when another operator comes.
    storage.surveys.clear()
    async with running_operator(api, storage):
        await after_sweeps(storage)
        told = await api.get(Kinds.SCOPE, "research")
        assert told["status"]["usage"]["bytes"] == 6 * GI
