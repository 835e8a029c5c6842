"""What a StorageBackend of type `netapp` says in `parameters`."""

from typing import Annotated

from pydantic import Field

from vfolder_backends.config import Options


class NetappOptions(Options):
    """The volume whose root is mounted at `operatorPath`."""

    svm: Annotated[str, Field(min_length=1, description="Name of the SVM.")]
    volume: Annotated[
        str, Field(min_length=1, description="Name of the volume; operatorPath shows its root.")
    ]
    export_policy: Annotated[
        str,
        Field(
            alias="exportPolicy",
            description="Export policy of new qtrees; empty: that of the volume.",
        ),
    ] = ""
    enable_quotas: Annotated[
        bool,
        Field(
            alias="enableQuotas",
            description="Turn quotas on for the volume where they are off; ONTAP then scans it.",
        ),
    ] = False
