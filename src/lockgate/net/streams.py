"""Links on the wires of a listener: one for plain text, one for TLS, and the desk that they share.

A closed link lingers: it sends its rest and a FIN, then drops what still comes until the peer ends too or the deadline
passes. Closing at once would answer bytes on their way with a reset, and a reset overtakes the alert or the CONNACK
that says why (RFC 9112 section 9.6 tells the same of HTTP).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, final

import structlog
from cryptography import x509
from OpenSSL import SSL

from lockgate.errors import Step
from lockgate.events import Event
from lockgate.net.context import TlsContexts
from lockgate.net.failures import TlsFailure, TlsReason, TlsRefused
from lockgate.net.handshakes import Handshakes
from lockgate.net.link import Address, NetLimits, StreamHandler, network_of
from lockgate.net.records import STEP_BYTES, Buffers
from lockgate.net.tls import Protection, TlsStream
from lockgate.net.turn import TURN
from lockgate.net.wires import Watch, Wire

log = structlog.get_logger()

_from_buffer: Final[Any] = SSL._ffi.from_buffer  # type: ignore[attr-defined]
_unpack: Final[Any] = SSL._ffi.unpack  # type: ignore[attr-defined]

_READ_BYTES: Final = 131_072
"""So much of one connection is read at once; when that was not all, the others have their turn. libuv's own is 8 MB."""
_FLUSH_BYTES: Final = STEP_BYTES
_ENDS_PER_TURN: Final = 16
"""A millisecond of work, about: a session rests or ends with its connection."""


@final
class Census:
    """How many connections there are, and from where: shared by all listeners that have one limit together."""

    def __init__(self) -> None:
        self.handshakes = Handshakes(asyncio.get_running_loop().call_soon)
        self.total = 0
        self._per_network: Counter[str] = Counter()

    def enter(self, network: str, limits: NetLimits) -> TlsFailure | None:
        """Count one more, or say which limit refuses it."""
        if self.total >= limits.max_connections:
            return _too_many(f"the hub already has {limits.max_connections} connections", "max_connections")
        if self._per_network[network] >= limits.max_connections_per_address:
            text = f"{network} already has {limits.max_connections_per_address} connections"
            return _too_many(text, "max_connections_per_address")
        self.total += 1
        self._per_network[network] += 1
        return None

    def leave(self, network: str) -> None:
        """Count one less."""
        self.total -= 1
        self._per_network[network] -= 1
        if not self._per_network[network]:
            del self._per_network[network]


