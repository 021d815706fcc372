"""HTTP over our own links: uvicorn's HTTP/1.1 protocol, fed by the same TLS rooms, limits and refusals as every door.

uvicorn could listen by itself, but asyncio's TLS under it shows no refused certificate, no alert, and takes up no new
context (ADR 0002). So its protocol (h11 underneath) gets a transport that is one of our links. What is bounded here:

    header          `max_header_bytes`              413, closed; 400 where they do not end, and for what is no HTTP
    body            `max_body_bytes`                413, closed
    request         `request_deadline_seconds`      408, closed: from the connection, or its first byte, to its last
    answer          `answer_deadline_seconds`       closed: the application took too long, or the peer does not read
    at once         `max_requests`                  503, closed
    idle            `keep_alive_seconds`            closed

Source: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any, TypeAlias

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from lockgate.errors import LockgateError, PayloadTooLarge, RateExceeded, Step, Unavailable
from lockgate.net.link import Link, StreamHandler

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Refused: TypeAlias = Callable[[Link, LockgateError], str]
"""Told of a request that a limit refused; gives the reference to tell the peer."""

LINK = "link"
"""Under this key of the request's state stands the link: who is at the other end, and by which certificate."""

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_CACHE_CONTROL = (b"cache-control", b"no-store")
_STATUS = {PayloadTooLarge: 413, RateExceeded: 408, Unavailable: 503}


class HttpRules(msgspec.Struct, frozen=True):
    """What one listener grants its peers."""

    max_header_bytes: int = 16_384
    max_body_bytes: int = 65_536
    request_deadline_seconds: float = 10.0
    answer_deadline_seconds: float = 30.0
    keep_alive_seconds: float = 5.0
    max_requests: int = 64


class HttpServer:
    """Serves one application on any number of links.

    Args:
        application: what answers, in ASGI's form.
        rules: the bounds.
        on_refused: told of each request that a bound refused.
    """

    def __init__(self, application: Application, rules: HttpRules, on_refused: Refused) -> None:
        self.rules = rules
        self.on_refused = on_refused
        logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # what matters is in our own log
        logging.getLogger("uvicorn").propagate = False
        self._application = application
        self._running = 0
        self._links: set[_HttpLink] = set()
        self.state = ServerState()
        self.config = uvicorn.Config(
            self._serve, interface="asgi3", lifespan="off", http="h11", ws="none", log_config=None, access_log=False,
            server_header=False, date_header=False, proxy_headers=False, use_colors=False,
            h11_max_incomplete_event_size=rules.max_header_bytes, timeout_keep_alive=0,
        )  # fmt: skip
        self.config.load()
        self.config.timeout_keep_alive = rules.keep_alive_seconds  # type: ignore[assignment]  # call_later takes it

    def handler(self) -> _HttpLink:
        """Make the handler of one connection."""
        return _HttpLink(self, self._links)

    def close(self) -> None:
        """End what is idle; requests that are being answered still get their answer."""
        for link in list(self._links):
            link.shut_down()

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request within the bounds."""
        link: Link = scope["state"][LINK]
        answer = _Answer(send)
        body = _Body(receive, self.rules.max_body_bytes)
        self._running += 1
        try:
            if self._running > self.rules.max_requests:
                raise Unavailable(
                    f"more than {self.rules.max_requests} requests were being answered",
                    reason="too many requests at once",
                    fix="try again in a moment, or raise office.max_requests",
                    step=Step.LIMIT,
                )
            _check_headers(scope, self.rules.max_header_bytes)
            body.check_announced(scope["headers"])
            async with asyncio.timeout(self.rules.answer_deadline_seconds + self.rules.request_deadline_seconds):
                await self._application(scope, body, answer)
        except (PayloadTooLarge, Unavailable) as error:
            if not answer.is_begun:
                await answer.refuse(_STATUS[type(error)], error, self.on_refused(link, error))
        except TimeoutError:
            link.abort()
        finally:
            self._running -= 1


class _Answer:
    """Sends what the application says, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_begun = True
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            ours = (*SECURITY_HEADERS, _CACHE_CONTROL, (b"date", formatdate(usegmt=True).encode()))
            message = {**message, "headers": given + [each for each in ours if each[0] not in names]}
        await self._send(message)

    async def refuse(self, status: int, error: LockgateError, reference: str) -> None:
        text = refusal_text(error, reference)
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"connection", b"close"),
        ]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": text})


