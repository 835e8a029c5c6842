"""QuotaScope: a budget of bytes and files on one backend. Namespaced."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from vfolder_operator.crds.common import (
    ByteLimit,
    FileLimit,
    Model,
    ObjectStatus,
    ScopeIDText,
    StatusModel,
    immutable,
    rules,
)

MOST_TRASH_SHOWN = 20


class ScopeLimits(Model):
    """Hard limits, enforced by the storage."""

    bytes: Annotated[
        ByteLimit,
        Field(description="Bytes as a quantity such as 500Gi, or Unlimited. Required."),
    ]
    files: Annotated[
        FileLimit | None,
        Field(default=None, description="Files and directories; absent is unlimited."),
    ]


class QuotaScopeSpec(Model):
    """What the team is given."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        json_schema_extra=rules(
            (
                "has(self.scopeID) == has(oldSelf.scopeID)",
                "scopeID is immutable; make a new object instead",
            ),
        ),
    )

    backend: Annotated[
        str,
        Field(
            pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            min_length=1,
            max_length=40,
            description="Name of the StorageBackend. Immutable.",
            json_schema_extra=immutable("backend"),
        ),
    ]
    scope_id: Annotated[
        ScopeIDText | None,
        Field(
            default=None,
            alias="scopeID",
            description="user:<uuid> or project:<uuid>; default made from the object's uid.",
            json_schema_extra=immutable("scopeID"),
        ),
    ]
    limits: Annotated[ScopeLimits, Field(description="The budget of all folders together.")]
    shrink_policy: Annotated[
        Literal["Refuse", "Allow"],
        Field(default="Refuse", description="What to do with a new limit below present usage."),
    ]
    min_enforcement: Annotated[
        Literal["Enforced", "Delayed", "Cooperative", "Advisory", "None"],
        Field(
            default="Cooperative",
            description="The weakest enforcement that will do; below it the scope is not Ready.",
        ),
    ]
    thresholds: Annotated[
        list[Annotated[int, Field(ge=1, le=100)]],
        Field(
            default=[80, 95],
            max_length=10,
            description="Percent of a limit at which events and a condition warn.",
        ),
    ]
    reclaim_policy: Annotated[
        Literal["Retain", "Delete"],
        Field(
            default="Retain",
            description="Whether deleting the object deletes the empty scope on the storage.",
        ),
    ]


class LimitsStatus(StatusModel):
    """Limits as the storage reports them; absent is unlimited."""

    bytes: Annotated[int | None, Field(default=None, description="Byte limit.")]
    files: Annotated[int | None, Field(default=None, description="File limit.")]


class UsageStatus(StatusModel):
    """What the storage counted; absent is unknown."""

    bytes: Annotated[int | None, Field(default=None, description="Bytes used, trash included.")]
    files: Annotated[int | None, Field(default=None, description="Files and directories.")]
    trash_bytes: Annotated[int | None, Field(default=None, description="Bytes in the trash.")]
    percent: Annotated[
        int | None, Field(default=None, description="The fuller of the two limits, in percent.")
    ]
    observed_at: Annotated[
        str, Field(description="When.", json_schema_extra={"format": "date-time"})
    ]
    source: Annotated[str, Field(description="Where the numbers come from.")]


class EnforcementStatus(StatusModel):
    """How far the limits hold."""

    bytes: Annotated[str, Field(description="Level of the byte limit.")]
    files: Annotated[str, Field(description="Level of the file limit.")]
    root_bypass: Annotated[str, Field(description="Whether root in a pod passes them.")]


class DisplayStatus(StatusModel):
    """Quantities as people read them; kubectl cannot format numbers."""

    used: Annotated[str, Field(description="Bytes used.")]
    limit: Annotated[str, Field(description="Byte limit.")]


class TrashEntryStatus(StatusModel):
    """A deleted folder that can still come back."""

    folder_id: Annotated[
        str,
        Field(
            alias="folderID",
            description="What the annotation vfolder.dev/restore on a new VFolder has to say.",
        ),
    ]
    name: Annotated[str, Field(description="The name its VFolder had, and has to have again.")]
    expires: Annotated[
        str,
        Field(
            description="Until when, unless the scope fills up before.",
            json_schema_extra={"format": "date-time"},
        ),
    ]


class AuditStatus(StatusModel):
    """The last walk over all files of the scope."""

    observed_at: Annotated[
        str, Field(description="When it ended.", json_schema_extra={"format": "date-time"})
    ]
    entries: Annotated[int, Field(description="How many entries were looked at.")]
    escaped: Annotated[int, Field(description="How many are not charged to this scope.")]


class QuotaScopeStatus(ObjectStatus):
    """What was observed."""

    scope_id: Annotated[
        str | None,
        Field(default=None, alias="scopeID", description="The scope's id on the storage."),
    ]
    backend_ref: Annotated[
        dict[str, str] | None,
        Field(default=None, description="Ids that the storage itself uses for it."),
    ]
    limits: Annotated[
        LimitsStatus | None, Field(default=None, description="Limits read from the storage.")
    ]
    applied_limits: Annotated[
        LimitsStatus | None,
        Field(default=None, description="Limits last set by us; another one shown is drift."),
    ]
    usage: Annotated[
        UsageStatus | None, Field(default=None, description="Usage read from the storage.")
    ]
    enforcement: Annotated[
        EnforcementStatus | None, Field(default=None, description="How far the limits hold.")
    ]
    folders: Annotated[int | None, Field(default=None, description="VFolders in this scope.")]
    trash: Annotated[
        list[TrashEntryStatus] | None,
        Field(
            default=None,
            max_length=MOST_TRASH_SHOWN,
            description="Deleted folders that can come back, the last ones first.",
        ),
    ]
    audit: Annotated[
        AuditStatus | None, Field(default=None, description="The last walk over all files.")
    ]
    display: Annotated[
        DisplayStatus | None, Field(default=None, description="Text for kubectl's columns.")
    ]
