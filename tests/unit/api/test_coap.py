"""The routes below `/coap/`: who is let in, what goes to the gate, and what comes back."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from lockgate.adapters.coap.handed import OnBehalf, Reply
from lockgate.adapters.coap.messages import Code
from lockgate.api import coap as room
from lockgate.errors import AuthenticationFailed, ShutOut, Unavailable
from lockgate.identity import Authenticator, Credentials
from lockgate.model.principal import Principal
from tests.support.asgi import Answered, Caller

pytestmark = pytest.mark.requirement("C4")

TOKEN = "eyJa.b.c"
PHONE = Principal("phone", "phone/http", "x509", 7, 99.0)


class FakeAuthenticator:
    """Lets in by the token, or by one password; notes what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Credentials] = []

    def is_slow(self, credentials: Credentials) -> bool:
        return credentials.user_name is not None

    def authenticate(self, credentials: Credentials, now: float) -> Principal:
        self.shown.append(credentials)
        if credentials.certificate is not None or credentials.secret in (TOKEN.encode(), b"pass:word"):
            return PHONE
        if credentials.secret == b"revoked":
            raise ShutOut("gone", reason="credential revoked")
        raise AuthenticationFailed(reason="password wrong")


class FakeGate:
    """Answers with what it is told to."""

    def __init__(self) -> None:
        self.asked: list[OnBehalf] = []
        self.reply = Reply(Code.CONTENT, ((12, b"\x32"),), b"{}")
        self.is_away = False

    async def ask(self, request: OnBehalf, /) -> Reply:
        self.asked.append(request)
        if self.is_away:
            raise Unavailable("nobody is there", reason="the hub does not answer")
        return self.reply


class World:
    def __init__(self) -> None:
        self.identity = FakeAuthenticator()
        self.gate = FakeGate()
        self.workers = ThreadPoolExecutor(1)
        self.noted: list[str] = []
        conversion = room.CoapByHttp(
            cast(Authenticator, self.identity), self.gate, self.workers, self._note, lambda: 50.0
        )
        self.caller = Caller(room.routes(conversion))

    def _note(self, _link: Any, error: Exception) -> str:
        self.noted.append(str(error))
        return "K7Q2-9XMD"

    def asks(self, method: str = "GET", path: str = "/coap/a", body: bytes = b"", **headers: str) -> Answered:
        headers.setdefault("authorization", f"Bearer {TOKEN}")
        return self.caller(method, path, body, {name: value for name, value in headers.items() if value})


@pytest.fixture
def world() -> World:
    return World()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_who_has_proven_who_they_are_reaches_the_gate_by_name(world: World) -> None:
    answered = world.asks("PUT", "/coap/a/b?retain=0", b"21", content_type="text/plain")
    assert (answered.status, answered.body) == (200, b"{}")
    (asked,) = world.gate.asked
    assert (asked.device, asked.auth, asked.credential_id, asked.expires_at) == ("phone", "x509", 7, 99.0)
    assert (asked.code, asked.options) == (Code.PUT, ((11, b"a"), (11, b"b"), (12, b""), (15, b"retain=0")))
    assert asked.payload == b"21"
    assert world.identity.shown[0].suffix == "http"


def test_a_password_is_checked_in_a_worker(world: World) -> None:
    assert world.asks(authorization=basic("phone:pass:word")).status == 200
    (shown,) = world.identity.shown
    assert (shown.user_name, shown.secret) == ("phone", b"pass:word")


def test_a_certificate_comes_before_a_header(world: World) -> None:
    cast(Any, world.caller.link).peer_certificate = object()
    assert world.asks(authorization="").status == 200
    assert world.identity.shown[0].certificate is not None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer opaque", "Basic", "Basic %%%", basic("no colon"), basic("phone:wrong"), "Digest x", "x"],
)
def test_nobody_is_served_who_has_not(world: World, authorization: str) -> None:
    answered = world.asks(authorization=authorization)
    assert answered.status == 401
    assert answered.headers["www-authenticate"] == 'Basic realm="lockgate", charset="UTF-8", Bearer realm="lockgate"'
    assert "reference: K7Q2-9XMD" in answered.text
    assert (world.gate.asked, len(world.noted)) == ([], 1)


def test_who_is_shut_out_is_told_so(world: World) -> None:
    answered = world.asks(authorization=basic("phone:revoked"))
    assert (answered.status, answered.text) == (403, "credential revoked\nreference: K7Q2-9XMD\n")


def test_what_is_no_request_of_coaps_is_refused_after_who_asks_is_known(world: World) -> None:
    assert world.asks("PATCH").status == 405
    assert world.asks("PATCH").headers["allow"] == "GET, HEAD, POST, PUT, DELETE"
    assert world.asks("BREW").status == 501
    assert world.asks(path="/coap/a%2Fb").status in (400, 404)
    assert world.asks("BREW", authorization="").status == 401
    assert world.gate.asked == []


def test_a_gate_that_is_away_is_said_to_be(world: World) -> None:
    world.gate.is_away = True
    answered = world.asks()
    assert (answered.status, answered.headers["retry-after"]) == (503, "5")


def test_a_refusal_of_the_gate_is_told_in_its_words(world: World) -> None:
    world.gate.reply = Reply(Code.FORBIDDEN, (), b"not authorized: no rule allows it (reference X)")
    answered = world.asks()
    assert (answered.status, answered.text) == (403, "not authorized: no rule allows it (reference X)\n")
