"""Devices that protect each message by itself (OSCORE): who they are comes with the message, and not with the link.

Behind one link may be several of them (a proxy's), and one of them may come by several links (it moved, or is seen
through another address of a NAT). Each device on each link is a `Guest`: a connection with its own session,
observations and bodies, which shares the link's message layer.

    outer request --Contexts.opened--> Guest, as if it came by a link of its own --protect--> outer answer

What a message proves is its device, and that it is no repeat. It does not prove the address that it came from: whoever
caught it on the way can send it on from any. So until a device has repeated, inside, a challenge that was sent to its
address (Echo), nothing goes there that is longer than three times what came, and no notification.

Source: RFC 8613 section 8; RFC 9175 sections 2.3 and 2.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

from cryptography import x509

from lockgate.adapters.coap import mapping
from lockgate.adapters.coap.exchange import KNOWN_OPTIONS, OSCORE, Event, Request, sift
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Options
from lockgate.adapters.coap.oscore import Asked, Challenged, Contexts, Refused
from lockgate.adapters.coap.server import CoapConnection, CoapDoor
from lockgate.adapters.coap.strangers import MAX_AMPLIFICATION
from lockgate.adapters.coap.wire import encode_parts
from lockgate.errors import LockgateError, QuotaExceeded, Unavailable
from lockgate.identity import Credentials
from lockgate.net.datagrams import DatagramLink
from lockgate.net.link import Address
from lockgate.net.tls import Protection
from lockgate.registry.journal import Peer, cited

PROTECTION: Final = Protection("OSCORE", "AES-CCM-16-64-128")
INNER_OPTIONS: Final = KNOWN_OPTIONS - {OptionNumber.PROXY_URI, OptionNumber.PROXY_SCHEME}
"""What is understood inside: not what is for proxies, which could not read it (RFC 8613 section 4.1)."""
MOVED: Final = "its device uses its OSCORE context from too many addresses"
_ECHO: Final = 252
_OBSERVE: Final = 6
_GET: Final = 1
_FETCH: Final = 5
_ERRORS: Final = 128


@final
class GuestLink(DatagramLink):
    """The part of a link that is one device's: it closes by itself, and sends by the whole."""

    __slots__ = ("_close", "_outer")

    def __init__(self, outer: DatagramLink, close: Callable[[], None]) -> None:
        self._outer = outer
        self._close = close

    @property
    def peer(self) -> Address:
        """Where the peer sends from, or a proxy of its."""
        return self._outer.peer

    @property
    def protection(self) -> Protection | None:
        """How each message is protected."""
        return PROTECTION

    @property
    def psk_identity(self) -> bytes | None:
        """None: the link proves nothing about the device."""
        return None

    @property
    def raw_public_key(self) -> bytes | None:
        """None, likewise."""
        return None

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """None, likewise."""
        return None

    def send(self, data: bytes) -> None:
        """Send a datagram of the whole link."""
        self._outer.send(data)

    def close(self) -> None:
        """End this device's part; its handler hears `link_lost(None)` soon."""
        self._close()


