"""Rules on arrays: every fault at every call, and nothing said that must not be said."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest

from vfolder_backends.errors import BackendError, NotEmpty
from vfolder_backends.facts import Capabilities
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.testing.array_storage import ArrayUnderTest, Fleet
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.conformance.array_base import ArrayTests, actor
from vfolder_backends.testing.conformance.base import LIMITS, MIB
from vfolder_backends.testing.conformance.operations import (
    Prepare,
    StepRules,
    Things,
    clean,
    delete_scope,
    ensure_folder,
    ensure_scope,
    nothing,
    set_limits,
    with_folder,
    with_scope,
)
from vfolder_backends.testing.secrecy import Texts
from vfolder_backends.transport.channel import Channel
from vfolder_backends.transport.messages import Request
from vfolder_backends.transport.sessions import NoAuth

_MAX_CALLS: Final = 40
_IMPATIENT: Final = 0.4  # seconds: what a request that is never answered costs
SET: Final = Limits(bytes=2 * MIB)


async def unset_limits(backend: StorageBackend, things: Things) -> None:
    """Remove both limits."""
    await backend.attach(things.root_id)
    await backend.set_limits(things.scope.scope, things.scope.owner, Limits())


async def read_all(backend: StorageBackend, things: Things) -> None:
    """Look at everything there is."""
    await backend.attach(things.root_id)
    await backend.probe()
    await backend.metrics()
    await backend.describe_scope(things.scope.scope)
    assert [state async for state in backend.list_scopes()]


Operation = Callable[[StorageBackend, Things], Awaitable[object]]

OPERATIONS: Final[dict[str, tuple[Prepare, Operation, Limits | None]]] = {
    "ensure_scope": (nothing, ensure_scope, LIMITS),
    "ensure_scope again": (with_scope, ensure_scope, LIMITS),
    "set_limits": (with_scope, set_limits, SET),
    "unset_limits": (with_folder, unset_limits, Limits()),
    "ensure_folder": (with_scope, ensure_folder, LIMITS),
    "read_all": (with_scope, read_all, LIMITS),
    "delete_scope": (with_scope, delete_scope, None),
}
"""Preparation, what is done under a fault, and the limits wanted in the end."""

_LEAVE_THE_SCOPE: Final = frozenset(
    {"ensure_scope again", "set_limits", "unset_limits", "read_all"}
)
"""Done again and again to one scope, which is deleted after the last time."""


@dataclass
class _Lane:
    """One kind of fault at each call of one operation, on an array of its own."""

    rules: "ArrayRules"
    storage: ArrayUnderTest
    capabilities: Capabilities
    texts: Texts
    kind: Kind
    patience: float = _IMPATIENT

    async def run(self, operation: str) -> None:
        """Go on until the operation makes no such call any more."""
        prepare, act, wanted = OPERATIONS[operation]
        stays, nth = operation in _LEAVE_THE_SCOPE, 1
        async with actor(self.storage) as backend:
            root_id = await backend.attach(None)
            for step in range(1, _MAX_CALLS):
                things = Things(root_id, 1 if stays else step)
                if step == 1 or not stays:
                    await prepare(backend, things)
                elif wanted != LIMITS:
                    await backend.set_limits(things.scope.scope, things.scope.owner, LIMITS)
                fault = Fault(self.kind, nth)
                failed = await self._suffer(fault, act, things)
                held = {things.scope.scope.value: self.rules.as_held(wanted, self.capabilities)}
                assert self.storage.held() == (held if wanted else {}), f"{self.kind}, call {nth}"
                over = not fault.fired and failed is None
                if over or not stays:
                    await clean(backend, things)
                    assert self.storage.held() == {}, f"{self.kind}, call {nth}"
                    self.rules.nothing_left(self.storage)
                if over:
                    return
                if fault.fired:
                    nth += 1
                elif failed is not None:
                    self._be_patient(failed)
        raise AssertionError(f"{operation} makes more than {_MAX_CALLS} calls")

    @property
    def _hasty(self) -> bool:
        return self.kind in (Kind.HANG, Kind.LATE)

    async def _suffer(self, fault: Fault, act: Operation, things: Things) -> BackendError | None:
        """Act under a fault and once more without; return what the first one ended with.

        The same actor does both, with what it remembers. Only where a call is never answered an
        impatient one suffers in its place, so that a busy machine does not look like a fault.
        """
        failed, storage = None, self.storage
        if self._hasty:
            config = replace(storage.config, attempt_timeout=self.patience)
            storage = replace(storage, config=config)
        async with actor(storage) as first:
            storage.array.faults.arm(fault)
            try:
                await act(first, things)
            except BackendError as error:
                failed = error
                self.texts.caught(error)
                assert str(error), "an error that does not say why"
            await storage.quiet()
            storage.array.calm()
            if not self._hasty:
                await act(first, things)
        if self._hasty:
            async with actor(self.storage) as patient:
                await act(patient, things)
        return failed

    def _be_patient(self, failed: BackendError) -> None:
        """The machine was too busy to get as far as the fault: the same call again, with more."""
        self.patience *= 2
        if not self._hasty or self.patience > self.storage.config.call_timeout:
            raise AssertionError("it failed, and not by a fault") from failed


class ArrayRules(ArrayTests, StepRules):
    """What only an array behind a network can do to us."""

    async def test_secrets_are_watched_for(
        self, storage: ArrayUnderTest, backend: StorageBackend, texts: Texts
    ) -> None:
        """The scan sees each call in the log, and finds each secret in use if it is planted."""
        await backend.probe()
        assert any("array call" in text for text in texts.texts)
        used = {value for key, value in storage.config.credentials.items() if key != "username"}
        assert used <= storage.secrets
        assert storage.secrets - used, "what a session is made of"
        said = Texts()
        for secret in storage.secrets:
            assert texts.leaks([secret]) == []
            said.texts = [f"a header was {secret!r}"]
            assert said.leaks(storage.secrets) == said.texts

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_a_fault_at_each_call_then_a_retry(
        self,
        storage: ArrayUnderTest,
        capabilities: Capabilities,
        fleet: Fleet,
        texts: Texts,
        operation: str,
    ) -> None:
        """Nothing is doubled, nothing is lost, no limit is left off.

        Each kind of fault has an array of its own, so that all of them suffer, and mostly wait, at
        the same time.
        """
        async with asyncio.TaskGroup() as group:
            for kind in sorted(storage.array.fault_kinds):
                lane = _Lane(self, fleet.another(kind.name), capabilities, texts, kind)
                group.create_task(lane.run(operation), name=str(kind))

    def as_held(self, wanted: Limits | None, capabilities: Capabilities) -> Limit:
        """Return what the array must hold for these limits."""
        stored = self.stored(wanted or Limits(), capabilities)
        return Limit(stored.bytes, stored.files)

    async def test_an_array_that_is_not_there(
        self, storage: ArrayUnderTest, backend: StorageBackend, texts: Texts
    ) -> None:
        """Its calls fail at once after a while, and go on when it is back."""
        root_id = await backend.attach(None)
        things = Things(root_id, 1)
        await with_scope(backend, things)
        storage.array.faults.arm(Fault(Kind.RESET, times=1000))
        for _ in range(6):
            with pytest.raises(BackendError) as caught:
                await backend.describe_scope(things.scope.scope)
            texts.caught(caught.value)
        before = sum(storage.array.served.values())
        with pytest.raises(BackendError, match="left alone"):
            await backend.describe_scope(things.scope.scope)
        assert sum(storage.array.served.values()) == before
        storage.array.calm()
        async with actor(storage) as other:
            await other.attach(root_id)
            await other.describe_scope(things.scope.scope)

    async def test_many_callers_log_in_once(
        self, storage: ArrayUnderTest, backend: StorageBackend
    ) -> None:
        """A session that is over is renewed by one of them."""
        things = Things(await backend.attach(None), 1)
        await with_scope(backend, things)
        logins = self.logins(storage)
        storage.array.forget_sessions()
        calls = (backend.describe_scope(things.scope.scope) for _ in range(12))
        await asyncio.gather(*calls)
        assert self.logins(storage) - logins <= 1

    def logins(self, storage: ArrayUnderTest) -> int:
        """How many calls needed no session so far."""
        return sum(storage.array.served[route] for route in storage.array.open_routes)

    async def test_a_pass_over_many_scopes_is_one_list(
        self, storage: ArrayUnderTest, backend: StorageBackend
    ) -> None:
        """Calls do not grow with every scope."""
        root_id = await backend.attach(None)
        counts = []
        for step in range(1, 13):
            await with_scope(backend, Things(root_id, step))
            if step in (2, 12):
                before = sum(storage.array.served.values())
                assert len([state async for state in backend.list_scopes()]) == step
                counts.append(sum(storage.array.served.values()) - before)
        assert counts[1] - counts[0] <= 2

    async def test_a_wrong_authority_is_refused(
        self, storage: ArrayUnderTest, backend: StorageBackend
    ) -> None:
        """By name of the field to mend, and no credentials are sent."""
        root_id = await backend.attach(None)
        await backend.probe()
        before = sum(storage.array.served.values())
        stranger = replace(storage.config, ca_bundle="")
        async with actor(replace(storage, config=stranger)) as other:
            await other.attach(root_id)
            with pytest.raises(BackendError, match=r"tls\.caBundle"):
                await other.probe()
        assert sum(storage.array.served.values()) == before

    async def test_switched_off_verification_is_a_warning(self, storage: ArrayUnderTest) -> None:
        """And works."""
        config = replace(storage.config, insecure_skip_verify=True, ca_bundle="")
        async with actor(replace(storage, config=config)) as other:
            await other.attach(None)
            assert "insecureSkipVerify" in " ".join((await other.probe()).warnings)

    async def test_a_scope_with_something_in_it_keeps_its_limit(
        self, storage: ArrayUnderTest, backend: StorageBackend, capabilities: Capabilities
    ) -> None:
        """It is not deleted, and nothing in it is."""
        things = Things(await backend.attach(None), 1)
        await with_scope(backend, things)
        place = storage.root / things.scope.scope.value
        (place / "stray").write_text("x")
        with pytest.raises(NotEmpty):
            await delete_scope(backend, things)
        assert storage.held() == {place.name: self.as_held(LIMITS, capabilities)}
        assert (place / "stray").read_text() == "x"

    async def test_a_wrong_word_of_the_simulator_is_noticed(
        self, storage: ArrayUnderTest, backend: StorageBackend
    ) -> None:
        """In an answer that our client takes; it knows nothing of the check."""
        things = Things(await backend.attach(None), 1)
        storage.array.chatty = True
        await with_scope(backend, things)
        assert any("colour" in text for text in storage.array.violations)
        storage.array.violations.clear()

    async def test_a_wrong_word_of_ours_is_noticed(self, storage: ArrayUnderTest) -> None:
        """In a call that is sent as all others are, and refused as the array would."""
        array = storage.array
        route = next(route for route in sorted(array.document.routes) if "{" not in route)
        method, _, path = route.partition(" ")
        assert storage.server is not None
        config = storage.configured(endpoint=storage.server.endpoint)
        channel = Channel(config, NoAuth())
        with pytest.raises(BackendError):
            await channel.send(Request(method, array.base + path, query={"colour": "blue"}))
        await channel.close()
        assert any("colour" in text for text in array.violations)
        array.violations.clear()
