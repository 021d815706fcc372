"""WebSocket between a link and a door: towards the link a stream handler, towards the door a link like any other.

    net's TLS link  <->  WebSocketLink  <->  the door's handler

The door's handler is made when TLS is established: its deadline for the first packet counts for the handshake too.
Messages are a stream: what frames carry is passed on frame by frame, whole or not as the door's packets may be, and
nothing is gathered but one frame [MQTT-6.0.0-2]. Its length is checked before it is read. Each write of the door is
one binary frame [MQTT-6.0.0-1]. Extensions are not offered: compression beside secrets leaks them, and takes memory.

Source: RFC 6455; MQTT 5.0 chapter 6. The frames themselves are the business of the library websockets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import msgspec
from cryptography import x509
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from lockgate.errors import LockgateError, Step
from lockgate.net import upgrade
from lockgate.net.link import Address, Link, StreamHandler
from lockgate.net.partials import Partials
from lockgate.net.tls import Protection
from lockgate.net.upgrade import UpgradeRefused, UpgradeRules

# What is worth telling is told by `on_refused`; the library's own words would reach standard error unformatted.
logging.getLogger("websockets.server").addHandler(logging.NullHandler())
logging.getLogger("websockets.server").propagate = False

_MAX_REASON_BYTES = 123  # RFC 6455 section 5.5.1
_MAX_END_BYTES = 22


class WebSocketRules(msgspec.Struct, frozen=True):
    """What one WebSocket door grants its peers."""

    upgrade: UpgradeRules = UpgradeRules()
    max_handshake_bytes: int = 16_384
    """The largest HTTP request taken."""
    max_message_bytes: int = 1_048_576
    """The largest message, in one frame or in many."""
    max_first_message_bytes: int = 65_536
    """The largest message of a peer that has not been let in yet."""
    first_answer: int = 0x20
    """How the write begins that lets a peer in: for MQTT the packet type of CONNACK."""


class WebSocketLink(StreamHandler):
    """One WebSocket connection: the handler of the link below, with a link for the door's handler above it.

    Args:
        handler_factory: makes the door's handler.
        rules: what is granted.
        on_refused: told of each peer whose handshake or frames were refused; gives the reference to tell it.
        partials: bounds what has begun to come and is not whole; without it, each frame is bounded by itself alone.
    """

    __slots__ = (
        "_failure", "_first_bytes", "_handler", "_handshake_bytes", "_is_held_by_door", "_is_held_by_pongs", "_is_over",
        "_is_reading", "_is_unread", "_link", "_on_refused", "_partials", "_protocol", "_rules",
    )  # fmt: skip

    def __init__(
        self,
        handler_factory: Callable[[], StreamHandler],
        rules: WebSocketRules,
        on_refused: Callable[[Link, LockgateError], str],
        partials: Partials | None = None,
    ) -> None:
        self._handler = handler_factory()
        self._partials = partials
        self._rules = rules
        self._on_refused = on_refused
        self._protocol = upgrade.server_protocol(rules.upgrade, rules.max_first_message_bytes)
        self._link: Link
        self._failure: LockgateError | None = None
        self._first_bytes = b""
        self._handshake_bytes = 0
        self._is_over = False
        self._is_unread = False  # the peer does not read what is sent to it
        self._is_reading = True
        self._is_held_by_door = False
        self._is_held_by_pongs = False

    # What the door uses, through its link.

    def write(self, data: bytes) -> None:
        """Send `data` as one binary frame; before the handshake and after the end nothing is sent."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return
        protocol.send_binary(data)
        self._link.write(b"".join(protocol.data_to_send()))
        if data[0] & 0xF0 == self._rules.first_answer:
            protocol.max_message_size = self._rules.max_message_bytes

    def close(self, text: str) -> None:
        """Say goodbye with a close frame, then end the link below in order."""
        self._close(CloseCode.NORMAL_CLOSURE, text)

    def abort(self) -> None:
        """End at once."""
        self._is_over = True
        self._link.abort()

    def hold(self, is_held: bool) -> None:
        """Stop reading for the door, or go on."""
        self._is_held_by_door = is_held
        self._read_or_not()

    # What the link below calls.

    def connection_made(self, link: Link) -> None:
        """Begin: the door's deadline runs from here."""
        self._link = link
        self._handler.connection_made(_DoorLink(self, link))

    def data_received(self, data: bytes) -> None:
        """Take the handshake, then frames."""
        if self._is_over:
            return
        if self._protocol.state is State.CONNECTING:
            self._receive_handshake(data)
        else:
            self._receive_frames(data)

    def eof_received(self) -> None:
        """Pass on that the peer sends no more."""
        if not self._is_over:
            self._handler.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the peer reads too slowly."""
        self._is_unread = True
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer has read enough."""
        self._is_unread = self._is_held_by_pongs = False
        self._read_or_not()
        self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on the end, with what was wrong with the peer's frames."""
        self._is_over = True
        if self._partials is not None:
            self._partials.drop(self)
        self._handler.connection_lost(error or self._failure)

    # What bounds unfinished frames calls.

    def break_off(self, error: LockgateError) -> None:
        """End a connection for a frame that has begun and does not come."""
        self._failure = error
        self._close(CloseCode.TRY_AGAIN_LATER, _with_reference(error.reason, self._on_refused(self._link, error)))

    def is_held(self) -> bool:
        """Say whether the hub itself has stopped reading: then the peer cannot finish."""
        return self._is_held_by_door

    # The handshake.

    def _receive_handshake(self, data: bytes) -> None:
        protocol = self._protocol
        self._first_bytes = self._first_bytes or data[:1]
        room = self._rules.max_handshake_bytes - self._handshake_bytes
        self._handshake_bytes += len(data)
        protocol.receive_data(data[:room])
        events = protocol.events_received()
        try:
            if not self._first_bytes.isalpha():  # no method of HTTP begins so: the library would wait for a line's end
                raise upgrade.no_http(self._first_bytes)
            if events:
                # RFC 6455 section 4.1: nothing may follow the request before it is answered.
                if len(events) > 1 or protocol.eof_sent or len(data) > room:
                    raise UpgradeRefused("The client sent frames before its handshake was answered.")
                response = upgrade.accept(protocol, cast(Request, events[0]), self._rules.upgrade)
                protocol.send_response(response)
                self._send()
            elif protocol.handshake_exc is not None:
                too_long = b"".join(protocol.data_to_send())  # a request line or header, for the library's taste
                raise (
                    upgrade.too_large(self._rules.max_handshake_bytes)
                    if too_long
                    else upgrade.no_http(self._first_bytes)
                )
            elif len(data) > room:
                raise upgrade.too_large(self._rules.max_handshake_bytes)
        except UpgradeRefused as refused:
            self._refuse_handshake(refused)

    def _refuse_handshake(self, refused: UpgradeRefused) -> None:
        self._failure = refused
        reference = self._on_refused(self._link, refused)
        self._is_over = True
        self._link.write(upgrade.rejection(self._protocol, refused, reference).serialize())
        self._link.close()

    # Frames.

    def _receive_frames(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        payloads: list[bytes] = []
        is_text = False
        events = protocol.events_received()
        if self._partials is not None:
            self._partials.hold(self, len(protocol.reader.buffer), is_new=bool(events))
            if self._is_over:
                return
        for event in events:
            frame = cast(Frame, event)
            if frame.opcode is Opcode.TEXT:
                is_text = True  # [MQTT-6.0.0-1]
                break
            if frame.opcode in (Opcode.BINARY, Opcode.CONT) and frame.data:
                payloads.append(bytes(frame.data))
        if payloads:
            self._handler.data_received(payloads[0] if len(payloads) == 1 else b"".join(payloads))
            if self._is_over:
                return
        if is_text:
            self._refuse_frames(CloseCode.UNSUPPORTED_DATA, "a text frame came: MQTT needs binary frames")
        elif protocol.parser_exc is not None:
            self._refuse_frames(None, str(protocol.parser_exc))
        elif protocol.state is not State.OPEN:  # the peer's close frame; the answer to it waits
            self._send()
            self._handler.eof_received()
            self._close(None)
        elif self._send() and self._is_unread:
            # Pongs for a peer that does not read: it is not read either until it does.
            self._is_held_by_pongs = True
            self._read_or_not()

    def _refuse_frames(self, code: CloseCode | None, text: str) -> None:
        sent = self._protocol.close_sent
        is_large = sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG
        if is_large:
            fix = "Send smaller packets, or raise mqtt.max_packet_bytes (for CONNECT: mqtt.max_connect_bytes)."
            error = LockgateError(text, reason="WebSocket message too large", fix=fix, step=Step.LIMIT)
        else:
            fix = "Use another client library, or look for what changes bytes between client and hub."
            error = LockgateError(text, reason="WebSocket protocol error", fix=fix, step=Step.PROTOCOL)
        self._failure = error
        self._close(code, _with_reference(text, self._on_refused(self._link, error)))

    # The parts.

    def _close(self, code: CloseCode | None, text: str = "") -> None:
        """Send a close frame, if none is sent yet, and end the link below."""
        if self._is_over:
            return
        self._is_over = True
        protocol = self._protocol
        if code is not None and protocol.state is State.OPEN:
            protocol.send_close(code, _fitted(text))
        if protocol.state is not State.CONNECTING:
            self._send()
        self._link.close()

    def _send(self) -> bool:
        """Send what the library holds; say whether that was anything."""
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._link.write(data)
        return bool(data)

    def _read_or_not(self) -> None:
        shall_read = not (self._is_held_by_door or self._is_held_by_pongs)
        if shall_read and not self._is_reading:
            self._is_reading = True
            self._link.resume_reading()
        elif not shall_read and self._is_reading:
            self._is_reading = False
            self._link.pause_reading()


class _DoorLink(Link):
    """What the door's handler sees of a `WebSocketLink`."""

    __slots__ = ("_below", "_socket")

    def __init__(self, socket: WebSocketLink, below: Link) -> None:
        self._socket = socket
        self._below = below

    @property
    def peer(self) -> Address:
        return self._below.peer

    @property
    def protection(self) -> Protection | None:
        return self._below.protection

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        return self._below.peer_certificate

    @property
    def server_name(self) -> str | None:
        return self._below.server_name

    @property
    def is_name_covered(self) -> bool:
        return self._below.is_name_covered

    def write(self, data: bytes) -> None:
        self._socket.write(data)

    def close(self, text: str = "") -> None:
        self._socket.close(text)

    def abort(self) -> None:
        self._socket.abort()

    def pause_reading(self) -> None:
        self._socket.hold(True)

    def resume_reading(self) -> None:
        self._socket.hold(False)

    def write_buffer_bytes(self) -> int:
        return self._below.write_buffer_bytes()


def _with_reference(text: str, reference: str) -> str:
    return f"{text} (reference {reference})"


def _fitted(text: str) -> str:
    """Give a reason that a close frame has room for, with its end, where the reference stands."""
    data = text.encode()
    if len(data) <= _MAX_REASON_BYTES:
        return text
    room = _MAX_REASON_BYTES - _MAX_END_BYTES
    return (data[:room] + data[-_MAX_END_BYTES:]).decode("utf-8", "ignore")
