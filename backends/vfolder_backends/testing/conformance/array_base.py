"""What all rules on arrays share: the simulators, and a watch over what is said and asked."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vfolder_backends.errors import BackendError
from vfolder_backends.port import StorageBackend
from vfolder_backends.registry import Registry
from vfolder_backends.testing.array_storage import ArrayUnderTest, Fleet
from vfolder_backends.testing.conformance.base import Rules
from vfolder_backends.testing.secrecy import Texts, listening

RefusedProbe = Callable[..., Awaitable[None]]
"""Error, pattern of the message, and what is different in the configuration."""


@asynccontextmanager
async def actor(storage: ArrayUnderTest) -> AsyncIterator[StorageBackend]:
    """One more backend for the length of a `with` block, not attached yet."""
    backend = storage.build()
    try:
        yield backend
    finally:
        await backend.close()


class ArrayTests(Rules):
    """Base of all tests on a simulated array; `under_test` says which.

    After each test no word was wrong, in a call of ours or in an answer of the simulator, and no
    text that came out holds a secret.
    """

    under_test: ClassVar[type[ArrayUnderTest]]

    # The HTTP library drops a connection whose TLS handshake is cancelled at a deadline without
    # closing it; the collector does, and says so.
    pytestmark: ClassVar = pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <(socket|ssl|function _SelectorTransport)"
        r":pytest.PytestUnraisableExceptionWarning"
    )

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[ArrayUnderTest]:
        """A simulator of its own for each test."""
        with self.under_test.serve(tmp_path) as made:
            yield made

    @pytest.fixture
    def texts(self) -> Iterator[Texts]:
        """Everything that is logged during the test, and what it adds."""
        with listening() as texts:
            yield texts

    @pytest.fixture
    def fleet(self, storage: ArrayUnderTest, tmp_path: Path) -> Iterator[Fleet]:
        """More of the same, for what can go on at the same time."""
        with Fleet(storage, tmp_path / "fleet") as fleet:
            yield fleet

    @pytest.fixture(autouse=True)
    def watched(self, fleet: Fleet, texts: Texts) -> Iterator[None]:
        """Fail a test in which a word was wrong, or a secret came out."""
        yield
        gc.collect()  # what a cut-off handshake left is met here, where `pytestmark` knows of it
        assert [text for one in fleet.all for text in one.array.violations] == []
        assert texts.leaks(secret for one in fleet.all for secret in one.secrets) == []

    @pytest.fixture
    def refused_probe(self, storage: ArrayUnderTest, texts: Texts) -> RefusedProbe:
        """Builds a backend that is configured in another way, and expects its probe to fail."""

        async def refused(error: type[BackendError], match: str, **changes: Any) -> None:
            config = storage.configured(**changes)
            texts.plant(value for key, value in config.credentials.items() if key != "username")
            backend = Registry().build(config)
            try:
                await backend.attach(None)
                with pytest.raises(error, match=match) as caught:
                    await backend.probe()
                texts.caught(caught.value)
            finally:
                await backend.close()

        return refused
