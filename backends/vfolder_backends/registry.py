"""Finds backend kinds, built in or installed, by the entry point group `vfolder.backends`.

Importing this module imports no vendor: a kind is loaded when a backend of it is first built, so a
broken plugin disables only itself.
"""

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from vfolder_backends.config import BackendConfig, BackendFactory, parse_options
from vfolder_backends.errors import Misconfigured
from vfolder_backends.port import StorageBackend

GROUP: Final = "vfolder.backends"


class Registry:
    """The kinds that a StorageBackend's `type` may name.

    Args:
        factories: kinds given on top of what is installed, for tests and embedding.
    """

    def __init__(self, factories: Mapping[str, BackendFactory] | None = None) -> None:
        self._factories: dict[str, BackendFactory] = dict(factories or {})
        self._entries = _installed()

    @property
    def types(self) -> tuple[str, ...]:
        """The names of all kinds, loadable or not."""
        return tuple(sorted({*self._factories, *self._entries}))

    def origin(self, kind: str) -> str:
        """Which installed packages offer a kind, with their versions; empty for one given here."""
        found = {entry.dist for entry in self._entries.get(kind, []) if entry.dist is not None}
        return ", ".join(sorted(f"{dist.name} {dist.version}" for dist in found))

    def factory(self, kind: str) -> BackendFactory:
        """Return the factory of a kind.

        Raises:
            Misconfigured: no such kind, more than one, or its plugin does not load.
        """
        if kind not in self._factories:
            if kind not in self._entries:
                near = difflib.get_close_matches(kind, self.types, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise Misconfigured(
                    f"type: unknown backend type {kind!r}, known: {', '.join(self.types)}{hint}"
                )
            self._factories[kind] = _load(kind, self._entries[kind])
        return self._factories[kind]

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend for `config`, which has not touched the storage yet.

        Raises:
            Misconfigured: the type, a parameter or a missing credential, each by its name.
        """
        factory = self.factory(config.type)
        parse_options(factory.options, config.parameters)
        for key in factory.required_credentials:
            if not config.credentials.get(key):
                raise Misconfigured(f"credentialsSecretRef: the Secret lacks the key {key!r}")
        return factory.build(config)


def _installed() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        same = found.setdefault(entry.name, [])
        if entry.value not in (other.value for other in same):
            same.append(entry)
    return found


def _load(kind: str, entries: list[EntryPoint]) -> BackendFactory:
    if len(entries) > 1:
        values = ", ".join(entry.value for entry in entries)
        raise Misconfigured(f"type: {kind!r} is offered by more than one package: {values}")
    try:
        factory: BackendFactory = entries[0].load()()
    except Exception as error:  # a plugin's code may raise anything at import
        raise Misconfigured(
            f"type: the plugin {entries[0].value} of {kind!r} does not load: {error!r}"
        ) from error
    return factory
