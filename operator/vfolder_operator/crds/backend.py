"""StorageBackend: a storage as the admin describes it. Cluster-scoped."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from vfolder_operator.crds.common import (
    UUID_PATTERN,
    ByteLimit,
    Conditions,
    Duration,
    FileLimit,
    LabelSelector,
    Model,
    Name,
    ScopeIDText,
    StatusModel,
    immutable,
    rules,
)

_ABSOLUTE = "^(/[^/\\x00]+)+$"


class SecretRef(Model):
    """A Secret in the operator's own namespace."""

    name: Annotated[Name, Field(description="Name of the Secret.")]


class MountSpec(Model):
    """How a node mounts a folder by itself."""

    fs_type: Annotated[
        str,
        Field(
            pattern="^[a-z0-9._-]+$",
            min_length=1,
            max_length=32,
            description="File system type as mount(8) knows it, such as nfs, ceph or lustre.",
        ),
    ]
    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="What is mounted, as the root of the backend: server:/export.",
        ),
    ]
    options: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]],
        Field(
            default=[],
            max_length=32,
            description="Mount options. NFS must be hard: soft loses writes.",
            json_schema_extra=rules(
                ("!self.exists(o, o == 'soft')", "soft mounts lose writes; use hard")
            ),
        ),
    ]
    secret_ref: Annotated[
        SecretRef | None,
        Field(
            default=None,
            description="Secret that kubelet hands to the node plugin for each mount.",
        ),
    ]


class MaxLimits(Model):
    """The most that one scope may ask for."""

    bytes: Annotated[ByteLimit | None, Field(default=None, description="Most bytes per scope.")]
    files: Annotated[FileLimit | None, Field(default=None, description="Most files per scope.")]


class AdoptionSpec(Model):
    """Leave for one object to take over data that is not marked as its own."""

    scope_id: Annotated[
        ScopeIDText,
        Field(
            alias="scopeID", description="The scope on the storage: user:<uuid>, project:<uuid>."
        ),
    ]
    folder_id: Annotated[
        str | None,
        Field(
            default=None,
            alias="folderID",
            pattern=UUID_PATTERN,
            max_length=36,
            description="One folder of that scope, for a VFolder; without it the scope is meant.",
        ),
    ]
    namespace: Annotated[Name, Field(description="Namespace of the object that may take it.")]
    name: Annotated[Name, Field(description="Name of the object that may take it.")]
    previous_cluster: Annotated[
        Name | None,
        Field(
            default=None,
            description=(
                "Uid of the kube-system namespace of a lost cluster. Then only what that cluster's "
                "object of the same namespace and name had is taken, and likewise each folder of "
                "the scope by the VFolder of its namespace and name."
            ),
        ),
    ]


class TrashSpec(Model):
    """How long deleted folders can come back."""

    retention: Annotated[
        Duration, Field(default="24h", description="How long a deleted folder stays restorable.")
    ]
    purge_above_percent: Annotated[
        int,
        Field(
            default=90,
            ge=1,
            le=100,
            description="Above this share of a scope's limits its trash goes early.",
        ),
    ]
    max_entries_per_second: Annotated[
        int | None,
        Field(
            default=None,
            ge=1,
            le=1_000_000,
            description="How fast trash is removed; default as fast as the storage takes it.",
        ),
    ]


class TLSSpec(Model):
    """How the management interface's certificate is checked."""

    ca_bundle: Annotated[
        str, Field(default="", max_length=65536, description="PEM certificates to trust.")
    ]
    insecure_skip_verify: Annotated[
        bool, Field(default=False, description="Do not check the certificate. Warned about.")
    ]


class CallLimits(Model):
    """What one storage is asked to bear."""

    max_concurrent: Annotated[
        int, Field(default=8, ge=1, le=256, description="Calls in flight at one time.")
    ]


class DriftSpec(Model):
    """What happens when a limit was changed behind our back."""

    policy: Annotated[
        Literal["Repair", "Report"],
        Field(default="Repair", description="Set the limit again, or only tell."),
    ]
    interval: Annotated[
        Duration, Field(default="5m", description="How often the whole storage is compared.")
    ]
    audit_interval: Annotated[
        Duration,
        Field(
            default="24h",
            description="How often all files are looked at, where only a walk finds what escaped"
            " its limits, or what is used.",
        ),
    ]


