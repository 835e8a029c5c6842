"""VFolder: a folder in a scope, and the claim by which pods use it. Namespaced."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from vfolder_operator.crds.common import (
    UUID_PATTERN,
    ByteQuantity,
    Duration,
    Model,
    Name,
    ObjectStatus,
    immutable,
    rules,
)
from vfolder_operator.crds.scope import UsageStatus

ID = Field(ge=0, le=2**32 - 2)


class OwnerSpec(Model):
    """Owner of the folder's root directory."""

    uid: Annotated[int, ID, Field(description="Numeric user id.")]
    gid: Annotated[int, ID, Field(description="Numeric group id.")]


class ClaimSpec(Model):
    """The PersistentVolumeClaim that pods name."""

    create: Annotated[bool, Field(default=True, description="Whether to make one.")]
    name: Annotated[
        Name | None, Field(default=None, description="Its name; default the VFolder's.")
    ]
    size: Annotated[
        ByteQuantity | None,
        Field(default=None, description="Nominal size; default the scope's limit."),
    ]
    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]],
        Field(default=["ReadWriteMany"], min_length=1, max_length=4, description="Access modes."),
    ]


class SourceSpec(Model):
    """What a new folder is a copy of."""

    vfolder: Annotated[
        Name, Field(description="VFolder in the same namespace, on the same storage.")
    ]


class VFolderSpec(Model):
    """What the team wants."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        json_schema_extra=rules(
            (
                "has(self.folderID) == has(oldSelf.folderID)",
                "folderID is immutable; make a new object instead",
            ),
            (
                "has(self.source) == has(oldSelf.source)",
                "source is immutable; make a new object instead",
            ),
            (
                "!has(self.source) || !has(self.folderID)",
                "source makes a new folder, folderID takes an existing one: give one of the two",
            ),
        ),
    )

    quota_scope: Annotated[
        Name,
        Field(
            description="QuotaScope in the same namespace. Immutable.",
            json_schema_extra=immutable("quotaScope"),
        ),
    ]
    folder_id: Annotated[
        str | None,
        Field(
            default=None,
            alias="folderID",
            pattern=UUID_PATTERN,
            max_length=36,
            description="Uuid of an existing folder of the scope, to adopt it. Immutable.",
            json_schema_extra=immutable("folderID"),
        ),
    ]
    source: Annotated[
        SourceSpec | None,
        Field(
            default=None,
            description="Makes the new folder a copy of another VFolder's. Immutable.",
            json_schema_extra=immutable("source"),
        ),
    ]
    owner: Annotated[
        OwnerSpec | None,
        Field(default=None, description="Owner of the folder's root; default root."),
    ]
    mode: Annotated[
        str | None,
        Field(
            default=None,
            pattern="^[0-7]{3,4}$",
            max_length=4,
            description="Octal mode of the folder's root, such as 2770; default 0755.",
        ),
    ]
    claim: Annotated[
        ClaimSpec,
        Field(
            default=ClaimSpec(),
            description="The claim by which pods use the folder. Immutable.",
            json_schema_extra=immutable("claim"),
        ),
    ]
    reclaim_policy: Annotated[
        Literal["Delete", "Retain"],
        Field(
            default="Delete",
            description="Whether deleting the object moves the data to the trash, or leaves it.",
        ),
    ]
    trash_retention: Annotated[
        Duration | None,
        Field(
            default=None,
            description="How long the data can come back after that; default the storage's.",
        ),
    ]


class VFolderStatus(ObjectStatus):
    """What was observed."""

    folder_id: Annotated[
        str | None,
        Field(default=None, alias="folderID", description="The folder's uuid on the storage."),
    ]
    volume_handle: Annotated[
        str | None, Field(default=None, description="CSI volume handle of its volume.")
    ]
    claim: Annotated[
        str | None, Field(default=None, description="The claim that pods name, once it is bound.")
    ]
    usage: Annotated[
        UsageStatus | None, Field(default=None, description="Usage read from the storage.")
    ]
    used: Annotated[str | None, Field(default=None, description="Bytes used, for people.")]