@final
class Guest(CoapConnection):
    """One device on one link.

    Args:
        door: where it comes in.
        host: the link's connection.
        leave: takes it off the link.
    """

    def __init__(self, door: CoapDoor, host: CoapConnection, leave: Callable[[], None]) -> None:
        super().__init__(door, host.message_layer(), self._protected)
        self._host = host
        self._asked: dict[tuple[int, bytes], tuple[Asked, int]] = {}
        self._observed: dict[bytes, Asked] = {}
        self._place_proven_until = 0.0
        self.link = GuestLink(host.link, leave)

    def admit(self, asked: Asked) -> None:
        """Begin: the device of a request that was opened comes in, or hears why not."""
        self._door.connections.add(self)
        try:
            self._admit(
                Credentials(
                    "", host=self.link.peer.host, oscore_id=asked.device_id, suffix=self._door.next_suffix()
                )
            )  # fmt: skip
        except LockgateError as error:
            self._refusal = self._refused(error)

    def take(self, asked: Asked, size: int, now: float) -> None:
        """Answer a request that was opened; outside it had `size` bytes."""
        try:
            self._take(asked, size, now)
            self.flush()
        except Exception:
            self._unexpected()

    def _take(self, asked: Asked, size: int, now: float) -> None:
        door, request = self._door, asked.request
        self._asked[request.message_id, request.token] = asked, size
        peer, echo = self.link.peer, request.option(_ECHO)
        if asked.is_place_proven or (echo is not None and door.proof.is_repeated(echo, peer.host, peer.port, now)):
            self._place_proven_until = now + door.settings.echo_lifetime_seconds
        options, bad = sift(request.options, INNER_OPTIONS)
        if bad:
            text = f"option {bad} is critical, and not known or not well-formed here"
            self._reply(request, Code.BAD_OPTION, (), text.encode(), now)
            return
        if options is not request.options:
            request = request.with_(options, request.payload)
        if request.number(_OBSERVE) == mapping.REGISTER and not self._is_place_proven(now):
            self._challenge(request, now)
            return
        self._act(request, size, now)

    def lost(self) -> None:
        """It is off the link."""
        self.link_lost(None)

    def handle_timer(self, now: float) -> None:
        """Do what it is time for; the messages are the host's."""
        self._due = None
        if self._is_over:
            return
        try:
            self._handle_own_timers(now)
            self.flush()
        except Exception:
            self._unexpected()

    def flush(self) -> None:
        """Send what was gathered."""
        self._host.flush()
        self._wait(None)

    def _reply(self, request: CoapMessage, code: int, options: Options, payload: bytes, now: float) -> None:
        """Answer as the device wants it, protected, and no longer than its address has a right to."""
        waiting = self._asked.pop((request.message_id, request.token), None)
        if waiting is None:
            return
        asked, size = waiting
        if asked.is_waived(code):
            self._protocol.waive(asked.outer, now)
            return
        if not self._is_place_proven(now) and _size(request, options, payload) > MAX_AMPLIFICATION * size:
            payload = b""
            if code < _ERRORS and request.code in (_GET, _FETCH):
                code, options = Code.UNAUTHORIZED, self._echo(now)
        answer = asked.protect(code, options, payload)
        if any(number == _OBSERVE for number, _ in options):
            self._remember(request.token, asked)
        self._protocol.respond(asked.outer, *answer, now)

    def _join(self, device: str) -> None:
        """Not: what others ask of a device's own resources goes out as it is, and here nothing does."""

    def _remember(self, token: bytes, asked: Asked) -> None:
        """Keep what the notifications to a token are protected with; forget those of observations that ended."""
        if len(self._observed) > 2 * self._door.settings.max_observations:
            self._observed = {each: kept for each, kept in self._observed.items() if each in self._observer}
        self._observed[token] = asked

    def _protected(self, token: bytes, code: int, options: Options, payload: bytes) -> tuple[int, Options, bytes]:
        return self._observed[token].protect(code, options, payload)

    def _challenge(self, request: CoapMessage, now: float) -> None:
        self._reply(request, Code.UNAUTHORIZED, self._echo(now), b"", now)

    def _echo(self, now: float) -> Options:
        peer = self.link.peer
        return ((_ECHO, self._door.proof.challenge(peer.host, peer.port, now)),)

    def _is_place_proven(self, now: float) -> bool:
        return now < self._place_proven_until or self._host.link.protection is not None


