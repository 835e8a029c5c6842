"""Any sequence of operations and faults ends as last wanted, or with an error that says why."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Capabilities
from vfolder_backends.ids import ScopeHex
from vfolder_backends.port import Limits, ScopeRequest, StorageBackend
from vfolder_backends.testing.array_storage import ArrayUnderTest
from vfolder_backends.testing.arrays.disk import Limit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.conformance.array_base import ArrayTests
from vfolder_backends.testing.conformance.base import MIB, TEAM
from vfolder_backends.testing.secrecy import Texts

_SCOPES: Final = [ScopeHex(f"{number:032x}") for number in (1, 2)]
_EXAMPLES: Final = 20
_STEPS: Final = 12
_IMPATIENT: Final = 0.4
_TURNS: Final = 5

SCOPES: Final = st.sampled_from(_SCOPES)
LIMITS: Final = st.sampled_from([Limits(), Limits(bytes=MIB), Limits(bytes=3 * MIB, files=100)])
NTH: Final = st.integers(1, 6)

Operation = Callable[[StorageBackend], Coroutine[Any, Any, Any]]


class Sequence(RuleBasedStateMachine):
    """What is wanted of two scopes, and a storage that may fail at any call.

    A scope whose last operation failed may be as before or as wanted; the same operation again, by
    an actor with more patience and without a fault, makes it as wanted.
    """

    storage: ArrayUnderTest
    stored: Callable[[Limits], Limits]
    kinds: list[Kind]
    texts: Texts

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        config = replace(self.storage.config, attempt_timeout=_IMPATIENT)
        self.hasty = replace(self.storage, config=config).build()
        self.patient = self.storage.build()
        self.runner.run(self._begin())
        self.wanted: dict[ScopeHex, Limits | None] = dict.fromkeys(_SCOPES)
        self.open: dict[ScopeHex, Operation] = {}

    async def _begin(self) -> None:
        await self.hasty.attach(None)
        await self.patient.attach(None)

    async def _end(self) -> None:
        await self.hasty.close()
        await self.patient.close()
        for _ in range(_TURNS):  # a transport closes its socket some turns after it was told
            await asyncio.sleep(0)

    def _do(self, scope: ScopeHex, wanted: Limits | None, act: Operation) -> None:
        try:
            self.runner.run(act(self.hasty))
        except BackendError as error:
            assert str(error)
            self.texts.caught(error)
            self.open[scope] = act
        else:
            self.open.pop(scope, None)
        self.wanted[scope] = wanted
        # What comes after the caller gave up is over before the next operation begins.
        self.runner.run(self.storage.quiet())
        self._check(scope)

    def _check(self, scope: ScopeHex) -> None:
        if scope not in self.open:
            wanted, held = self.wanted[scope], self.storage.held().get(scope.value)
            if wanted is None:
                assert held is None
            else:
                stored = self.stored(wanted)
                assert held == Limit(stored.bytes, stored.files)

    def _settle(self, scope: ScopeHex) -> None:
        """Finish what failed, without a fault."""
        if scope in self.open:
            self.storage.array.calm()
            self.runner.run(self.open.pop(scope)(self.patient))
            self._check(scope)

    @rule(kind=st.sampled_from(list(Kind)), nth=NTH)
    def something_goes_wrong(self, kind: Kind, nth: int) -> None:
        """The nth call from now on suffers."""
        if kind in self.kinds:
            self.storage.array.faults.arm(Fault(kind, nth))

    @rule(scope=SCOPES, limits=LIMITS)
    def ensure(self, scope: ScopeHex, limits: Limits) -> None:
        """Make it; one that is there keeps its limits."""
        self._settle(scope)
        owner = replace(TEAM, name=f"q{scope.value[-1]}")
        request = ScopeRequest(scope, owner, limits)
        wanted = self.wanted[scope] or limits
        self._do(scope, wanted, lambda backend: backend.ensure_scope(request))

    @rule(scope=SCOPES, limits=LIMITS)
    def limit(self, scope: ScopeHex, limits: Limits) -> None:
        """Set limits on one that is there."""
        self._settle(scope)
        if self.wanted[scope] is not None:
            owner = replace(TEAM, name=f"q{scope.value[-1]}")
            self._do(scope, limits, lambda backend: backend.set_limits(scope, owner, limits))

    @rule(scope=SCOPES)
    def delete(self, scope: ScopeHex) -> None:
        """Delete it, there or not."""
        self._settle(scope)
        owner = replace(TEAM, name=f"q{scope.value[-1]}")
        self._do(scope, None, lambda backend: backend.delete_scope(scope, owner))

    def teardown(self) -> None:
        """Finish everything; then nothing may be left that nobody wants."""
        try:
            self.storage.array.calm()
            for scope in _SCOPES:
                self._settle(scope)
                self.delete(scope)
                self._settle(scope)  # the hasty one may have been too slow for a busy machine
            assert self.storage.held() == {}
        finally:
            self.runner.run(self._end())
            self.runner.close()


class SequenceRules(ArrayTests):
    """The state machine, run on the storage under test."""

    @pytest.mark.timeout(300)
    def test_any_sequence_ends_as_wanted(self, storage: ArrayUnderTest, texts: Texts) -> None:
        """See the module."""
        capabilities = asyncio.run(_probed(storage))

        class Bound(Sequence):
            pass

        Bound.storage = storage
        Bound.stored = staticmethod(lambda limits: self.stored(limits, capabilities))
        Bound.texts = texts
        Bound.kinds = sorted(storage.array.fault_kinds)
        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=_EXAMPLES,
                stateful_step_count=_STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


async def _probed(storage: ArrayUnderTest) -> Capabilities:
    backend = storage.build()
    try:
        await backend.attach(None)
        return (await backend.probe()).capabilities
    finally:
        await backend.close()
