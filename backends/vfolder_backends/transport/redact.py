"""Secrets are taken out of every text that leaves the transport."""

import base64
import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

_SHORTEST: Final = 4  # taking out shorter ones would hide words instead
_MARK: Final = "[secret]"


class Redactor:
    """Knows the secrets of one array, and those that come to be known."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Take out `secret` from now on, and the forms in which it travels."""
        if len(secret) >= _SHORTEST:
            self._forms |= {
                secret,
                json.dumps(secret)[1:-1],
                quote(secret, safe=""),
                quote_plus(secret),
                base64.b64encode(secret.encode()).decode().rstrip("="),
            }

    def clean(self, text: str) -> str:
        """Return `text` without any of them."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, _MARK)
        return text
