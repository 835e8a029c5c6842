"""What a storage does, measured and written down: the source of docs/behaviour.md.

Each fact becomes a property in pytest's JUnit report; `python -m e2e.behaviour` makes the table.
"""

import errno
from typing import Final

import pytest

from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Capabilities, Level
from vfolder_backends.ids import FolderHex
from vfolder_backends.port import Limits, StorageBackend
from vfolder_backends.testing.conformance.base import MIB, SCOPE, TEAM, Rules
from vfolder_backends.testing.storages import StorageUnderTest

PREFIX: Final = "behaviour."


class BehaviourRules(Rules):
    """Facts, not demands."""

    async def test_behaviour(
        self,
        storage: StorageUnderTest,
        backend: StorageBackend,
        capabilities: Capabilities,
        folder: FolderHex,
        request: pytest.FixtureRequest,
    ) -> None:
        """Record what is told and what is met."""
        levels = capabilities.enforcement
        facts = {
            "backend": getattr(storage, "kind", "memory"),
            "bytes": levels.bytes.value,
            "files": levels.files.value,
            "root passes": levels.root_bypass.value,
            "at the limit": f"{capabilities.over_limit_errno or '-'} at {capabilities.error_at}",
            "writer met": await self._met(storage, backend, folder),
            "limit below usage": await self._shrunk(backend),
            "limit removed": await self._removed(backend),
            "counts": capabilities.accounting,
            "usage per folder": capabilities.folder_usage,
            "usage lag": f"{capabilities.usage_lag_seconds} s",
            "granularity": capabilities.granularity_bytes,
            "df": capabilities.df_shows,
            "isolation": capabilities.isolation,
            "clone": capabilities.clone,
            "snapshot": capabilities.snapshot,
        }
        for name, fact in facts.items():
            request.node.user_properties.append((PREFIX + name, str(fact)))

    async def _met(
        self, storage: StorageUnderTest, backend: StorageBackend, folder: FolderHex
    ) -> str:
        """Return the errno that a writer meets who writes twice the limit at once."""
        await backend.set_limits(SCOPE, TEAM, Limits(bytes=MIB))
        try:
            await storage.fill(SCOPE, folder, 2 * MIB)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error.errno))
        return "nothing"

    async def _shrunk(self, backend: StorageBackend) -> str:
        try:
            await backend.set_limits(SCOPE, TEAM, Limits(bytes=1 << 16))
        except BackendError:
            return "refused"
        return "accepted"

    async def _removed(self, backend: StorageBackend) -> str:
        state = await backend.set_limits(SCOPE, TEAM, Limits())
        if state.enforcement.bytes is Level.NONE and state.limits == Limits():
            return "-"
        return "yes" if state.limits == Limits() else "no"
