"""A CoAP peer that says exactly what a test tells it to, and judges each datagram that comes back.

    peer = coap.peer()
    made = peer.ask(PUT, "t/1", payload=b"21.5")
    assert made.code == CREATED
    peer.send(Message(CON, GET, 0x7A10, b"tk", path("t/1")))
    assert peer.receive().mid == 0x7A10
    peer.expect_silence()

It shares no code with the hub. Source: RFC 7252 section 3.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WAIT_SECONDS = 5.0
SILENCE_SECONDS = 0.4

CON, NON, ACK, RST = range(4)
EMPTY, GET, POST, PUT, DELETE = range(5)

IF_MATCH, URI_HOST, ETAG, IF_NONE_MATCH, OBSERVE, URI_PORT = 1, 3, 4, 5, 6, 7
LOCATION_PATH, URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, ACCEPT = 8, 11, 12, 14, 15, 17
BLOCK2, BLOCK1, SIZE2, PROXY_URI, PROXY_SCHEME, SIZE1, ECHO = 23, 27, 28, 35, 39, 60, 252

Option = tuple[int, bytes]


def code(name: str) -> int:
    """Give the byte of a code in its written form, "4.04"."""
    major, minor = name.split(".")
    return int(major) << 5 | int(minor)


CREATED, DELETED, VALID, CHANGED, CONTENT, CONTINUE = (code(f"2.{n:02}") for n in (1, 2, 3, 4, 5, 31))
BAD_REQUEST, UNAUTHORIZED, BAD_OPTION, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, NOT_ACCEPTABLE = (
    code(f"4.{n:02}") for n in range(7)
)
INCOMPLETE, PRECONDITION_FAILED, TOO_LARGE = code("4.08"), code("4.12"), code("4.13")
PROXYING_NOT_SUPPORTED = code("5.05")


@dataclass(frozen=True)
class Message:
    """One message, as it is written; nothing in it is checked."""

    type: int
    code: int
    mid: int
    token: bytes = b""
    options: tuple[Option, ...] = ()
    payload: bytes = b""

    def values(self, number: int) -> list[bytes]:
        """Give the values of an option, in their order."""
        return [value for found, value in self.options if found == number]

    def value(self, number: int) -> bytes | None:
        """Give the one value of an option, None when it is not there; more than one is a failure."""
        values = self.values(number)
        assert len(values) <= 1, f"option {number} comes {len(values)} times"
        return values[0] if values else None

    def uint(self, number: int) -> int | None:
        """Give an option that is an unsigned integer; it has to be written in as few bytes as it takes."""
        value = self.value(number)
        assert value is None or not value.startswith(b"\0"), f"option {number} has leading zeros"
        return None if value is None else int.from_bytes(value, "big")

    @property
    def is_success(self) -> bool:
        """Say whether the code is of class 2."""
        return self.code >> 5 == 2


def uint(number: int) -> bytes:
    """Write an unsigned integer in as few bytes as it needs (section 3.2)."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def path(text: str) -> tuple[Option, ...]:
    """Give the Uri-Path options of a path."""
    return tuple((URI_PATH, segment.encode()) for segment in text.split("/") if text)


def block(number: int, more: bool, size: int) -> bytes:
    """Write a Block1 or Block2 of blocks of `size` bytes (RFC 7959 section 2.2)."""
    return uint(number << 4 | more << 3 | (size.bit_length() - 5))


def block_of(value: bytes | None) -> tuple[int, bool, int]:
    """Read a Block1 or Block2: its number, whether more follow, and the size of a block."""
    assert value is not None, "no block option"
    number = int.from_bytes(value, "big")
    return number >> 4, bool(number & 8), 16 << (number & 7)


def encode(message: Message) -> bytes:
    """Write a message."""
    out = bytearray([0x40 | message.type << 4 | len(message.token), message.code])
    out += message.mid.to_bytes(2, "big") + message.token
    last = 0
    for number, value in sorted(message.options, key=lambda option: option[0]):
        delta, delta_tail = _nibble(number - last)
        length, length_tail = _nibble(len(value))
        out += bytes([delta << 4 | length]) + delta_tail + length_tail + value
        last = number
    if message.payload:
        out += b"\xff" + message.payload
    return bytes(out)


def _nibble(number: int) -> tuple[int, bytes]:
    if number < 13:
        return number, b""
    if number < 269:
        return 13, bytes([number - 13])
    return 14, (number - 269).to_bytes(2, "big")


def decode(data: bytes) -> Message:
    """Read what a server sent; what is not well-formed fails the test (section 3)."""
    assert len(data) >= 4, f"a datagram of {len(data)} bytes"
    assert data[0] >> 6 == 1, f"version {data[0] >> 6}"
    size = data[0] & 15
    assert size <= 8, f"a token length of {size}"
    token, at, number = data[4 : 4 + size], 4 + size, 0
    assert len(token) == size, "cut off in the token"
    options: list[Option] = []
    while at < len(data) and data[at] != 0xFF:
        delta, length, at = data[at] >> 4, data[at] & 15, at + 1
        delta, at = _extended(data, delta, at)
        length, at = _extended(data, length, at)
        number += delta
        assert at + length <= len(data), "an option reaches beyond the end"
        options.append((number, data[at : at + length]))
        at += length
    payload = data[at + 1 :]
    assert at == len(data) or payload, "a payload marker with nothing behind it"
    found = Message(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), token, tuple(options), payload)
    if found.code == EMPTY:
        assert len(data) == 4, "an empty message with something behind its Message ID"
    return found


