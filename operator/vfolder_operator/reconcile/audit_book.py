"""What walks over whole scopes found, as it is shown: escaped files, and usage nobody counts."""

from vfolder_backends.ids import FolderHex, ScopeHex
from vfolder_backends.port import Survey, Usage
from vfolder_operator.conditions import Condition, find, timestamp
from vfolder_operator.crds.scope import AuditStatus
from vfolder_operator.kube import Body

_SHOWN = 5
_NOTHING = "the storage itself keeps all files to their scope"


class AuditBook:
    """What the walks of this process found."""

    def __init__(self) -> None:
        self._surveys: dict[tuple[str, ScopeHex], Survey] = {}
        self.needless: set[str] = set()
        """Storages that have nothing to find."""

    def put(self, backend: str, scope: ScopeHex, survey: Survey) -> None:
        """Remember a walk that is complete."""
        self._surveys[backend, scope] = survey

    def get(self, backend: str, scope: ScopeHex) -> Survey | None:
        """The last one."""
        return self._surveys.get((backend, scope))

    def forget(self, backend: str) -> None:
        """Forget a storage."""
        self.needless.discard(backend)
        self._surveys = {k: s for k, s in self._surveys.items() if k[0] != backend}

    def folder_usage(self, backend: str, scope: ScopeHex, folder: FolderHex) -> Usage | None:
        """What a walk counted in a folder."""
        survey = self.get(backend, scope)
        return None if survey is None else survey.usage.get(folder)

    def status(self, backend: str, scope: ScopeHex, old: AuditStatus | None) -> AuditStatus | None:
        """What is shown of the last walk."""
        survey = self.get(backend, scope)
        if survey is None:
            return old
        return AuditStatus(
            observed_at=timestamp(survey.observed_at),
            entries=survey.entries,
            escaped=survey.escaped,
        )

    def condition(self, backend: str, scope: ScopeHex, body: Body) -> Condition:
        """Escaped: whether files in the scope are not charged to it."""
        survey = self.get(backend, scope)
        if survey is not None:
            return survey_condition(survey)
        if backend in self.needless:
            return Condition("Escaped", False, "NothingEscaped", _NOTHING)
        shown = find((body.get("status") or {}).get("conditions"), "Escaped")
        if shown is not None:
            status = {"True": True, "False": False}.get(shown["status"])
            return Condition("Escaped", status, shown["reason"], shown["message"])
        return Condition("Escaped", None, "NotAudited", "nobody looked at all files yet")


def survey_condition(survey: Survey) -> Condition:
    """What a walk that is complete says."""
    if not survey.escaped:
        message = f"all {survey.entries} entries are charged to this scope"
        return Condition("Escaped", False, "NothingEscaped", message)
    shown = ", ".join(survey.examples[:_SHOWN]) + (", ..." if survey.escaped > _SHOWN else "")
    return Condition(
        "Escaped",
        True,
        "ForeignProjectIDs",
        f"{survey.escaped} of {survey.entries} entries are not charged to this scope: {shown}; "
        "they were moved in, or their owner changed their project id",
    )
