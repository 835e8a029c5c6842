"""Sessions that end, are renewed, are replaced in passing."""

import asyncio

import pytest

from vfolder_backends.errors import PermissionDenied, Unavailable
from vfolder_backends.transport.messages import Answer
from vfolder_backends.transport.sessions import BasicAuth, Session, SessionAuth


class Door:
    def __init__(self):
        self.secrets = set()

    async def knock(self, request):
        raise AssertionError("not called")

    def keep_secret(self, text):
        self.secrets.add(text)


@pytest.fixture
def door():
    return Door()


class Logins:
    """Logs in with numbered tokens; `error` is raised instead."""

    def __init__(self, seconds=None, renewal=""):
        self.count = 0
        self.renewals = 0
        self.seconds = seconds
        self.renewal = renewal
        self.error = None
        self.slow = asyncio.Event()
        self.slow.set()

    async def log_in(self, door):
        self.count += 1
        await self.slow.wait()
        if self.error is not None:
            raise self.error
        headers = {"Authorization": f"Bearer token-{self.count}"}
        return Session(headers, self.seconds, self.renewal)

    async def renew(self, door, old):
        self.renewals += 1
        return Session({"Authorization": "Bearer renewed"}, None, self.renewal)


async def test_a_session_is_renewed_before_it_ends(door):
    logins = Logins(seconds=0.0, renewal="refresh-1")
    auth = SessionAuth(logins.log_in, logins.renew)
    await auth.headers(door)
    assert await auth.headers(door) == {"Authorization": "Bearer renewed"}
    assert (logins.count, logins.renewals) == (1, 1)
    assert {"token-1", "refresh-1", "renewed"} <= door.secrets


async def test_one_login_serves_all_who_wait_and_outlives_who_began_it(door):
    logins = Logins()
    logins.slow.clear()
    auth = SessionAuth(logins.log_in)
    waiting = [asyncio.create_task(auth.headers(door)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    logins.slow.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1:] == [{"Authorization": "Bearer token-1"}] * 4
    assert logins.count == 1


async def test_only_a_refusal_counts_towards_waiting(door):
    logins = Logins()
    auth = SessionAuth(logins.log_in)
    logins.error = Unavailable("not now")
    for _ in range(5):
        with pytest.raises(Unavailable):
            await auth.headers(door)
    logins.error = PermissionDenied("wrong")
    for _ in range(5):
        with pytest.raises(PermissionDenied):
            await auth.headers(door)
    assert logins.count == 8
    with pytest.raises(PermissionDenied, match="not tried again for a while"):
        await auth.headers(door)


async def test_a_session_can_be_told_over_in_a_vendor_s_way_and_replaced_by_an_answer(door):
    logins = Logins()

    def over(answer):
        return answer.status == 403 and b"invalid or expired" in answer.body

    def replaced(session, answer):
        cookie = answer.cookies.get("id")
        return Session({"Cookie": f"id={cookie}"}) if cookie else None

    auth = SessionAuth(logins.log_in, rejected=over, replaced=replaced)
    await auth.headers(door)
    assert auth.rejected(Answer("", 403, (), b"Token is invalid or expired"))
    assert not auth.rejected(Answer("", 403, (), b"no"))
    auth.observe(door, Answer("", 200))
    assert await auth.headers(door) == {"Authorization": "Bearer token-1"}
    auth.observe(door, Answer("", 200, (("Set-Cookie", "id=new-one; path=/"),)))
    assert await auth.headers(door) == {"Cookie": "id=new-one"}
    assert "new-one" in door.secrets


async def test_basic_authentication_is_a_secret_as_a_whole(door):
    headers = await BasicAuth("me", "password").headers(door)
    assert headers == {"Authorization": "Basic bWU6cGFzc3dvcmQ="}
    assert "bWU6cGFzc3dvcmQ=" in door.secrets