@final
class Desk:
    """What the links of one listener share: who is in, the limits, where failures go, one flush per loop turn."""

    def __init__(
        self,
        handler_factory: Callable[[], StreamHandler],
        contexts: TlsContexts | None,
        limits: NetLimits,
        on_failure: Callable[[Address, TlsFailure], None],
        census: Census | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler_factory = handler_factory
        self.contexts = contexts
        self.limits = limits
        self.links: set[PlainLink] = set()
        self.accepted = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self._on_failure = on_failure
        self._census = census or Census()
        self.handshakes = self._census.handshakes
        self._dirty: list[TlsLink] = []
        self._ending: deque[tuple[PlainLink, Exception | None]] = deque()
        self.watch = Watch(self.loop, _READ_BYTES if contexts is None else STEP_BYTES)
        self.incoming: Any = _from_buffer(self.watch.room)
        self.buffers = Buffers()
        self._is_closed = False

    def take_in(self, number: int, peer: Address) -> None:
        """Take in a connection that has just come: the descriptor of a socket that does not block."""
        link = PlainLink(self, number, peer) if self.contexts is None else TlsLink(self, number, peer)
        link.connection_made()

    def enter(self, link: PlainLink) -> TlsFailure | None:
        """Let `link` in, or say which limit refuses it."""
        network = network_of(link.peer.host)
        refusal = self._census.enter(network, self.limits)
        if refusal is None and isinstance(link, TlsLink):
            refusal = self.handshakes.begin(link, network, self.limits, self.loop.time())
            if refusal is not None:
                self._census.leave(network)
        if refusal is None:
            self.links.add(link)
            self.accepted += 1
        return refusal

    def leave(self, link: PlainLink) -> None:
        """Forget `link`."""
        if link in self.links:
            self.links.remove(link)
            if isinstance(link, TlsLink):
                self.handshakes.end(link)
            self._census.leave(network_of(link.peer.host))
            if self._is_closed and not self.links:
                self.watch.close()

    def close(self) -> None:
        """Take nobody in any more: the watch ends with the last link."""
        self._is_closed = True
        if not self.links:
            self.watch.close()

    def report(self, peer: Address, failure: TlsFailure) -> None:
        """Tell the listener's owner that `peer` was refused or gave up."""
        try:
            self._on_failure(peer, failure)
        except Exception as error:
            log_unexpected(error, peer)

    def flush_soon(self, link: TlsLink) -> None:
        """Have `link` send what it holds at the end of this turn of the loop."""
        if not self._dirty:
            TURN.ends_with(self._flush_all, self.loop.call_soon)
        self._dirty.append(link)

    def end_soon(self, link: PlainLink, error: Exception | None) -> None:
        """Have `link` tell its handler of the end: thousands may end at once, and a few do so in each turn."""
        if not self._ending:
            self.loop.call_soon(self._end_some)
        self._ending.append((link, error))

    def _end_some(self) -> None:
        for _ in range(min(_ENDS_PER_TURN, len(self._ending))):
            link, error = self._ending.popleft()
            link.end(error)
        if self._ending:
            self.loop.call_soon(self._end_some)

    def _flush_all(self) -> None:
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            link.flush()


def _too_many(text: str, setting: str) -> TlsFailure:
    fix = f"Look for clients that connect over and over, or raise net.{setting}."
    return TlsFailure(TlsReason.TOO_MANY_CONNECTIONS, text, fix, step=Step.TCP)


def log_unexpected(error: Exception, peer: Address) -> None:
    """Log an error that nobody foresaw, with a reference to find it by."""
    log.error(
        Event.UNEXPECTED_ERROR, reference=secrets.token_hex(4), address=str(peer), error=repr(error), exc_info=error
    )


class PlainLink(Wire):
    """A link in plain text; `TlsLink` changes what lies between wire and handler."""

    __slots__ = (
        "_desk",
        "_handler",
        "_has_peer_ended",
        "_is_closing",
        "_is_paused",
        "_peer",
        "_timer",
    )

    def __init__(self, desk: Desk, number: int, peer: Address) -> None:
        super().__init__(desk.watch, number)
        self._desk = desk
        self._handler: StreamHandler | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._is_paused = False
        self._has_peer_ended = False
        self._peer = peer

    @property
    def has_handler(self) -> bool:
        """Whether a door has this link in hand."""
        return self._handler is not None

    # What the door uses.

    @property
    def peer(self) -> Address:
        """Where the peer connects from."""
        return self._peer

    @property
    def protection(self) -> Protection | None:
        """None: nothing protects this link."""
        return None

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """None: there are no certificates in plain text."""
        return None

    @property
    def server_name(self) -> str | None:
        """None: there are no names in plain text."""
        return None

    @property
    def is_name_covered(self) -> bool:
        """True: no name was asked for."""
        return True

    def write(self, data: bytes) -> None:
        """Send `data`."""
        if not self._is_closing:
            self._desk.sent_bytes += len(data)
            self._send_out(data)

    def close(self, text: str = "") -> None:  # noqa: ARG002 - TCP and TLS have no words for it
        """Send what is written, say goodbye and end in order."""
        if not self._is_closing:
            self._say_goodbye()
            self._linger()
            self._desk.end_soon(self, None)

    def abort(self) -> None:
        """End at once."""
        self._is_closing = True
        self._cut(None)

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._is_paused and not self._is_closing:
            self._is_paused = True
            self._read_on(False)

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._is_paused:
            self._is_paused = False
            if not self._has_peer_ended and not self._is_gone():
                self._read_on(True)

    def write_buffer_bytes(self) -> int:
        """Say how many bytes wait to be sent."""
        return self._unsent_bytes()

    # What the wire calls.

    def connection_made(self) -> None:
        """Let the peer in, or refuse it by a limit."""
        refusal = self._desk.enter(self)
        if refusal:
            self.abort()
            self._desk.report(self.peer, refusal)
            return
        self._read_on(True)
        self._begin()

    def max_unsent_bytes(self) -> int:
        """Give the high-water mark."""
        return self._desk.limits.max_write_buffer_bytes

    def received(self, count: int) -> None:
        """Take what was read into the room of all: the first `count` bytes of it."""
        if not self._is_closing:
            self._desk.received_bytes += count
            self._take_in(count)

    def eof_received(self) -> None:
        """Tell the handler that the peer has ended, then close."""
        self._has_peer_ended = True
        if self._is_closing:
            self._end()
        else:
            self._peer_ended()

    def pause_writing(self) -> None:
        """Pass on that the peer reads too slowly."""
        if self._handler and not self._is_closing:
            self._call(self._handler.pause_writing)

    def resume_writing(self) -> None:
        """Pass on that the peer has read enough."""
        if self._handler and not self._is_closing:
            self._call(self._handler.resume_writing)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up behind the connection."""
        self._is_closing = True
        self._stop_timer()
        self._desk.leave(self)
        if self._handler is not None:
            self._desk.end_soon(self, exc)

    # The parts.

    def _begin(self) -> None:
        try:
            self._handler = self._desk.handler_factory()
            self._handler.connection_made(self)
        except Exception as error:
            self._fail(error)

    def _take_in(self, count: int) -> None:
        try:
            self._handler.data_received(_unpack(self._desk.incoming, count))  # type: ignore[union-attr]
        except Exception as error:
            self._fail(error)

    def _peer_ended(self) -> None:
        if self._handler:
            self._call(self._handler.eof_received)
        self.close()

    def _say_goodbye(self) -> None:
        self._is_closing = True

    def _linger(self) -> None:
        if self._is_gone():
            return
        self._stop_timer()
        self._timer = self._desk.loop.call_later(self._desk.limits.close_deadline_seconds, self._cut, None)
        self.resume_reading()
        if self._has_peer_ended:
            self._end()
        else:
            self._shut()

    def end(self, error: Exception | None) -> None:
        """Tell the handler, if nobody has yet."""
        handler, self._handler = self._handler, None
        if handler:
            try:
                handler.connection_lost(error)
            except Exception as unexpected:
                log_unexpected(unexpected, self.peer)
            self._forget()

    def _forget(self) -> None:
        """Give back what only a live connection needs."""

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        log_unexpected(error, self.peer)
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


@final
class TlsLink(PlainLink):
    """A link under TLS; its handler is made when the handshake is done."""

    __slots__ = ("_begun", "_early", "_protection", "_queue", "_queued_bytes", "_undrained_bytes")

    def __init__(self, desk: Desk, number: int, peer: Address) -> None:
        super().__init__(desk, number, peer)
        self._begun: TlsStream | None = None
        self._protection: Protection | None = None
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._undrained_bytes = 0
        self._early = b""

    @property
    def _stream(self) -> TlsStream:
        """The TLS of this link, made when its first bytes have their turn: in a storm thousands come in at once."""
        if self._begun is None:
            assert self._desk.contexts is not None
            self._begun = TlsStream(self._desk.contexts.current, self._desk.buffers)
        return self._begun

    @property
    def protection(self) -> Protection | None:
        """How TLS protects this link."""
        if self._protection is None:
            self._protection = self._stream.protection()
        return self._protection

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The client's verified certificate, None when it showed none."""
        return self._stream.peer_certificate()

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for (SNI), None when it asked for none."""
        return self._stream.server_name

    @property
    def is_name_covered(self) -> bool:
        """Whether the server certificate holds that name."""
        return self._stream.is_name_covered

    def write(self, data: bytes) -> None:
        """Keep `data` for the end of the loop's turn, then encrypt all of it at once."""
        if self._is_closing:
            return
        if not self._queue:
            self._desk.flush_soon(self)
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._queued_bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Encrypt and send what is kept."""
        queue, self._queue = self._queue, []
        self._queued_bytes = 0
        if self._is_gone():
            return
        plaintext = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            for start in range(0, len(plaintext), _FLUSH_BYTES):
                self._send(self._stream.sealed(plaintext[start : start + _FLUSH_BYTES]))
        except TlsRefused as refused:
            self._refuse(refused)
            return
        if self._begun is not None and self._begun.has_last_words:
            self._send_ciphertext()

    def resume_reading(self) -> None:
        """Go on reading: the peer's end, if it is the next thing to hear."""
        super().resume_reading()
        if not self._is_closing and self._stream.is_closed:
            self._desk.loop.call_soon(self._end_with_peer)

    def write_buffer_bytes(self) -> int:
        """Say how many bytes wait to be sent, encrypted or not."""
        return self._queued_bytes + self._unsent_bytes()

    def shake_on(self) -> None:
        """Go on with a handshake whose turn it is again."""
        early, self._early = self._early, b""
        if not self._is_closing:
            self.resume_reading()
            self._decrypt(_from_buffer(early), len(early))

    def give_way(self, failure: TlsFailure) -> None:
        """End a handshake for others' sake."""
        if not self._is_closing:
            self.abort()
            self._desk.report(self.peer, failure)

    def _take_in(self, count: int) -> None:
        if self._handler is not None or self._desk.handshakes.may_go_on(self):
            self._decrypt(self._desk.incoming, count)
        else:
            self._early = _unpack(self._desk.incoming, count)
            self.pause_reading()

    def _decrypt(self, sealed: Any, count: int) -> None:
        try:
            plaintext = self._stream.receive_from(sealed, count)
        except TlsRefused as refused:
            self._refuse(refused)
            return
        if self._handler is None:
            if plaintext:  # what the handshake ends with (a ticket) leaves with the answer, or with this turn
                self._desk.flush_soon(self)
            else:
                self._send_ciphertext()
            if self._stream.is_established or plaintext:
                self._establish()
        if plaintext and self._handler and not self._is_closing:
            try:
                self._handler.data_received(plaintext)
            except Exception as error:
                self._fail(error)
        if self._stream.is_closed and not self._is_closing:
            self._end_with_peer()
            return
        # Answers to key updates leave with the next write; a peer that sends nothing else must not pile them up.
        self._undrained_bytes += count
        if (not plaintext or self._undrained_bytes > _FLUSH_BYTES) and not self._is_closing:
            self._send_ciphertext()

    def _forget(self) -> None:
        # A door's connection and its parts hold each other, and this link, until the collector comes by: OpenSSL's
        # 30 KB are not to wait for that.
        if self._is_closing:
            self._begun = None

    def _end_with_peer(self) -> None:
        # As with a FIN, which is not read either: a door that is not to hear anything yet does not hear of the end,
        # and still sends what it owes for what came before it.
        if not self._is_paused and not self._is_closing:
            self._peer_ended()

    def _begin(self) -> None:
        deadline_seconds = self._desk.limits.handshake_deadline_seconds
        self._timer = self._desk.loop.call_later(deadline_seconds, self._time_out)

    def _establish(self) -> None:
        self._stop_timer()
        self._desk.handshakes.end(self)
        super()._begin()

    def _time_out(self) -> None:
        self._timer = None
        self.abort()
        failure = self._stream.failure_by_timeout(self._desk.limits.handshake_deadline_seconds)
        self._desk.report(self.peer, failure)

    def _refuse(self, refused: TlsRefused) -> None:
        self._is_closing = True
        is_handshake = self._handler is None
        self._send_ciphertext()  # the alert
        self._linger()
        if is_handshake:
            self._desk.report(self.peer, refused.failure)
        else:
            self._desk.end_soon(self, refused)

    def _peer_ended(self) -> None:
        if self._handler is None and not self._stream.is_established:
            self._report_leaving()
        super()._peer_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up; a handshake that was cut short is reported."""
        if not self._is_closing and self._handler is None:
            self._report_leaving()
        super().connection_lost(exc)

    def _report_leaving(self) -> None:
        self._is_closing = True
        self._desk.report(self.peer, self._stream.failure_by_leaving())
        self._linger()

    def _say_goodbye(self) -> None:
        self.flush()
        self._is_closing = True
        self._stream.close()
        self._send_ciphertext()

    def _send_ciphertext(self) -> None:
        self._send(self._stream.data_to_send())

    def _send(self, ciphertext: bytes) -> None:
        self._undrained_bytes = 0
        if ciphertext and not self._is_gone():
            self._desk.sent_bytes += len(ciphertext)
            self._send_out(ciphertext)
