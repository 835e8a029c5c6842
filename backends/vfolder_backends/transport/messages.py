"""What is asked of an array and what it answers, in plain values of our own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlencode

Query = Mapping[str, str | int | Sequence[str]]

_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        path: a template such as `/fileSystems/{uid}`; it names the call in messages and logs.
        params: what the template's names stand for; quoted, so that a value is one path segment.
        query: values that are lists are repeated.
        json: the body; None sends none.
        form: a body of form fields in place of JSON.
        headers: beside those of the session.
        repeatable: whether a second one changes nothing more; None is what HTTP says of the method.
    """

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    query: Query = field(default_factory=dict)
    json: object = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    repeatable: bool | None = None

    @property
    def call(self) -> str:
        """The call's name, without any value."""
        return f"{self.method} {self.path}"

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again when nobody knows if the first one was carried out."""
        return self.method in _REPEATABLE if self.repeatable is None else self.repeatable

    @property
    def target(self) -> str:
        """Path and query, ready to be appended to the base."""
        path = self.path
        for name, value in self.params.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        return f"{path}?{urlencode(self.query, doseq=True)}" if self.query else path

    def asking(self, **query: str | int) -> "Request":
        """The same call with more, or other, query values."""
        return replace(self, query={**self.query, **query})

    def asking_only(self, **query: str | int) -> "Request":
        """The same call with nothing but these query values."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `call` is the name of the call it answers."""

    call: str
    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status says that the call was carried out or accepted."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in any case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets, by name."""
        found: dict[str, str] = {}
        for key, value in self.headers:
            if key.lower() == "set-cookie":
                jar: SimpleCookie = SimpleCookie()
                try:
                    jar.load(value)
                except CookieError:
                    continue
                found.update({name: morsel.value for name, morsel in jar.items()})
        return found

    def json(self) -> object:
        """Return the body as JSON (`ValueError`); None for an empty one."""
        return json.loads(self.body) if self.body.strip() else None

    def text(self, most: int = 400) -> str:
        """The beginning of the body, on one line."""
        return " ".join(self.body[: most * 4].decode(errors="replace").split())[:most]
