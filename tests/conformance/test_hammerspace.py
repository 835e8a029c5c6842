"""The suite on a simulated Hammerspace system, and what only Hammerspace does."""

import subprocess
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from vfolder_backends.errors import (
    BackendError,
    Misconfigured,
    NotEmpty,
    NotOurs,
    PermissionDenied,
    Unavailable,
)
from vfolder_backends.facts import Level
from vfolder_backends.port import Limits
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, served
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.hammerspace.simulator import make
from vfolder_backends.testing.conformance import ArrayConformance
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, scope_request

ACCOUNT = {"username": "vfolder", "password": "simulated-hammerspace"}
PARAMETERS = {
    "nodeSubnets": "10.0.0.0/16",
    "operatorSubnets": "10.1.0.7",
    "taskPause": "0.01",
}
NAME = f"vfolder-{SCOPE}"


@pytest.fixture
def storage(tmp_path):
    with served(ArrayUnderTest, make(tmp_path), ACCOUNT, PARAMETERS) as made:
        yield made


@pytest.fixture
async def backend(storage):
    backend = storage.build()
    await backend.attach(None)
    yield backend
    await backend.close()
    assert storage.array.violations == []


class TestHammerspace(ArrayConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        with served(ArrayUnderTest, make(tmp_path), ACCOUNT, PARAMETERS) as made:
            yield made

    async def test_capabilities_tell_the_truth(self, backend, capabilities):
        levels = capabilities.enforcement
        assert (levels.bytes, levels.files) == (Level.DELAYED, Level.NONE)
        health = await backend.probe()
        assert health.capacity.total_bytes == 1 << 40
        assert health.warnings == ()


async def made_with(storage, **parameters):
    config = storage.configured(parameters={**PARAMETERS, "path": storage.root_path, **parameters})
    backend = Registry().build(config)
    await backend.attach(None)
    return backend


@pytest.mark.parametrize(
    ("setting", "parameters"),
    [
        ("null_keeps", {"unlimited": "zero"}),
        ("underscores", {"removal": "underscores"}),
        ("wants_create_path", {"createPath": "true"}),
        ("basic", {"login": "basic"}),
    ],
)
async def test_each_unknown_has_its_option(storage, setting, parameters):
    setattr(storage.array.settings, setting, True)
    backend = await made_with(storage, **parameters)
    await backend.probe()
    await backend.ensure_scope(scope_request())
    state = await backend.set_limits(SCOPE, TEAM, Limits())
    assert state.limits == Limits()
    await backend.delete_scope(SCOPE, TEAM)
    await backend.close()
    assert storage.held() == {}
    assert storage.array.violations == []


async def test_a_limit_that_is_not_removed_is_noticed(storage, backend):
    await backend.ensure_scope(scope_request())
    storage.array.settings.null_keeps = True
    with pytest.raises(BackendError, match="the storage shows"):
        await backend.set_limits(SCOPE, TEAM, Limits())


async def test_exports_are_explicit(storage, backend):
    await backend.ensure_scope(scope_request())
    assert storage.array.state.shares[NAME].exports == [
        {"subnet": "10.1.0.7/32", "accessPermissions": "RW", "rootSquash": False},
        {"subnet": "10.0.0.0/16", "accessPermissions": "RW", "rootSquash": True},
    ]


async def test_a_change_of_the_limit_changes_nothing_else(storage, backend):
    await backend.ensure_scope(scope_request())
    share = storage.array.state.shares[NAME]
    share.warn, share.extended = 42, {"csi": "x"}
    exports = list(share.exports)
    await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
    assert (share.limit, share.warn, share.extended) == (MIB, 42, {"csi": "x"})
    assert share.exports == exports


async def test_a_task_that_failed_has_failed(storage, backend):
    storage.array.settings.fails = 1
    with pytest.raises(BackendError, match="FAILED: an injected failure"):
        await backend.ensure_scope(scope_request())
    assert storage.held() == {}
    await backend.ensure_scope(scope_request())
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}


