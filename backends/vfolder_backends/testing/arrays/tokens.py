"""Who may call a simulated array: accounts, and the tokens given to them."""

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a password; `role` is the vendor's word."""

    name: str
    password: str = field(repr=False)
    role: str = ""


@dataclass(slots=True)
class _Token:
    account: Account
    ends_at: float
    kind: str


class Tokens:
    """Tokens in use, and all that ever were: the secrets a test looks for in logs.

    Args:
        accounts: who may log in.
        clock: seconds that only go forward.
    """

    def __init__(
        self, accounts: Mapping[str, Account], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.accounts = dict(accounts)
        self._clock = clock
        self._live: dict[str, _Token] = {}
        self.ever: set[str] = set()

    def log_in(self, name: object, password: object) -> Account | None:
        """Return the account if the password is right."""
        account = self.accounts.get(name) if isinstance(name, str) else None
        return account if account is not None and account.password == password else None

    def basic(self, header: str) -> Account | None:
        """Return the account that an Authorization header of HTTP Basic names."""
        word, _, rest = header.partition(" ")
        if word.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return self.log_in(name, password)

    def give(self, account: Account, seconds: float, kind: str = "access") -> str:
        """Return a new token that lives that long."""
        token = f"{kind}-{secrets.token_urlsafe(24)}"
        self._live[token] = _Token(account, self._clock() + seconds, kind)
        self.ever.add(token)
        return token

    def check(self, token: str, kind: str = "access") -> Account | None:
        """Return whose living token this is."""
        found = self._live.get(token)
        if found is None or found.kind != kind or found.ends_at <= self._clock():
            return None
        return found.account

    def take_back(self, token: str) -> None:
        """End one token."""
        self._live.pop(token, None)

    def end_all(self, kind: str = "access") -> None:
        """End all tokens of a kind."""
        self._live = {t: x for t, x in self._live.items() if x.kind != kind}

    def rotate(self, name: str, password: str) -> None:
        """Change a password; old tokens end, as on most arrays."""
        self.ever.add(self.accounts[name].password)
        self.accounts[name] = Account(name, password, self.accounts[name].role)
        self._live = {t: x for t, x in self._live.items() if x.account.name != name}
