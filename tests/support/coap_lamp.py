"""A device that serves CoAP resources of its own over the session that it opened. It shares no code with the hub."""

from __future__ import annotations

import threading
from types import TracebackType

from tests.conformance.coap import (
    ACCEPT,
    ACK,
    BLOCK1,
    BLOCK2,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CREATED,
    DELETE,
    DELETED,
    EMPTY,
    ETAG,
    GET,
    LOCATION_PATH,
    MAX_AGE,
    NON,
    NOT_FOUND,
    POST,
    PUT,
    RST,
    URI_PATH,
    URI_QUERY,
    VALID,
    Message,
    Option,
    code,
)
from tests.conformance.dtls import DtlsPeer
from tests.support.hub import RunningHub

BLOCK = 64
LONG = bytes(range(32, 127)) * 30
CONTINUE = code("2.31")


def uint(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


class Lamp:
    """What it serves: `led` (GET, PUT), `long` (GET), `made` (POST), `gone` (DELETE), `mute` (nothing), `rst` (Reset),
    `later` (GET, when it `is_let_go`), `echo` (GET: its query), `code/4.XX` (that code); whatever else is 4.04.
    """

    def __init__(self, hub: RunningHub, name: str) -> None:
        self.peer = DtlsPeer.by_certificate(hub, name)
        self.led = b"off"
        self.asked: list[Message] = []
        self.is_let_go = threading.Event()
        self._late: list[Message] = []
        self._body = b""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Lamp:
        # One request of its own first: the hub knows its session when the answer is there.
        self.peer.send(Message(CON, GET, 1, b"hi", ((URI_PATH, b"x"),)))
        self.peer.receive()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            if self.is_let_go.is_set():
                late, self._late = self._late, []
                for request in late:
                    self.peer.send(Message(NON, CONTENT, request.mid, request.token, (), b"tell nobody"))
            try:
                message = self.peer.receive(0.2)
            except AssertionError as error:
                if "no session" in str(error):
                    return
                continue
            if message.type == CON and GET <= message.code <= DELETE:
                self.asked.append(message)
                self._answer(message)

    def _answer(self, request: Message) -> None:
        path = b"/".join(request.values(URI_PATH)).decode()
        if path == "mute":
            self.peer.send(Message(ACK, EMPTY, request.mid))
        elif path == "later":
            self.peer.send(Message(ACK, EMPTY, request.mid))
            self._late.append(request)
        elif path == "rst":
            self.peer.send(Message(RST, EMPTY, request.mid))
        else:
            number, options, payload = self._act(request, path)
            self.peer.send(
                Message(
                    ACK,
                    number,
                    request.mid,
                    request.token,
                    tuple(sorted(options, key=lambda option: option[0])),
                    payload,
                )
            )

    def _act(self, request: Message, path: str) -> tuple[int, list[Option], bytes]:
        if path.startswith("code/"):
            return code(path[5:]), [(MAX_AGE, uint(7))], b"because"
        if path == "echo":
            return CONTENT, [(CONTENT_FORMAT, b""), (MAX_AGE, b"")], b"&".join(request.values(URI_QUERY))
        if (path, request.code) == ("led", GET):
            if request.value(ETAG) == self.led:
                return VALID, [(ETAG, self.led)], b""
            return CONTENT, [(ETAG, self.led), (CONTENT_FORMAT, uint(50))], self.led
        if (path, request.code) == ("led", PUT):
            return self._put(request)
        if (path, request.code) == ("long", GET):
            start = ((request.uint(BLOCK2) or 0) >> 4) * BLOCK
            is_more = start + BLOCK < len(LONG)
            block = uint(start // BLOCK << 4 | is_more << 3 | BLOCK.bit_length() - 5)
            return CONTENT, [(BLOCK2, block), (ETAG, b"1")], LONG[start : start + BLOCK]
        if (path, request.code) == ("made", POST):
            return CREATED, [(LOCATION_PATH, b"made"), (LOCATION_PATH, b"a b")], b""
        if (path, request.code) == ("gone", DELETE):
            return DELETED, [], b""
        if (path, request.code) == ("odd", GET):
            return CONTENT, [(CONTENT_FORMAT, uint(65_001))], b"?" + (request.value(ACCEPT) or b"")
        return NOT_FOUND, [], b"no such thing"

    def _put(self, request: Message) -> tuple[int, list[Option], bytes]:
        one = request.uint(BLOCK1)
        if one is None:
            self.led = request.payload
            return CHANGED, [], b""
        self._body = request.payload if one >> 4 == 0 else self._body + request.payload
        if one & 8:
            return CONTINUE, [(BLOCK1, uint(one))], b""
        self.led = self._body
        return CHANGED, [(BLOCK1, uint(one))], b""
