"""The storages that are attached now: built from StorageBackend objects, handed to reconcilers."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import BackendError
from vfolder_backends.facts import Health, Link
from vfolder_backends.port import StorageBackend
from vfolder_backends.registry import Registry
from vfolder_operator.crds.backend import StorageBackendSpec

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Attached:
    """One storage.

    Attributes:
        problem: why it must not be used now, None when it may.
        health: what the last good probe saw.
    """

    name: str
    config: BackendConfig
    spec: StorageBackendSpec
    port: StorageBackend
    root_id: str = ""
    health: Health | None = None
    problem: BackendError | None = None

    @property
    def usable(self) -> bool:
        """Whether scopes and folders may be worked on."""
        return self.health is not None and self.problem is None


class Fleet:
    """All attached storages by name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._attached: dict[str, Attached] = {}

    def get(self, name: str) -> Attached | None:
        """The storage, usable or not."""
        return self._attached.get(name)

    async def open(self, config: BackendConfig, spec: StorageBackendSpec) -> Attached:
        """Return the storage of that configuration, built anew when it changed.

        Raises:
            BackendError: it cannot be built.
        """
        attached = self._attached.get(config.name)
        if attached is not None and attached.config == config:
            attached.spec = spec
            return attached
        await self.drop(config.name)
        port = self._registry.build(config)
        attached = Attached(config.name, config, spec, port)
        self._attached[config.name] = attached
        return attached

    async def drop(self, name: str) -> None:
        """Let go of a storage, if it is attached."""
        attached = self._attached.pop(name, None)
        if attached is not None:
            await attached.port.close()
            log.info("backend detached", extra={"backend": name})

    def links(self) -> Iterator[tuple[str, Link]]:
        """How the connections to management interfaces do, by the storage's name."""
        for name, attached in self._attached.items():
            if (link := attached.port.link) is not None:
                yield name, link

    async def close(self) -> None:
        """Let go of all."""
        await asyncio.gather(*(self.drop(name) for name in list(self._attached)))