class _Body:
    """Gives the application the request's body, as far as it may be long."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._taken = 0

    def check_announced(self, headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"content-length" and int(value) > self._max_bytes:  # h11 lets nothing but digits through
                raise self._too_large()

    async def __call__(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._max_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"a request's body is longer than {self._max_bytes} bytes",
            fix="send less, or raise office.max_body_bytes; a certificate request takes 1 to 3 KiB",
        )


def _check_headers(scope: Message, max_bytes: int) -> None:
    # h11 bounds what it keeps of headers that have not come whole; those that come in one piece are counted here.
    taken = len(scope["raw_path"]) + len(scope["query_string"])
    taken += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if taken > max_bytes:
        raise PayloadTooLarge(
            f"a request's headers are longer than {max_bytes} bytes",
            reason="headers too long",
            fix="send less: office.max_header_bytes is the limit",
        )


def refusal_text(error: LockgateError, reference: str) -> bytes:
    """Give what a refused peer reads: the reason, what mends it, and the reference for who asks the operator."""
    lines = [error.reason if not error.fix else f"{error.reason}: {error.fix}"]
    if reference:
        lines.append(f"reference: {reference}")
    return ("\n".join(lines) + "\n").encode()


class _Protocol(H11Protocol):
    """uvicorn's protocol, save that what is no HTTP is refused like all else: with a reason and a reference."""

    def __init__(self, server: HttpServer, link: Link) -> None:
        super().__init__(server.config, server.state, {LINK: link})
        self._on_refused = server.on_refused
        self._link = link

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's words are not ours)
        error = LockgateError(
            "a request is no HTTP/1.1, or its headers contradict each other or are too long",
            reason="not HTTP",
            fix="speak HTTP/1.1 here, as RFC 9112 has it; office.max_header_bytes is the most for a request's headers",
            step=Step.PROTOCOL,
        )
        text = refusal_text(error, self._on_refused(self._link, error)).decode()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(text)
        else:  # an answer is on its way already, and nothing may stand in the middle of it
            self.transport.close()


class _HttpLink(StreamHandler):
    """One connection: a link's handler on the one side, uvicorn's protocol on the other."""

    def __init__(self, server: HttpServer, links: set[_HttpLink]) -> None:
        self._server = server
        self._links = links
        self._link: Link
        self._transport: _LinkTransport
        self._protocol: _Protocol
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, link: Link) -> None:
        self._link = link
        self._transport = _LinkTransport(link)
        self._protocol = _Protocol(self._server, link)
        self._protocol.connection_made(self._transport)
        self._links.add(self)
        self._begin_waiting()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._begin_waiting()
        self._protocol.data_received(data)
        if not self._is_request_begun():
            self._end_waiting()

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._end_waiting()
        self._links.discard(self)
        self._transport.has_ended = True
        self._protocol.connection_lost(error)

    def shut_down(self) -> None:
        """End the connection, after the answer that is on its way."""
        cycle = self._protocol.cycle
        if cycle is None or cycle.response_complete:
            self._transport.close()
        else:
            self._protocol.shutdown()

    def _is_request_begun(self) -> bool:
        """Whether a request has begun that has not come whole."""
        conn = self._protocol.conn
        return conn.their_state is h11.SEND_BODY or (conn.their_state is h11.IDLE and bool(conn.trailing_data[0]))

    def _begin_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._server.rules.request_deadline_seconds, self._time_out)

    def _end_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        self._deadline = None
        error = RateExceeded(
            f"a request did not come whole within {self._server.rules.request_deadline_seconds:g} s",
            reason="request not finished",
            fix="look for a client that connects and sends nothing, or too slowly; office.request_deadline_seconds",
            step=Step.LIMIT,
        )
        reference = self._server.on_refused(self._link, error)
        cycle = self._protocol.cycle
        if self._protocol.conn.their_state is h11.IDLE or not cycle.response_started:
            text = refusal_text(error, reference)
            head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            self._transport.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        self._transport.close()


class _LinkTransport(asyncio.Transport):
    """A link as asyncio's protocols know transports."""

    def __init__(self, link: Link) -> None:
        super().__init__({"peername": (link.peer.host, link.peer.port), "sslcontext": link.protection is not None})
        self._link = link
        self.has_ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data:  # the end of a message with a length is no byte
            self._link.write(bytes(data))

    def close(self) -> None:
        self.has_ended = True
        self._link.close()

    def abort(self) -> None:
        self.has_ended = True
        self._link.abort()

    def is_closing(self) -> bool:
        return self.has_ended

    def pause_reading(self) -> None:
        self._link.pause_reading()

    def resume_reading(self) -> None:
        if not self.has_ended:
            self._link.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._link.write_buffer_bytes()
