"""What a StorageBackend of type `weka` says in `parameters`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options


def _absolute(path: str) -> str:
    parts = path.split("/")
    if parts[0] or ".." in parts or "." in parts:
        raise ValueError("must begin with / and hold neither . nor ..")
    return "/" + "/".join(part for part in parts if part)


class WekaOptions(Options):
    """The place on the cluster that is mounted at `operatorPath`."""

    file_system: Annotated[
        str, Field(alias="fileSystem", min_length=1, description="Name of the file system.")
    ]
    path: Annotated[
        str,
        AfterValidator(_absolute),
        Field(description="Directory of that file system which operatorPath shows."),
    ] = "/"
    organization: Annotated[
        str, Field(description="Organization of the account; empty is Root.")
    ] = ""
