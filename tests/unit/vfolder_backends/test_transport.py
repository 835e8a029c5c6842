import asyncio
import dataclasses
import ssl

import pytest

from vfolder_backends.config import BackendConfig
from vfolder_backends.errors import (
    AnswerLost,
    BackendError,
    DeadlineExceeded,
    Misconfigured,
    PermissionDenied,
    Unavailable,
)
from vfolder_backends.facts import Circuit
from vfolder_backends.testing.arrays.faults import Fault, Kind
from vfolder_backends.testing.arrays.server import Server
from vfolder_backends.testing.arrays.weka.simulator import make
from vfolder_backends.transport import tls
from vfolder_backends.transport.breaker import Breaker
from vfolder_backends.transport.channel import Channel, addresses
from vfolder_backends.transport.messages import Answer, Request
from vfolder_backends.transport.paging import Page, following, pages
from vfolder_backends.transport.parsing import WireModel, parse
from vfolder_backends.transport.redact import Redactor
from vfolder_backends.transport.refusals import Missing
from vfolder_backends.transport.retries import Retries
from vfolder_backends.transport.sessions import HeaderAuth, NoAuth, Session, SessionAuth

PASSWORD = "simulated-weka"


@pytest.fixture
def server(tmp_path):
    with Server(make(tmp_path)) as server:
        yield server
    assert server.array.violations == []


@pytest.fixture
def config(server):
    return BackendConfig(
        "a1",
        "weka",
        "/",
        endpoint=server.endpoint,
        credentials={"username": "vfolder", "password": PASSWORD},
        ca_bundle=server.certificate.authority,
        call_timeout=2.0,
    )


@pytest.fixture
async def channel(config):
    channel = Channel(config, SessionAuth(log_in), "/api/v2")
    yield channel
    await channel.close()


async def log_in(door, password=PASSWORD):
    body = {"username": "vfolder", "password": password}
    answer = await door.knock(Request("POST", "/login", json=body, repeatable=True))
    tokens = answer.json()["data"]
    return Session({"Authorization": f"Bearer {tokens['access_token']}"}, tokens["expires_in"])


CLUSTER = Request("GET", "/cluster")


async def test_calls_keep_their_connection_and_session(server, channel):
    for _ in range(5):
        assert (await channel.send(CLUSTER)).json()["data"]["io_status"] == "STARTED"
    assert server.array.served == {"POST /login": 1, "GET /cluster": 5}
    assert (channel.link.calls, channel.link.failures) == (6, 0)


async def test_no_more_calls_than_allowed_are_under_way(server, config):
    server.array.latency = 0.02
    few = dataclasses.replace(config, max_concurrent=2)
    channel = Channel(few, SessionAuth(log_in), "/api/v2")
    await asyncio.gather(*(channel.send(CLUSTER) for _ in range(10)))
    await channel.close()
    assert server.most_in_flight == 2


async def test_a_session_that_is_over_is_renewed_once_for_all(server, channel):
    await channel.send(CLUSTER)
    server.array.forget_sessions()
    await asyncio.gather(*(channel.send(CLUSTER) for _ in range(8)))
    assert server.array.served["POST /login"] == 2


async def test_a_refused_login_is_told_to_all_and_not_repeated_by_a_crowd(server, config):
    wrong = Channel(config, SessionAuth(lambda door: log_in(door, "wrong-password")), "/api/v2")
    for _ in range(4):
        told = await asyncio.gather(
            *(wrong.send(CLUSTER) for _ in range(8)), return_exceptions=True
        )
        assert {type(error) for error in told} == {PermissionDenied}
        assert not any("wrong-password" in str(error) for error in told)
    await wrong.close()
    assert server.array.served["POST /login"] == 3


async def test_a_busy_array_is_asked_again(server, channel):
    await channel.send(CLUSTER)
    for kind in (Kind.TOO_MANY, Kind.UNAVAILABLE):
        server.array.faults.arm(Fault(kind, times=2))
        await channel.send(CLUSTER)


async def test_a_change_that_may_have_happened_is_not_repeated(server, channel):
    await channel.send(CLUSTER)
    call = Request("PATCH", "/fileSystems/{uid}/quota/{i}", {"uid": "x", "i": 1}, json={})
    for kind in (Kind.LOST, Kind.TRUNCATED, Kind.HANG):
        before = sum(server.array.served.values())
        server.array.faults.arm(Fault(kind))
        with pytest.raises(AnswerLost, match="may have been carried out"):
            await channel.send(call)
        assert sum(server.array.served.values()) == before + 1
    server.array.faults.arm(Fault(Kind.LOST))
    with pytest.raises(Missing):
        await channel.send(dataclasses.replace(call, repeatable=True))


async def test_the_deadline_holds_whatever_the_array_does(server, config):
    channel = Channel(dataclasses.replace(config, call_timeout=0.5), NoAuth(), "/api/v2")
    server.array.faults.arm(Fault(Kind.HANG, times=100))
    with pytest.raises(DeadlineExceeded, match="GET /cluster"):
        await channel.send(CLUSTER)
    await channel.close()


async def test_an_array_that_never_answers_is_left_alone(server, config):
    channel = Channel(config, HeaderAuth("x-token", "never-changes"), "/api/v2")
    server.array.faults.arm(Fault(Kind.RESET, times=100))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await channel.send(CLUSTER)
    assert channel.link.circuit is Circuit.OPEN
    before = sum(server.array.served.values())
    with pytest.raises(Unavailable, match="left alone"):
        await channel.send(CLUSTER)
    assert sum(server.array.served.values()) == before
    await channel.close()


