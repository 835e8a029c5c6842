"""The configuration of one backend, and how backend kinds are made from it.

A kind is a `BackendFactory`, found by the entry point group `vfolder.backends`; see `registry`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vfolder_backends.errors import Misconfigured, UnknownOption
from vfolder_backends.ledger import DiskLedger, IdLedger
from vfolder_backends.port import StorageBackend


def absolute_path(path: str) -> str:
    """Check a path on a storage, and return it without doubled slashes (`ValueError`)."""
    parts = path.split("/")
    if parts[0] or ".." in parts or "." in parts:
        raise ValueError("must begin with / and hold neither . nor ..")
    return "/" + "/".join(part for part in parts if part)


class Options(BaseModel):
    """Base of the typed `parameters` of a backend kind; values are strings in the API."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """What a factory gets; plain values, so that a backend can be built without Kubernetes.

    Attributes:
        name: the StorageBackend's name.
        root: the directory in which the operator sees the tree.
        credentials: the Secret's values, never logged.
        call_timeout: deadline of each port call in seconds.
        attempt_timeout: seconds after which one request to an array counts as never answered; None
            takes a part of `call_timeout`, so that what hangs can be sent once more.
        node_fs_type: what nodes mount the storage as (`nfs`, `ceph`); empty where it is mounted on
            them already and folders are bound from there.
        user_namespaces: whether every pod that gets a folder runs in a user namespace of its own,
            so that no file's owner there may change project ids.
        ids: where project ids come from.
        read_only: look at a root without a mark as well, and never write one.
    """

    name: str
    type: str
    root: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_bundle: str = ""
    insecure_skip_verify: bool = False
    max_concurrent: int = 8
    call_timeout: float = 30.0
    attempt_timeout: float | None = None
    node_fs_type: str = ""
    user_namespaces: bool = False
    ids: IdLedger = field(default_factory=DiskLedger, repr=False, compare=False)
    read_only: bool = False


class BackendFactory(Protocol):
    """Builds backends of one kind."""

    options: type[Options]
    required_credentials: tuple[str, ...]

    def build(self, config: BackendConfig) -> StorageBackend:
        """Return a backend that has not touched the storage yet.

        Raises:
            Misconfigured: the configuration cannot work.
        """
        ...


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(model: type[OptionsT], parameters: Mapping[str, str]) -> OptionsT:
    """Check `parameters` against a kind's options.

    Raises:
        UnknownOption: a key the kind does not have, with the nearest one it has.
        Misconfigured: a value that is not allowed, with its key.
    """
    known = [f.alias or name for name, f in model.model_fields.items()]
    for key in parameters:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise UnknownOption(f"parameters: unknown option {key!r}; {hint}")
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(
            f"parameters.{where}: {first['msg']} (got {first['input']!r})"
        ) from error
