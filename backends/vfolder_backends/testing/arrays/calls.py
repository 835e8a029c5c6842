"""One call to a simulated array, and its reply, in plain values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Call:
    """What came in.

    Attributes:
        route: method and path template, `GET /fileSystems/{uid}`: how handlers and faults name it.
        params: what the template's names stand for.
        query: all values of each name.
        body: parsed JSON, form fields as a mapping, None without a body.
        headers: names in lower case.
    """

    route: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def method(self) -> str:
        """GET, PUT, ..."""
        return self.route.partition(" ")[0]

    def asked(self, name: str, default: str = "") -> str:
        """Return the last value of a query parameter."""
        return self.query[name][-1] if self.query.get(name) else default

    def fields(self) -> dict[str, object]:
        """Return the body, which is an object or absent."""
        return dict(self.body) if isinstance(self.body, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out; `body` becomes JSON, None sends none."""

    status: int = 200
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self) -> bytes:
        """Return the bytes of the body."""
        return b"" if self.body is None else json.dumps(self.body).encode()