async def test_the_next_address_is_taken_when_one_cannot_be_reached(server, config):
    both = dataclasses.replace(config, endpoint=f"https://127.0.0.1:1, {server.endpoint}")
    channel = Channel(both, SessionAuth(log_in), "/api/v2")
    await channel.send(CLUSTER)
    await channel.close()


async def test_an_unknown_authority_is_refused(server, config):
    channel = Channel(dataclasses.replace(config, ca_bundle=""), SessionAuth(log_in), "/api/v2")
    with pytest.raises(Misconfigured, match=r"tls\.caBundle: the certificate of https://127"):
        await channel.send(CLUSTER)
    await channel.close()
    assert not server.array.served


async def test_verification_can_be_switched_off_with_a_warning(server, config):
    open_to_all = dataclasses.replace(config, ca_bundle="", insecure_skip_verify=True)
    channel = Channel(open_to_all, SessionAuth(log_in), "/api/v2")
    await channel.send(CLUSTER)
    assert "insecureSkipVerify" in channel.warnings[0]
    await channel.close()


def test_a_bundle_that_is_none_is_named():
    with pytest.raises(Misconfigured, match=r"tls\.caBundle"):
        tls.context("no certificate", False)
    assert tls.context("", False).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "endpoint",
    ["", "http://a", "a:443", "https://", "https://a?b", "https://a:port", "https://u:pw123@a"],
)
def test_endpoints_that_cannot_work_are_refused(endpoint):
    with pytest.raises(Misconfigured, match="endpoint") as caught:
        addresses(endpoint)
    assert "pw123" not in str(caught.value)


def test_secrets_are_taken_out_in_every_form():
    redactor = Redactor(['p"ss/w+rd', "abc"])
    for form in ('p"ss/w+rd', 'p\\"ss/w+rd', "p%22ss%2Fw%2Brd", "cCJzcy93K3Jk"):
        assert redactor.clean(f"<{form}>") == "<[secret]>"
    assert redactor.clean("abc") == "abc"  # too short to be one


def test_the_breaker_lets_one_call_through_after_a_while():
    now = 0.0
    breaker = Breaker("array", lambda: now)
    for _ in range(5):
        with breaker.passage():
            breaker.failed("reset")
    assert breaker.state is Circuit.OPEN
    now = 2.5
    assert breaker.state is Circuit.HALF_OPEN
    with breaker.passage():
        with pytest.raises(Unavailable), breaker.passage():
            pass
        breaker.failed("reset")
    assert breaker.state is Circuit.OPEN
    now = 7.0
    with breaker.passage():
        breaker.succeeded()
    assert breaker.state is Circuit.CLOSED


def test_what_is_safe_is_sent_again():
    retries, get, post = Retries(), Request("GET", "/"), Request("POST", "/")
    told = (("Retry-After", "3"),)
    assert retries.pause_after(post, Answer("", 503, told), 1) == 3
    assert retries.pause_after(post, Answer("", 503), 1) is None
    assert retries.pause_after(post, Answer("", 500), 1) is None
    assert retries.pause_after(get, Answer("", 500), 1) is not None
    assert retries.pause_after(get, Answer("", 500), 3) is None
    assert retries.pause_after(get, Answer("", 404), 1) is None
    date = (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)
    assert retries.pause_after(post, Answer("", 429, date), 1) == 0


async def test_pages_are_asked_for_when_they_are_needed():
    asked = []

    async def send(request):
        asked.append(request.target)
        return Answer(request.call, 200)

    def read(request, answer):
        number = int(request.query.get("page", 1))
        return Page([number], request.asking(page=number + 1) if number < 3 else None)

    items = pages(send, Request("GET", "/list", query={"size": 1}), read)
    assert await anext(items) == 1
    assert asked == ["/list?size=1"]
    assert [item async for item in items] == [2, 3]

    def same(request, answer):
        return Page([1], request)

    with pytest.raises(Unavailable, match="does not end"):
        [item async for item in pages(send, Request("GET", "/list"), same)]


def test_links_lead_to_the_same_array():
    link = following(Request("GET", "/a"), "https://elsewhere/api/b?c=1&c=2", "/api")
    assert link.target == "/b?c=1&c=2"


def test_values_stay_one_segment():
    assert Request("GET", "/a/{x}", {"x": "../b/c?d"}).target == "/a/..%2Fb%2Fc%3Fd"


def test_missing_fields_are_named_without_values():
    class Model(WireModel):
        needed: int

    with pytest.raises(BackendError, match=r"array: GET /x: the answer's field 'needed'"):
        parse(Model, Answer("GET /x", 200, (), b'{"other": 1}'), "array")
    with pytest.raises(BackendError) as caught:
        parse(Model, Answer("GET /x", 200, (), b'{"needed": "token-123"}'), "array")
    assert "token-123" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(Unavailable, match="not JSON"):
        parse(Model, Answer("GET /x", 200, (), b'{"nee'), "array")
    assert parse(Model, Answer("GET /x", 200, (), b'{"needed": 1, "more": 2}'), "array").needed == 1


def test_cookies_are_read_by_name():
    headers = (("Set-Cookie", "isisessid=a.b; path=/; HttpOnly"), ("set-cookie", "isicsrf=c-d"))
    assert Answer("", 201, headers).cookies == {"isisessid": "a.b", "isicsrf": "c-d"}
