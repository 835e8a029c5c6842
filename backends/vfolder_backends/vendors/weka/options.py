"""What a StorageBackend of type `weka` says in `parameters`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options, absolute_path


class WekaOptions(Options):
    """The place on the cluster that is mounted at `operatorPath`."""

    file_system: Annotated[
        str, Field(alias="fileSystem", min_length=1, description="Name of the file system.")
    ]
    path: Annotated[
        str,
        AfterValidator(absolute_path),
        Field(description="Directory of that file system which operatorPath shows."),
    ] = "/"
    organization: Annotated[
        str, Field(description="Organization of the account; empty is Root.")
    ] = ""
