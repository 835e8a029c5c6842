"""`Hold`: why an object cannot go on just now, as it will be shown in its Ready condition."""

from vfolder_backends.errors import BackendError


class Hold(Exception):
    """Stops a reconcile, with what to tell.

    Attributes:
        reason: CamelCase word for the condition.
        message: what is waited for, or what to do.
        retry: whether to look again by ourselves (with a growing delay), not only on an event.
        quiet: seconds for which it is not told: what passes by itself is no news.
        warn: whether an event is worth it, too.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retry: bool = True,
        quiet: float = 0.0,
        warn: bool = True,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry = retry
        self.quiet = quiet
        self.warn = warn

    @classmethod
    def of(cls, error: "BackendError | Hold") -> "Hold":
        """What a storage's error means for the object: told, and tried again.

        Even errors that nobody but a person can mend are tried again, slowly: the person mends the
        storage, and no event tells us.
        """
        if isinstance(error, Hold):
            return error
        return cls(error.reason, str(error))