@final
class ProtectedGuests:
    """The devices on one link.

    Args:
        door: where they come in.
        host: the link's connection.
        contexts: opens their messages.
        places: who is where, of the whole door.
    """

    def __init__(self, door: CoapDoor, host: CoapConnection, contexts: Contexts, places: Places) -> None:
        self._door = door
        self._host = host
        self._contexts = contexts
        self._places = places
        self._guests: dict[bytes, Guest] = {}

    def received(self, event: Request, size: int, now: float) -> None:
        """Open a request, and bring it to its device."""
        if event.is_repeated:  # it was answered; what it opens was used up
            return
        outer, peer = event.message, self._host.link.peer
        try:
            asked = self._contexts.opened(outer, peer.host, peer.port)
        except Challenged as again:
            self._host.message_layer().respond(outer, again.code, again.options, again.payload, now)
            return
        except Refused as refused:
            self._refuse(outer, refused, size, now)
            return
        self._guest(asked).take(asked, size, now)

    def settled(self, event: Event, now: float) -> None:
        """Tell all: a key is one's alone."""
        for guest in list(self._guests.values()):
            guest.settle(event, now)

    def end(self, error: LockgateError) -> None:
        """End all of them; what ended somebody else on the link is not their affair."""
        if not isinstance(error, Unavailable):
            error = Unavailable("the link was closed", reason="link closed", fix="ask again")
        for guest in list(self._guests.values()):
            guest.end(error)

    def part(self) -> None:
        """The link is gone."""
        for device_id in list(self._guests):
            self._leave(device_id)

    def is_empty(self) -> bool:
        """Say whether there is none."""
        return not self._guests

    def _guest(self, asked: Asked) -> Guest:
        device_id = asked.device_id
        guest = self._guests.get(device_id)
        if guest is None:
            guest = self._guests[device_id] = Guest(self._door, self._host, lambda: self._leave_soon(device_id))
            guest.admit(asked)
        self._places.note(device_id, guest)
        return guest

    def _leave_soon(self, device_id: bytes) -> None:
        guest = self._guests.pop(device_id, None)
        if guest is not None:
            self._places.forget(device_id, guest)
            self._door.call_soon(guest.lost)

    def _leave(self, device_id: bytes) -> None:
        guest = self._guests.pop(device_id)
        self._places.forget(device_id, guest)
        guest.lost()

    def _refuse(self, outer: CoapMessage, refused: Refused, size: int, now: float) -> None:
        """Say why a request was not opened, in as few bytes as an address may get that has proven nothing."""
        error, peer = refused.error, Peer("coap", self._host.link.peer, "", self._host.link.protection)
        reference = self._door.journal.refused_client(error, peer, refused.device, None)
        for text in (f"{refused.text}: {cited(error, reference)}", refused.text, ""):
            payload = text.encode()
            if _size(outer, refused.options, payload) <= MAX_AMPLIFICATION * size:
                break
        self._host.message_layer().respond(outer, refused.code, refused.options, payload, now)


@final
class Places:
    """From where each device uses its context: from so many links at once, and the quietest gives way.

    Args:
        max_places: of one device.
    """

    def __init__(self, max_places: int) -> None:
        self._max_places = max_places
        self._guests: dict[bytes, OrderedDict[Guest, None]] = {}

    def note(self, device_id: bytes, guest: Guest) -> None:
        """A device was heard; one place too many, and the one that was quiet the longest ends."""
        guests = self._guests.setdefault(device_id, OrderedDict())
        guests[guest] = None
        guests.move_to_end(guest)
        if len(guests) > self._max_places:
            quietest = next(iter(guests))
            quietest.end(QuotaExceeded(MOVED, fix="raise coap.max_oscore_addresses"))

    def forget(self, device_id: bytes, guest: Guest) -> None:
        """A guest has left."""
        guests = self._guests.get(device_id)
        if guests is not None:
            guests.pop(guest, None)
            if not guests:
                del self._guests[device_id]


def offer(door: CoapDoor, contexts: Contexts) -> None:
    """Have a door take OSCORE on each of its links."""
    places = Places(door.settings.max_oscore_addresses)
    door.known_options = KNOWN_OPTIONS | {OSCORE}
    door.new_guests = lambda host: ProtectedGuests(door, host, contexts, places)


def _size(request: CoapMessage, options: Options, payload: bytes) -> int:
    """Give how many bytes an answer takes, what protects it included."""
    return len(encode_parts(request.type, Code.CONTENT, 0, request.token, options, payload)) + OVERHEAD_BYTES


OVERHEAD_BYTES: Final = 18
"""At most: the OSCORE option with a number of the hub's (8), the code and a payload marker inside (2), the tag (8)."""
