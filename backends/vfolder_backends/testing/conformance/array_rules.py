"""Rules on arrays: every fault at every call, and nothing said that must not be said."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ClassVar, Final

import pytest

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Capabilities
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
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
from vfolder_backends.testing.secrecy import Texts, listening

_MAX_CALLS: Final = 40
_IMPATIENT: Final = 1.2  # seconds: what a call that is never answered costs
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


class ArrayRules(StepRules):
    """What only an array behind a network can do to us."""

    # The HTTP library drops a connection whose TLS handshake is cancelled at a deadline without
    # closing it; the collector does, and says so.
    pytestmark: ClassVar = pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <(socket|ssl|function _SelectorTransport)"
        r":pytest.PytestUnraisableExceptionWarning"
    )

    @pytest.fixture
    def texts(self) -> Iterator[Texts]:
        """Everything that is logged during the test, and what it adds."""
        with listening() as texts:
            yield texts

    @pytest.fixture(autouse=True)
    def watched(self, storage: ArrayUnderTest, texts: Texts) -> Iterator[None]:
        """Fail a test in which a word was wrong, or a secret came out."""
        yield
        gc.collect()  # what a cut-off handshake left is met here, where `pytestmark` knows of it
        assert storage.array.violations == []
        assert texts.leaks(storage.array.secrets) == []

    async def test_each_call_is_logged(self, backend: StorageBackend, texts: Texts) -> None:
        """The scan for secrets does see what is logged."""
        await ensure_scope(backend, Things(None, 1))
        assert any("array call" in text for text in texts.texts)
        assert texts.leaks(["array call"])

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_a_fault_at_each_call_then_a_retry(
        self,
        storage: ArrayUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        texts: Texts,
        operation: str,
    ) -> None:
        """Nothing is doubled, nothing is lost, no limit is left off."""
        prepare, act, wanted = OPERATIONS[operation]
        root_id = await backend.attach(None)
        step = 0
        for kind in sorted(storage.array.fault_kinds):
            for nth in range(1, _MAX_CALLS):
                step += 1
                things = Things(root_id, step)
                await prepare(backend, things)
                hit = await self._suffer(storage, Fault(kind, nth), act, things, texts)
                held = {things.scope.scope.value: self.as_held(wanted, capabilities)}
                assert storage.held() == (held if wanted else {}), f"{kind} at call {nth}"
                await clean(backend, things)
                assert storage.held() == {}, f"{kind} at call {nth}"
                self.nothing_left(storage)
                if not hit:
                    break
            else:
                raise AssertionError(f"{operation} makes more than {_MAX_CALLS} calls")

    def as_held(self, wanted: Limits | None, capabilities: Capabilities) -> Limit:
        """Return what the array must hold for these limits."""
        stored = self.stored(wanted or Limits(), capabilities)
        return Limit(stored.bytes, stored.files)

    async def _suffer(
        self,
        storage: ArrayUnderTest,
        fault: Fault,
        act: Operation,
        things: Things,
        texts: Texts,
    ) -> bool:
        """Act under a fault and once more without; return whether the fault came at all.

        The same actor does both, with what it remembers. Only where a call is never answered an
        impatient one suffers in its place, so that a busy machine does not look like a fault.
        """
        impatient = fault.kind in (Kind.HANG, Kind.LATE)
        config = replace(storage.config, call_timeout=_IMPATIENT) if impatient else storage.config
        async with _actor(replace(storage, config=config)) as actor:
            storage.array.faults.arm(fault)
            try:
                await act(actor, things)
            except BackendError as error:
                texts.caught(error)
                assert str(error), "an error that does not say why"
            await storage.quiet()
            storage.array.calm()
            if not impatient:
                await act(actor, things)
        if impatient:
            async with _actor(storage) as patient:
                await act(patient, things)
        return fault.fired > 0

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
        async with _actor(storage) as actor:
            await actor.attach(root_id)
            await actor.describe_scope(things.scope.scope)

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
        async with _actor(replace(storage, config=stranger)) as actor:
            await actor.attach(root_id)
            with pytest.raises(BackendError, match=r"tls\.caBundle"):
                await actor.probe()
        assert sum(storage.array.served.values()) == before


@asynccontextmanager
async def _actor(storage: ArrayUnderTest) -> AsyncIterator[StorageBackend]:
    backend = storage.build()
    try:
        yield backend
    finally:
        await backend.close()
