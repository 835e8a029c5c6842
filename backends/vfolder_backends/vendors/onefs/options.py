"""What a StorageBackend of type `onefs` says in `parameters`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vfolder_backends.config import Options

_LONGEST = 3800  # of the 4096 characters that a quota's path may have; the rest is ours


def _below_ifs(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or parts[:1] != ["ifs"] or {".", ".."} & set(parts):
        raise ValueError("must begin with /ifs and hold neither . nor ..")
    if len(path) > _LONGEST:
        raise ValueError(f"must not be longer than {_LONGEST} characters")
    return "/" + "/".join(parts)


class OneFSOptions(Options):
    """The place on the cluster that is mounted at `operatorPath`, and how we log in."""

    path: Annotated[
        str,
        AfterValidator(_below_ifs),
        Field(description="Directory of the cluster, from /ifs on, which operatorPath shows."),
    ]
    zone: Annotated[
        str, Field(min_length=1, description="Access zone whose NFS exports show that directory.")
    ] = "System"
    authentication: Annotated[
        Literal["Basic", "Session"],
        Field(
            description="Basic sends the password with every call. Session logs in once, and needs"
            " the address of one node in endpoint, because a session holds on that node only."
        ),
    ] = "Basic"