class StorageBackendSpec(Model):
    """What the admin wants."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        json_schema_extra=rules(
            (
                "has(self.hostPath) != has(self.mount)",
                "exactly one of hostPath and mount must be given",
            ),
        ),
    )

    type: Annotated[
        str,
        Field(
            pattern="^[a-z0-9][-a-z0-9]*$",
            min_length=1,
            max_length=40,
            description="Kind of storage: vfs, cephfs, or one that an installed plugin brings.",
            json_schema_extra=immutable("type"),
        ),
    ]
    host_path: Annotated[
        str | None,
        Field(
            default=None,
            pattern=_ABSOLUTE,
            max_length=4096,
            description="Where the storage is mounted on every node already.",
            json_schema_extra=rules(
                (
                    "!self.split('/').exists(p, p == '..' || p == '.')",
                    "hostPath may not hold . or .. components",
                )
            ),
        ),
    ]
    mount: Annotated[
        MountSpec | None,
        Field(default=None, description="How the node plugin mounts it, where it is not yet."),
    ]
    operator_path: Annotated[
        str | None,
        Field(
            default=None,
            pattern=_ABSOLUTE,
            max_length=4096,
            description="Where the operator sees the same tree; default /backends/<name>.",
        ),
    ]
    node_selector: Annotated[
        dict[str, str],
        Field(default={}, description="Labels of the nodes that can reach the storage."),
    ]
    allowed_namespaces: Annotated[
        LabelSelector | None,
        Field(
            default=None,
            description="Namespaces that may have scopes here: none by default, {} for all.",
        ),
    ]
    max_limits: Annotated[
        MaxLimits, Field(default=MaxLimits(), description="The most that one scope may ask for.")
    ]
    adoptions: Annotated[
        list[AdoptionSpec],
        Field(default=[], max_length=4096, description="Existing data that may be taken over."),
    ]
    trash: Annotated[
        TrashSpec, Field(default=TrashSpec(), description="How long deleted folders stay.")
    ]
    endpoint: Annotated[
        str,
        Field(default="", max_length=2048, description="Address of the management interface."),
    ]
    credentials_secret_ref: Annotated[
        SecretRef | None,
        Field(
            default=None,
            description="Secret in the operator's namespace with the management credentials.",
        ),
    ]
    tls: Annotated[TLSSpec, Field(default=TLSSpec(), description="How TLS is checked.")]
    parameters: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]],
        Field(default={}, description="Options of this kind of storage; unknown ones are refused."),
    ]
    limits: Annotated[
        CallLimits, Field(default=CallLimits(), description="What the storage is asked to bear.")
    ]
    drift: Annotated[
        DriftSpec, Field(default=DriftSpec(), description="What happens when a limit drifts.")
    ]


class CapabilitiesStatus(StatusModel):
    """What this storage can do, as probed."""

    enforcement: Annotated[str, Field(description="How far byte limits hold.")]
    files_enforcement: Annotated[str, Field(description="How far file limits hold.")]
    root_bypass: Annotated[str, Field(description="Whether root in a pod passes limits.")]
    over_limit_errno: Annotated[str, Field(description="What a writer gets at the limit.")]
    error_at: Annotated[str, Field(description="Which call gets it: Write or Close.")]
    file_limit: Annotated[bool, Field(description="Whether files can be limited.")]
    accounting: Annotated[str, Field(description="What counts as used.")]
    df_shows: Annotated[str, Field(description="What df shows in a pod.")]
    isolation: Annotated[str, Field(description="What keeps other tenants out.")]
    granularity_bytes: Annotated[int, Field(description="Limits are rounded up to this.")]
    usage_lag_seconds: Annotated[int, Field(description="How late usage may be.")]
    fast_usage: Annotated[bool, Field(description="Whether usage comes from counters.")]
    clone: Annotated[str, Field(description="How a folder can be copied by the storage.")]
    snapshot: Annotated[bool, Field(description="Whether snapshots exist.")]
    mount_strategy: Annotated[str, Field(description="What a node mounts.")]


class CapacityStatus(StatusModel):
    """Bytes of the whole storage."""

    total_bytes: Annotated[int, Field(description="Size of the storage.")]
    used_bytes: Annotated[int, Field(description="Bytes in use by anybody.")]
    committed_bytes: Annotated[int, Field(description="Sum of the byte limits given to scopes.")]
    observed_at: Annotated[
        str, Field(description="When.", json_schema_extra={"format": "date-time"})
    ]


class BackendDisplay(StatusModel):
    """Quantities as people read them; kubectl cannot format numbers."""

    used: Annotated[str, Field(description="Bytes in use.")]
    total: Annotated[str, Field(description="Size of the storage.")]


class TrashStatus(StatusModel):
    """What lies in the trash of the storage's scopes, and how its removal goes on."""

    folders: Annotated[int, Field(description="Folders in the trash, those being removed, too.")]
    bytes: Annotated[
        int | None, Field(default=None, description="Their bytes; absent where not counted.")
    ]
    removing: Annotated[
        int, Field(default=0, description="Folders that are being removed and cannot come back.")
    ]
    removed_entries: Annotated[
        int | None,
        Field(default=None, description="Entries removed so far, while a removal goes on."),
    ]


class LinkStatus(StatusModel):
    """The connection to the management interface."""

    circuit: Annotated[
        str,
        Field(
            description="Closed: it is asked; Open: it failed several times in a row and is left "
            "alone for a moment; HalfOpen: the next call decides."
        ),
    ]


class StorageBackendStatus(StatusModel):
    """What was observed."""

    observed_generation: Annotated[
        int | None, Field(default=None, description="The generation that was acted upon.")
    ]
    scopes: Annotated[int | None, Field(default=None, description="QuotaScopes on this storage.")]
    orphans: Annotated[
        int | None,
        Field(default=None, description="Marked scopes and folders that no object stands for."),
    ]
    capabilities: Annotated[
        CapabilitiesStatus | None, Field(default=None, description="What the storage can do.")
    ]
    capacity: Annotated[
        CapacityStatus | None, Field(default=None, description="How full the storage is.")
    ]
    trash: Annotated[TrashStatus | None, Field(default=None, description="What lies in the trash.")]
    link: Annotated[
        LinkStatus | None, Field(default=None, description="The management interface's connection.")
    ]
    display: Annotated[
        BackendDisplay | None, Field(default=None, description="Text for kubectl's columns.")
    ]
    conditions: Conditions