async def test_a_foreign_share_of_our_name_is_left_alone(storage, backend):
    await backend.ensure_scope(scope_request())
    storage.array.state.shares[NAME].comment = "of somebody else"
    with pytest.raises(NotOurs, match="of somebody else"):
        await backend.set_limits(SCOPE, TEAM, Limits())
    with pytest.raises(NotOurs, match="of somebody else"):
        await backend.delete_scope(SCOPE, TEAM)
    assert NAME in storage.array.state.shares


async def test_a_share_with_something_in_it_stays(storage, backend):
    await backend.ensure_scope(scope_request())
    (storage.root / SCOPE.value / "stray").write_text("x")
    with pytest.raises(NotEmpty):
        await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}


@pytest.mark.parametrize("follows", [False, True])
async def test_the_directory_is_gone_before_its_share(storage, backend, follows):
    storage.array.settings.follows = follows
    await backend.ensure_scope(scope_request())
    client = backend._driver._client
    remove, left = client.remove_share, []

    async def watched(uuid):
        left.extend(path.name for path in storage.root.glob("*[0-9a-f]"))
        await remove(uuid)

    client.remove_share = watched
    await backend.delete_scope(SCOPE, TEAM)
    assert left == []
    assert storage.held() == {}
    assert storage.array.served["DELETE /shares/{name}"] == 1


async def test_a_removal_that_takes_the_path_along_finds_none(storage, backend):
    storage.array.settings.underscores = True  # and we spell it with dashes
    await backend.ensure_scope(scope_request())
    (storage.root / "beside").write_text("x")
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {}
    assert sorted(p.name for p in storage.root.iterdir()) == [".vfolder", "beside"]


async def test_a_scope_made_again_while_its_share_is_removed_has_its_limit(storage, backend):
    await backend.ensure_scope(scope_request())
    client = backend._driver._client
    remove = client.remove_share

    async def remove_late(uuid):
        other = storage.build()
        await other.attach(None)
        client.remove_share = remove
        await other.ensure_scope(replace(scope_request(), recreate=True))
        await other.close()
        await remove(uuid)

    client.remove_share = remove_late
    with suppress(BackendError):
        await backend.delete_scope(SCOPE, TEAM)
    assert (storage.root / SCOPE.value).is_dir()
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}


@contextmanager
def pinned(place):
    """A directory that cannot be renamed or removed, as some file systems keep their exports."""
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("late", [False, True])
async def test_a_share_that_pins_its_directory_goes_first(storage, backend, late):
    await backend.ensure_scope(scope_request())
    place = storage.root / SCOPE.value
    client = backend._driver._client
    remove = client.remove_share

    async def unpinning(uuid):
        await remove(uuid)
        subprocess.run(["umount", place], check=True)
        if late:
            (place / "late").write_text("x")

    client.remove_share = unpinning
    with pinned(place):
        if not late:
            await backend.delete_scope(SCOPE, TEAM)
            assert storage.held() == {}
            assert not place.exists()
            return
        with pytest.raises(NotEmpty):
            await backend.delete_scope(SCOPE, TEAM)
    assert (place / "late").exists()
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}


async def test_a_directory_that_cannot_be_removed_stays_under_its_limit(storage, backend):
    await backend.ensure_scope(scope_request())
    with pinned(storage.root / SCOPE.value), pytest.raises(Unavailable, match="in use"):
        await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("then", ["delete", "make"])
