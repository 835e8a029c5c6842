"""Project ids that are given once and never again, in one ConfigMap.

Several storages, and several operators of a cluster, may draw from one space at one time: the API
server compares the resourceVersion, and whoever is second looks again. The number is written before
it is used, so a crash loses a number and never gives one twice.

A ConfigMap that is deleted, or restored from a backup, begins with older numbers again. What then
protects is on the disk: whoever draws a number still claims it there, and asks for the next one if
it is taken.
"""

import asyncio
import hashlib
import random
import re
from typing import Final

from vfolder_backends.errors import Unavailable
from vfolder_operator.kube import Body, Conflict, Kinds, Kube, KubeError, NotFound

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,200}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")

DEADLINE: Final = 15.0
"""Seconds after which a draw that keeps coming second is given up."""


class ConfigMapLedger:
    """An `vfolder_backends.ledger.IdLedger` on one ConfigMap, a key per space.

    Args:
        kube: the API server.
        namespace: of the ConfigMap.
        name: of the ConfigMap; made with the first number.
        deadline: seconds that a draw may take.
    """

    def __init__(self, kube: Kube, namespace: str, name: str, deadline: float = DEADLINE) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._deadline = deadline
        self._turn = asyncio.Lock()  # no need to come second to ourselves

    async def next(self, space: str, at_least: int) -> int:
        """Return a number of at least `at_least` that was not given in `space` before.

        Raises:
            Unavailable: the ConfigMap cannot be read or written now, or holds something else than
                numbers; no number is given.
        """
        key = _key(space)
        try:
            async with asyncio.timeout(self._deadline), self._turn:
                attempt = 0
                while (number := await self._draw(key, at_least)) is None:
                    attempt += 1
                    pause = min(0.01 * 2**attempt, 0.5)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                return number
        except KubeError as error:
            raise Unavailable(f"{self}: {error}; no project id is given") from error
        except TimeoutError as error:
            raise Unavailable(
                f"{self}: no number within {self._deadline:g} s; no project id is given"
            ) from error

    def __str__(self) -> str:
        return f"ConfigMap {self._namespace}/{self._name}"

    async def _draw(self, key: str, at_least: int) -> int | None:
        """Draw once; None if somebody else was quicker."""
        body = await self._kube.find(Kinds.CONFIG_MAP, self._name, self._namespace)
        held: dict[str, str] = (body or {}).get("data") or {}
        number = max(self._last(key, held.get(key)) + 1, at_least)
        data = {**held, key: str(number)}
        try:
            if body is None:
                new: Body = {"metadata": {"name": self._name}, "data": data}
                await self._kube.create(Kinds.CONFIG_MAP, new, self._namespace)
            else:
                changed = {**body, "data": data}
                await self._kube.replace(Kinds.CONFIG_MAP, self._name, self._namespace, changed)
        except (Conflict, NotFound):  # NotFound: somebody deleted it in this moment
            return None
        return number

    def _last(self, key: str, value: str | None) -> int:
        """The number given last; -1 for none."""
        if value is None:
            return -1
        if not _NUMBER.fullmatch(value):
            raise Unavailable(
                f"{self}: the key {key!r} holds {value!r} and not the last number that was given; "
                "write that number, or remove the key: what is on the storage still protects"
            )
        return int(value)


def _key(space: str) -> str:
    """A space as a key of a ConfigMap."""
    if _KEY.fullmatch(space):
        return space
    return f"sha256-{hashlib.sha256(space.encode()).hexdigest()}"