def _extended(data: bytes, nibble: int, at: int) -> tuple[int, int]:
    assert nibble != 15, "a reserved nibble"
    if nibble == 13:
        return data[at] + 13, at + 1
    if nibble == 14:
        return int.from_bytes(data[at : at + 2], "big") + 269, at + 2
    return nibble, at


@dataclass
class CoapServer:
    """The server under test, and a prefix under which a test's resources may be made."""

    host: str
    port: int
    is_ours: bool
    prefix: str = "t"
    _peers: list[Peer] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=lambda: iter(range(1, 1 << 30)))

    @classmethod
    def parse(cls, url: str) -> CoapServer:
        """Read coap://host[:port]."""
        parts = urlsplit(url)
        if parts.scheme != "coap" or not parts.hostname:
            raise ValueError(f"{url} is no coap://host:port")
        return cls(parts.hostname, parts.port or 5683, is_ours=False)

    def peer(self, is_proven: bool = True) -> Peer:
        """Give a new peer, at an address (port) of its own, which the server believes."""
        found = Peer(self.host, self.port)
        self._peers.append(found)
        if is_proven:
            found.ask(GET, ".well-known/core")  # answers Echo, where it is asked (RFC 9175 section 2.3)
        return found

    def resource(self) -> str:
        """Give a path that nobody has used."""
        return f"{self.prefix}/{secrets.token_hex(3)}-{next(self._count)}"

    def close(self) -> None:
        """Close all peers."""
        while self._peers:
            self._peers.pop().close()


class Peer:
    """One endpoint: a socket, a Message ID that counts up, and the tokens that a test gives."""

    def __init__(self, host: str, port: int) -> None:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind)
        self._socket.connect(address)
        self._mid = secrets.randbelow(1 << 16)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def mid(self) -> int:
        """Give the next Message ID."""
        self._mid = (self._mid + 1) & 0xFFFF
        return self._mid

    def send_raw(self, data: bytes) -> None:
        """Send a datagram as it is."""
        self._socket.send(data)

    def send(self, message: Message) -> Message:
        """Send a message; give it back."""
        self.send_raw(encode(message))
        return message

    def request(
        self,
        method: int,
        to: str | Sequence[Option],
        payload: bytes = b"",
        *options: Option,
        kind: int = CON,
        token: bytes | None = None,
    ) -> Message:
        """Send a request; give it."""
        where = path(to) if isinstance(to, str) else tuple(to)
        token = secrets.token_bytes(4) if token is None else token
        return self.send(Message(kind, method, self.mid(), token, (*where, *options), payload))

    def receive(self, seconds: float = WAIT_SECONDS) -> Message:
        """Wait for the next message."""
        found = self.next(seconds)
        assert found is not None, f"nothing came within {seconds} s"
        return found

    def next(self, seconds: float) -> Message | None:
        """Give the next message, None when none comes in time."""
        self._socket.settimeout(seconds)
        try:
            return decode(self._socket.recv(65_535))
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            raise AssertionError("nobody listens there") from None

    def expect_silence(self, seconds: float = SILENCE_SECONDS) -> None:
        """Fail when anything comes."""
        found = self.next(seconds)
        assert found is None, f"{found} came"

    def answer(self, request: Message, seconds: float = WAIT_SECONDS) -> Message:
        """Wait for the response to a request, in the Acknowledgement or by itself; acknowledge what asks for it."""
        until = time.monotonic() + seconds
        while True:
            found = self.receive(max(0.01, until - time.monotonic()))
            if found.code == EMPTY and found.type == ACK and found.mid == request.mid:
                continue
            assert found.type != RST, f"{request} was rejected"
            if found.token != request.token:
                continue  # a late notification
            if found.type == CON:
                self.send(Message(ACK, EMPTY, found.mid))
            return found

    def ask(
        self, method: int, to: str | Sequence[Option], payload: bytes = b"", *options: Option, kind: int = CON,
        token: bytes | None = None,
    ) -> Message:  # fmt: skip
        """Send a request and give its response; where the server wants the address proven first, prove it."""
        found = self.answer(self.request(method, to, payload, *options, kind=kind, token=token))
        echo = found.value(ECHO)
        if found.code == UNAUTHORIZED and echo is not None:
            options = (*options, (ECHO, echo))
            found = self.answer(self.request(method, to, payload, *options, kind=kind, token=token))
        return found

    def acknowledge(self, message: Message) -> None:
        """Acknowledge a Confirmable message."""
        self.send(Message(ACK, EMPTY, message.mid))

    def reset(self, message: Message) -> None:
        """Reject a message."""
        self.send(Message(RST, EMPTY, message.mid))

    def ping(self) -> Message:
        """Ask for a sign of life; give the Reset that answers it (section 4.3)."""
        mid = self.send(Message(CON, EMPTY, self.mid())).mid
        found = self.receive()
        assert (found.type, found.code, found.mid) == (RST, EMPTY, mid), found
        return found
