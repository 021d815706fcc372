"""HTTP over a link: what is bounded, and what a peer reads when a bound is met. No socket, no wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from lockgate.errors import LockgateError
from lockgate.net.http import LINK, HttpRules, HttpServer, Message, Receive, Send
from lockgate.net.link import Link
from tests.support.fakes import FakeLink

RULES = HttpRules(max_header_bytes=2048, max_body_bytes=100, request_deadline_seconds=1000.0, max_requests=2)
GET = b"GET /x HTTP/1.1\r\nHost: hub\r\n\r\n"


class Room:
    """One connection to a server whose application echoes, holds, or fails."""

    def __init__(self, rules: HttpRules = RULES) -> None:
        self.refused: list[LockgateError] = []
        self.scopes: list[Message] = []
        self.release = asyncio.Event()
        self.release.set()
        self.server = HttpServer(self._answer, rules, self._refuse)
        self.handler, self.link = self.connect()

    def connect(self) -> tuple[Any, FakeLink]:
        handler = self.server.handler()
        link = FakeLink(cast(Any, asyncio.get_running_loop()), cast(Any, handler))
        handler.connection_made(cast(Link, link))
        return handler, link

    async def says(self, data: bytes) -> str:
        """Send, let the loop turn, and give what was answered meanwhile."""
        self.link.written.clear()
        self.handler.data_received(data)
        await turns()
        return self.link.written.decode()

    def _refuse(self, link: Link, error: LockgateError) -> str:
        self.refused.append(error)
        return "K7Q2-9XMD"

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        await self.release.wait()
        headers = [(b"content-length", str(len(body)).encode()), (b"Cache-Control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(cast(Any, test()))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def post(body: bytes, length: int | None = None) -> bytes:
    return (
        b"POST /x HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        + body
    )


@on_loop
async def test_a_request_is_answered_and_the_application_sees_who_asks() -> None:
    room = Room()
    answer = await room.says(post(b"hello"))
    assert answer.startswith("HTTP/1.1 200")
    assert answer.endswith("\r\n\r\nhello")
    scope = room.scopes[0]
    assert scope["state"][LINK] is room.link
    assert (scope["scheme"], scope["client"]) == ("https", ("192.0.2.7", 40_000))
    assert (await room.says(GET)).startswith("HTTP/1.1 200"), "the connection goes on"
    assert not room.link.is_closed


@on_loop
async def test_every_answer_has_security_headers_and_no_banner() -> None:
    answer = (await Room().says(GET)).lower()
    for header in ("x-content-type-options: nosniff", "content-security-policy: default-src 'none'", "date: "):
        assert f"\r\n{header}" in answer
    assert "cache-control: max-age=60" in answer, "what the application says stays"
    assert "no-store" not in answer
    assert "\r\nserver:" not in answer
    assert "uvicorn" not in answer


@on_loop
async def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes() -> None:
    room = Room()
    answer = await room.says(post(b"", 101))
    assert answer.startswith("HTTP/1.1 413")
    assert "reference: K7Q2-9XMD" in answer
    assert room.link.is_closed
    assert room.scopes == []


@on_loop
async def test_a_body_that_turns_out_too_long_is_refused() -> None:
    room = Room()
    head = b"POST /x HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await room.says(head + b"65\r\n" + b"x" * 101 + b"\r\n")
    assert answer.startswith("HTTP/1.1 413")
    assert room.link.is_closed
    assert [error.reason for error in room.refused] == ["payload too large"]


@on_loop
async def test_headers_without_end_are_refused() -> None:
    room = Room()
    answer = await room.says(b"GET /x HTTP/1.1\r\nHost: hub\r\nX: " + b"x" * 4096)
    assert answer.startswith("HTTP/1.1 400")
    assert room.link.is_closed


@on_loop
async def test_headers_that_come_whole_are_counted_all_the_same() -> None:
    room = Room()
    answer = await room.says(b"GET /x HTTP/1.1\r\nHost: hub\r\nX: " + b"x" * 4096 + b"\r\n\r\n")
    assert answer.startswith("HTTP/1.1 413")
    assert room.link.is_closed
    assert [error.reason for error in room.refused] == ["headers too long"]
    assert room.scopes == []


@on_loop
async def test_what_is_no_http_is_refused() -> None:
    room = Room()
    answer = await room.says(b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x00")
    assert answer.startswith("HTTP/1.1 400")
    assert "reference: K7Q2-9XMD" in answer
    assert room.link.is_closed
    assert [error.reason for error in room.refused] == ["not HTTP"]


@on_loop
async def test_what_is_no_http_behind_a_request_that_is_being_answered_adds_nothing_to_the_answer() -> None:
    room = Room()
    room.release.clear()
    head = b"POST /x HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    await room.says(head + b"65\r\n" + b"x" * 101 + b"\r\n")
    answer = await room.says(b"no chunk\r\n")
    assert answer == ""
    assert room.link.is_closed


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /x HT", b"POST /x HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\nhalf", GET + b"GET /y"],
    ids=["nothing", "half a header", "half a body", "half a second request"],
)
def test_a_request_that_does_not_come_whole_is_ended(begun: bytes) -> None:
    async def test() -> None:
        room = Room()
        if begun.startswith(GET):
            await room.says(GET)
            await room.says(begun.removeprefix(GET))
        elif begun:
            await room.says(begun)
        assert room.handler._deadline is not None
        room.handler._time_out()
        assert b"HTTP/1.1 408" in room.link.written
        assert room.link.is_closed
        assert [error.reason for error in room.refused] == ["request not finished"]

    asyncio.run(test())


@on_loop
async def test_the_deadline_ends_with_the_request() -> None:
    room = Room()
    await room.says(GET)
    assert room.handler._deadline is None
    room.link.lose()
    await turns()
    other, link = room.connect()
    link.lose()
    await turns()
    assert other._deadline is None, "and with the connection"


@on_loop
async def test_more_requests_at_once_than_allowed_are_told_to_come_again() -> None:
    room = Room()
    room.release.clear()
    others = [room.connect() for _ in range(2)]
    for handler, _ in others:
        handler.data_received(GET)
    await turns()
    assert (await room.says(GET)).startswith("HTTP/1.1 503")
    room.release.set()
    await turns()
    assert all(b"HTTP/1.1 200" in link.written for _, link in others)
    assert [error.reason for error in room.refused] == ["too many requests at once"]


@on_loop
async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    room = Room(HttpRules(request_deadline_seconds=0.0, answer_deadline_seconds=0.0))
    room.release.clear()
    await room.says(GET)
    assert room.link.is_aborted


@on_loop
async def test_at_the_end_idle_connections_are_closed_and_answers_still_sent() -> None:
    room = Room()
    await room.says(GET)
    busy, link = room.connect()
    room.release.clear()
    busy.data_received(GET)
    await turns()
    room.server.close()
    await turns()
    assert room.link.is_closed
    assert not link.is_closed
    room.release.set()
    await turns()
    assert b"HTTP/1.1 200" in link.written
    assert link.is_closed


@on_loop
async def test_a_peer_that_leaves_in_the_middle_leaves_nothing_behind() -> None:
    room = Room()
    await room.says(post(b"half", 50))
    room.link.lose()
    await turns()
    assert room.server._running == 0
    assert room.server._links == set()
    assert room.refused == []


@on_loop
async def test_a_slow_reader_holds_the_application_not_the_memory() -> None:
    room = Room()
    room.handler.pause_writing()
    assert "HTTP/1.1" not in await room.says(GET)
    room.handler.resume_writing()
    await turns()
    assert b"HTTP/1.1 200" in room.link.written
