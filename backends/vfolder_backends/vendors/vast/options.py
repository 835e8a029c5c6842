"""What a StorageBackend of type `vast` says in `parameters`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options, absolute_path


class VastOptions(Options):
    """The place on the cluster that is mounted at `operatorPath`."""

    path: Annotated[
        str,
        AfterValidator(absolute_path),
        Field(description="Path in the Element Store which operatorPath shows."),
    ]
    tenant_id: Annotated[
        int, Field(alias="tenantID", ge=1, description="Id of the tenant; 1 is the default one.")
    ] = 1
    api_version: Annotated[
        str,
        Field(
            alias="apiVersion",
            pattern=r"^(latest|v[0-9]+)$",
            description="Version in the path of the interface: latest, or v1, v2 and so on.",
        ),
    ] = "latest"