@pytest.mark.parametrize("nth", range(1, 8))
async def test_a_scope_half_deleted_is_deleted_or_whole_again(storage, backend, nth, then, follows):
    storage.array.settings.follows = follows
    await backend.ensure_scope(scope_request())
    storage.array.faults.arm(Fault(Kind.ERROR, nth, times=4))
    with suppress(BackendError):
        await backend.delete_scope(SCOPE, TEAM)
    storage.array.calm()
    if then == "make":
        await backend.ensure_scope(replace(scope_request(), recreate=True))
        assert storage.held() == {SCOPE.value: Limit(scope_request().limits.bytes)}
    await backend.delete_scope(SCOPE, TEAM)
    assert storage.held() == {}
    assert [p.name for p in storage.root.iterdir()] == [".vfolder"]


async def test_a_share_that_followed_its_directory_aside_is_not_the_new_ones(storage, backend):
    storage.array.settings.follows = True
    await backend.ensure_scope(scope_request())
    aside = storage.root / ".vfolder" / "gone" / SCOPE.value
    aside.parent.mkdir()
    (storage.root / SCOPE.value).rename(aside)  # and the actor died
    await backend.ensure_scope(replace(scope_request(), recreate=True))
    assert not aside.exists()
    share = storage.array.state.shares[NAME]
    assert (share.path, share.limit) == (f"/root/{SCOPE}", scope_request().limits.bytes)


async def test_a_session_that_ended_is_made_anew(storage, backend):
    await backend.ensure_scope(scope_request())
    storage.array.tokens.end_all()
    await backend.describe_scope(SCOPE)
    assert storage.array.served["POST /login"] == 2


async def refused_probe(storage, error, match, **changes):
    backend = Registry().build(storage.configured(**changes))
    try:
        await backend.attach(None)
        with pytest.raises(error, match=match):
            await backend.probe()
    finally:
        await backend.close()
    assert storage.array.violations == []


async def test_a_role_that_may_not_make_shares_is_named(storage):
    viewer = {"username": "viewer", "password": "simulated-viewer"}
    await refused_probe(storage, PermissionDenied, "role", credentials=viewer)


async def test_a_wrong_password_is_told_without_it(storage):
    wrong = {"username": "vfolder", "password": "planted-and-wrong"}
    await refused_probe(storage, PermissionDenied, "401, Unauthorized$", credentials=wrong)


async def test_another_directory_is_noticed(storage):
    parameters = {**PARAMETERS, "path": "/elsewhere"}
    await refused_probe(storage, Misconfigured, r"parameters\.path", parameters=parameters)


async def test_a_place_that_cannot_hold_shares_is_noticed(storage):
    storage.array.settings.nested = False
    await refused_probe(storage, Misconfigured, "cannot hold shares")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "relative"),
        ("nodeSubnets", "0.0.0.0/0"),
        ("nodeSubnets", "*"),
        ("nodeSubnets", ""),
        ("operatorSubnets", "::/0"),
        ("sharePrefix", "x" * 49),
        ("login", "token"),
    ],
)
def test_options_are_checked(storage, key, value):
    parameters = {**PARAMETERS, "path": "/root", key: value}
    with pytest.raises(Misconfigured, match=rf"parameters\.{key}"):
        Registry().build(storage.configured(parameters=parameters))


async def test_a_wrong_word_of_ours_is_noticed(storage, backend, monkeypatch):
    from vfolder_backends.transport.messages import Request

    client = backend._driver._client

    async def wrong(name, path, comment, limit):
        await client.channel.send(Request("POST", "/shares", json={"name": name, "size": 1}))

    monkeypatch.setattr(client, "make_share", wrong)
    with pytest.raises(BackendError, match="size"):
        await backend.ensure_scope(scope_request())
    assert any("size" in text for text in storage.array.violations)
    storage.array.violations.clear()


async def test_a_wrong_word_of_the_simulator_is_noticed(storage, backend):
    shown = type(storage.array)._shown

    class Chatty(type(storage.array)):
        def _shown(self, share):
            return {**shown(self, share), "colour": "blue"}

    storage.array.__class__ = Chatty
    await backend.ensure_scope(scope_request())
    assert any("colour" in text for text in storage.array.violations)
    storage.array.violations.clear()
