"""Who wrote what to the API, counted in the API server's own audit log."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.world import RELEASE, SYSTEM

OPERATOR = "operator"
CONTROLLERS = "controller manager"
CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Write:
    """One write request.

    Attributes:
        writer: `OPERATOR`, `CONTROLLERS`, `CLIENT` or the user's name.
        resource: plural, with the subresource behind a slash.
        namespace: empty for cluster-scoped objects.
        code: HTTP status of the answer.
    """

    writer: str
    verb: str
    resource: str
    namespace: str
    code: int

    @property
    def refused(self) -> bool:
        """Whether it changed nothing."""
        return self.code >= 400


def writer(user: str) -> str:
    """A short name for a user."""
    if user == f"system:serviceaccount:{SYSTEM}:{RELEASE}-operator":
        return OPERATOR
    if user.startswith(("system:kube-controller-manager", "system:serviceaccount:kube-system:")):
        return CONTROLLERS
    return CLIENT if user == "admin" else user


def parse(lines: Iterable[str]) -> list[Write]:
    """Read complete lines of an audit log; writes that concern no object are left out.

    Raises:
        ValueError: a line is no JSON.
    """
    found = []
    for line in lines:
        event = json.loads(line)
        about = event.get("objectRef")
        if event["stage"] != "ResponseComplete" or about is None:
            continue
        resource = about["resource"]
        if part := about.get("subresource"):
            resource = f"{resource}/{part}"
        found.append(
            Write(
                writer(event["user"]["username"]),
                event["verb"],
                resource,
                about.get("namespace", ""),
                event["responseStatus"]["code"],
            )
        )
    return found


def count(writes: Iterable[Write]) -> Counter[tuple[str, str]]:
    """How many writes, by writer and resource."""
    return Counter((write.writer, write.resource) for write in writes)


class AuditLog:
    """A log that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mark(self) -> int:
        """Now, for `since`."""
        return self._path.stat().st_size

    def since(self, mark: int) -> list[Write]:
        """All writes that were answered after `mark` was taken."""
        with self._path.open("rb") as stream:
            stream.seek(mark)
            text = stream.read().decode()
        # The last line may be half written.
        return parse(text[: text.rfind("\n") + 1].splitlines())
