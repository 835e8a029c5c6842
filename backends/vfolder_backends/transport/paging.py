"""Lists that yield as they are read, whatever a vendor's way to name the next page.

A vendor's `read` turns one answer into a `Page`; the next request is made from the last one:

    request.asking(next_token=token)          a token beside the other values
    request.asking_only(resume=token)         a token that must come alone (OneFS)
    following(request, href)                  a link (ONTAP, Scale)
    request.asking(offset=offset + len(got))  an offset
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

from vfolder_backends.errors import Unavailable
from vfolder_backends.transport.messages import Answer, Request

T = TypeVar("T")
Send = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """What one answer held, and how to ask for what comes after it."""

    items: Sequence[T]
    next: Request | None = None


async def pages(
    send: Send, first: Request, read: Callable[[Request, Answer], Page[T]]
) -> AsyncIterator[T]:
    """Yield the items of all pages, asking for the next one when it is needed.

    Raises:
        Unavailable: the array gives the same page again and again.
    """
    seen: set[str] = set()
    request: Request | None = first
    while request is not None:
        if request.target in seen:
            raise Unavailable(f"{request.call}: the list does not end, a page came twice")
        seen.add(request.target)
        page = read(request, await send(request))
        for item in page.items:
            yield item
        request = page.next


def following(request: Request, href: str, base_path: str = "") -> Request:
    """Return the call that a link names; host and scheme stay those of the array.

    Args:
        request: the call whose answer held the link.
        href: an absolute path or a whole address; only path and query are used.
        base_path: what the link repeats of the channel's base.
    """
    parts = urlsplit(href)
    path = parts.path.removeprefix(base_path)
    return replace(request, path=path, params={}, query=parse_qs(parts.query, True))
