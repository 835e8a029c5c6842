"""Settings from the environment, read once; the only reader of the environment."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

_PREFIX = "VFOLDER_OPERATOR_"


class Settings(BaseModel):
    """How the operator runs; each field is `VFOLDER_OPERATOR_<FIELD>` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = "vfolder-system"
    """Namespace of the operator, its Lease and the Secrets it may read."""

    identity: str = Field(default_factory=lambda: os.uname().nodename)
    """Name of this replica in the Lease."""

    lease: str = "vfolder-operator"
    """Name of the Lease."""

    ledger: str = "vfolder-operator-ledger"
    """Name of the ConfigMap that remembers which project ids were given."""

    require_user_namespaces: bool = False
    """Whether pods with our claims have to run in user namespaces of their own."""

    user_namespace_policy: str = "vfolder-user-namespaces"
    """Name of the admission policy, and of its binding, that sees to it."""

    port: int = Field(default=8080, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""

    workers: int = Field(default=64, ge=1, le=1000)
    """Objects that are reconciled at one time."""

    backends_dir: str = ""
    """Directory with the declared storages: `<name>.json`, each a StorageBackend's spec."""

    refresh_seconds: float = Field(default=60, gt=0)
    """How often a storage is probed and its usage read."""

    call_seconds: float = Field(default=30, gt=0)
    """Deadline of one call to a storage."""

    kubeconfig: str = ""
    """Path of a kubeconfig; empty uses the pod's service account."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Verbosity."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            pydantic.ValidationError: a variable of ours is unknown or its value is not allowed.
        """
        values = {
            key.removeprefix(_PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(_PREFIX)
        }
        return cls.model_validate(values)
