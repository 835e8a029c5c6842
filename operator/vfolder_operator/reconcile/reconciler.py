"""The course that scopes and folders share: converge or tell why not, take down or tell why not.

What differs is in the subclasses: `converge` reads, acts and returns a status; `take_down` returns
once nothing depends on the object any more. Both raise `Hold`, or an error of the storage.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from pydantic import ValidationError

from vfolder_backends.errors import BackendError
from vfolder_backends.port import Progress
from vfolder_operator.conditions import Condition, merge
from vfolder_operator.crds.common import Condition as ConditionStatus
from vfolder_operator.crds.common import Model, ObjectStatus
from vfolder_operator.kube import Body
from vfolder_operator.names import ANNOTATION_FORGET, FINALIZER
from vfolder_operator.reconcile.context import Context
from vfolder_operator.reconcile.hold import Hold
from vfolder_operator.store import Key
from vfolder_operator.workqueue import Retry

CONTINUE_SECONDS = 0.05
"""Pause between two calls of work that takes longer than one: others on the storage get a turn."""

PROGRESS_SECONDS = 5.0
"""How long new progress is kept to ourselves: each telling is a write."""

ModelT = TypeVar("ModelT", bound=Model)
StatusT = TypeVar("StatusT", bound=ObjectStatus)


class Reconciler(ABC, Generic[StatusT]):
    """Looks at one object at a time."""

    status_type: type[StatusT]

    def __init__(self, context: Context) -> None:
        self._ctx = context
        self._working: dict[Key, Progress] = {}

    @abstractmethod
    async def converge(self, key: Key, body: Body) -> tuple[StatusT, float | None]:
        """Make it so; return what then is true, and when to come again if work goes on."""

    @abstractmethod
    async def take_down(self, key: Key, body: Body) -> None:
        """Remove what has to go before the object; returns once nothing is left to do."""

    @abstractmethod
    async def forget(self, key: Key, body: Body) -> str:
        """Let go of what can be let go of without the storage; returns what is left there."""

    def unread(self, old: StatusT, hold: Hold) -> list[Condition]:
        """Conditions that are not known any more while the object is held."""
        return []

    def released(self, key: Key, body: Body) -> None:
        """The object is gone: wake whoever waited for that."""

    async def __call__(self, key: Key) -> float | None:
        """Look at the object once; returns the seconds after which to come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        if body["metadata"].get("deletionTimestamp"):
            return await self._delete(key, body)
        try:
            status, again = await self.converge(key, body)
        except (BackendError, Hold) as error:
            return await self._held(key, Hold.of(error))
        body = self._ctx.store.get(key) or body
        told = again is not None and _why(status) == _why(self.old_status(body))
        untold = await self._ctx.tell(key, body, status, quiet=PROGRESS_SECONDS if told else 0.0)
        return again if again is not None else untold or None

    def goes_on(self, key: Key, body: Body, progress: Progress) -> None:
        """Work takes more than this call: tell when it begins, remember it until it ends."""
        if key not in self._working:
            self._ctx.recorder.normal(body, progress.reason, describe_progress(progress))
        self._working[key] = progress

    def went(self, key: Key, body: Body) -> None:
        """No such work goes on any more: tell if some did."""
        progress = self._working.pop(key, None)
        if progress is not None:
            self._ctx.recorder.normal(body, "Completed", f"{progress.message}: complete")

    def old_status(self, body: Body) -> StatusT:
        """The status as it is shown."""
        return self.status_type.model_validate(body.get("status") or {})

    async def _held(self, key: Key, hold: Hold) -> float | None:
        """Tell why it does not go on, keep all else that is known, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        old = self.old_status(body)
        made = bool(old.path)
        ready = Condition("Ready", False, hold.reason, hold.message)
        status = old.model_copy(
            update={
                "phase": "Degraded" if made else "Pending",
                "observed_generation": body["metadata"]["generation"],
                "conditions": conditions(body, [ready, *(self.unread(old, hold) if made else [])]),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=hold.quiet, warn=hold.warn)
        if again:
            return again
        if hold.retry:
            raise Retry(hold.reason)
        return None

    async def _delete(self, key: Key, body: Body) -> float | None:
        """Let the object go once nothing depends on it."""
        self._working.pop(key, None)
        if FINALIZER not in (body["metadata"].get("finalizers") or []):
            return None
        try:
            if (body["metadata"].get("annotations") or {}).get(ANNOTATION_FORGET) == "true":
                left = await self.forget(key, body)
                self._ctx.recorder.warning(body, "Forgotten", f"let go by annotation; {left}")
            else:
                await self.take_down(key, body)
        except (BackendError, Hold) as error:
            return await self._blocked(key, Hold.of(error))
        await self._ctx.release(key, body)
        self.released(key, body)
        return None

    async def _blocked(self, key: Key, hold: Hold) -> float | None:
        """Tell what blocks the deletion, and come again."""
        body = self._ctx.store.get(key)
        if body is None:
            return None
        old = self.old_status(body)
        deleting = [
            Condition("Ready", False, "Deleting", "the object is being deleted"),
            Condition("Deleting", True, hold.reason, hold.message),
        ]
        status = old.model_copy(
            update={
                "phase": "Deleting",
                "observed_generation": body["metadata"]["generation"],
                "conditions": conditions(body, [*deleting, *self.unread(old, hold)]),
            }
        )
        again = await self._ctx.tell(key, body, status, quiet=max(hold.quiet, 1.0), warn=False)
        if again:
            return again
        raise Retry(hold.reason)


def _why(status: ObjectStatus) -> str:
    """The reason in Ready, which is told without delay; how far work is, is told seldom."""
    return next((c.reason for c in status.conditions if c.type == "Ready"), "")


def describe_progress(progress: Progress) -> str:
    """How far long work is, in words."""
    whole = "" if progress.total is None else f" of {progress.total}"
    return f"{progress.message}: {progress.done}{whole} entries are done"


def parse_spec(model: type[ModelT], body: Body) -> ModelT:
    """The spec as a model (`Hold` where the API server let something through that we do not)."""
    try:
        return model.model_validate(body["spec"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Hold(
            "InvalidSpec", f"spec.{where}: {first['msg']} (got {first['input']!r})"
        ) from error


def conditions(body: Body, wanted: list[Condition]) -> list[ConditionStatus]:
    """Conditions to write, with the times of those that did not flip."""
    old = (body.get("status") or {}).get("conditions") or []
    merged = merge(old, wanted, body["metadata"]["generation"])
    return [ConditionStatus.model_validate(c) for c in merged]
