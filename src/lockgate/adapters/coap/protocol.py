"""One link's CoAP message layer as a state machine: datagrams and time in, requests and datagrams out. No socket.

Theory of operation. A request that comes is remembered by its message id until nobody can repeat it any more; a repeat
is answered with what the first got, and acts no second time. The driver answers with `respond`: at once, in the
acknowledgement (piggybacked); or later, after `acknowledge` or after `separate_after_seconds`, in a confirmable message
of our own. What we send confirmably (such responses, notifications, requests of our own) is sent again until the peer
acknowledges or resets it, `nstart` of them at a time; the others wait in their order, responses before notifications.

    a request that came:   NEW --respond--> ANSWERED --time--> forgotten
                            |--acknowledge, time--> ACKNOWLEDGED --respond--> ANSWERED

    one of our own:        WAITING --turn--> IN FLIGHT --ACK--> Acknowledged, or the Response in it
                                      |  ^  |--RST----> Reset
                                      +--+  +--time---> GaveUp      (sent again max_retransmit times)
                                      time

What is full: a message that comes while `max_exchanges` are unanswered is dropped (its sender repeats it); else the
oldest that is answered is forgotten for it. A notification for which no room is left replaces the oldest waiting one of
its observation, or is itself dropped: `notify` says which.

Source: RFC 7252 sections 4, 5.2, 5.4 and 8; RFC 7641 sections 4.4 and 4.5; RFC 7967.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.exchange import (
    KNOWN_OPTIONS,
    NO_KEY,
    NOTIFICATION,
    REQUEST,
    RESPONSE,
    Acknowledged,
    Asked,
    Event,
    Exchange,
    GaveUp,
    Outgoing,
    Request,
    Reset,
    Response,
    sift,
    unacceptable,
)
from lockgate.adapters.coap.flight import NEVER, Flight
from lockgate.adapters.coap.messages import CoapFormatError, CoapMessage, Options
from lockgate.errors import QuotaExceeded
from lockgate.settings import CoapSettings

MAX_LATENCY_SECONDS: Final = 100.0
"""How long a datagram may be under way (section 4.8.2)."""
KEPT_ANSWER_BYTES: Final = 256
"""The longest answer to a GET or FETCH that is kept for a repeat; longer ones are made again (section 4.5)."""
MAX_LATER: Final = 16
"""How many answers to multicast may wait for their moment; further ones are dropped."""
SWEEP_SECONDS: Final = 10.0
"""How far apart in time expired exchanges are swept out, at least."""
OBSERVE_NUMBERS: Final = 1 << 24

# Plain numbers, because an attribute of an enum costs a look-up in the hot functions.
_CON: Final = 0
_NON: Final = 1
_ACK: Final = 2
_RST: Final = 3
_EMPTY: Final = 0
_GET: Final = 1
_FETCH: Final = 5
_METHODS_END: Final = 32
_CONTENT: Final = 69
_ALL_CLASSES: Final = 0b11111
_BAD_OPTION: Final = 130
_PROXYING_NOT_SUPPORTED: Final = 165
_OBSERVE: Final = 6
_OSCORE: Final = 9
_PROXY_URI: Final = 35
_PROXY_SCHEME: Final = 39
_NO_RESPONSE: Final = 258


@final
class CoapProtocol:
    """One link's message layer.

    Args:
        settings: the door's.
        now: monotonic seconds, as for every method here.
        message_id: the first of our own, at random (section 4.4).
        random: gives a number from 0 up to 1.
        known: the options that the driver understands.
    """

    def __init__(
        self,
        settings: CoapSettings,
        now: float,
        message_id: int,
        random: Callable[[], float],
        known: frozenset[int] = KNOWN_OPTIONS,
    ) -> None:
        self.failure: CoapFormatError | None = None
        """What was wrong with the last datagram that could not be read."""
        self.malformed_number: int = 0
        """How many datagrams could not be read."""
        self.repeated_number: int = 0
        """How many messages came more than once."""
        self.dropped_number: int = 0
        """How many messages came and found no room, and how many answers to multicast."""
        self.heard_at: float = now
        self.is_terse: bool = False
        """Whether the peer's address has proven nothing: a refusal with words would be more than it sent."""
        self._known: frozenset[int] = known
        self._random: Callable[[], float] = random
        self._ack_after: float = settings.separate_after_seconds
        self._leisure: float = settings.multicast_leisure_seconds
        self._max_exchanges: int = settings.max_exchanges
        span = settings.ack_timeout_seconds * float((1 << settings.max_retransmit) - 1) * settings.ack_random_factor
        self._non_lifetime: float = span + MAX_LATENCY_SECONDS  # section 4.8.2, as the next
        self._lifetime: float = span + 2 * MAX_LATENCY_SECONDS + settings.ack_timeout_seconds
        self._flight: Flight = Flight(settings, message_id, random)
        self._observe: int = 1
        self._received: dict[int, Exchange] = {}
        self._unanswered: int = 0
        self._sent: dict[int, tuple[int, bytes]] = {}
        self._sent_until: float = 0.0
        self._asked: dict[bytes, Asked] = {}
        self._later: list[tuple[float, bytes]] = []
        self._ack_at: float = NEVER
        self._sweep_at: float = NEVER

    # What comes in

    def receive_datagram(self, data: bytes, now: float, is_multicast: bool = False) -> list[Event]:
        """Take a datagram of the peer; give what it means."""
        self.heard_at = now
        try:
            message = wire.decode(data)
        except CoapFormatError as error:
            self.failure = error
            self.malformed_number += 1
            if error.type == _CON and not is_multicast:  # section 4.2; the others are rejected in silence
                self._flight.out.append(wire.empty(_RST, error.message_id))
            return []
        kind, code = message.type, message.code
        if kind in (_ACK, _RST):
            return self._take_settled(message, now)
        if code == _EMPTY:
            if kind == _CON and not is_multicast:  # a ping (section 4.3); an Empty NON is rejected in silence
                self._flight.out.append(wire.empty(_RST, message.message_id))
            return []
        if code < _METHODS_END:
            return self._take_request(message, now, is_multicast)
        return self._take_response(message, now, is_multicast)

    def _take_request(self, message: CoapMessage, now: float, is_multicast: bool) -> list[Event]:
        is_confirmable = message.type == _CON
        if is_multicast and is_confirmable:  # section 8.1: multicast requests MUST be Non-confirmable
            return []
        is_repeated = False
        known = self._received.get(message.message_id)
        if known is not None and now < known.expires_at and known.token == message.token and known.code == message.code:
            self.repeated_number += 1
            if known.answer:  # section 4.5: the same acknowledgement again
                self._flight.out.append(known.answer)
            if not known.is_answered or known.answer or not is_confirmable:
                return []
            is_repeated = True
        no_response = 0
        if message.options:
            message, no_response = self._sifted(message)
            if no_response < 0:
                self._refuse_option(message, -no_response, is_multicast)
                return []
        if not self._remember(message, now, is_multicast, no_response):
            self.dropped_number += 1
            return []
        return [Request(message, is_repeated, is_multicast)]

    def _sifted(self, message: CoapMessage) -> tuple[CoapMessage, int]:
        """Give the message with the options that count, and its No-Response; minus the option that forbids it."""
        options = message.options
        if unacceptable(options, self._known):
            options, bad = sift(options, self._known)
            if bad:
                return message, -bad
            message = message.with_(options, message.payload)
        if options and options[-1][0] >= _PROXY_URI:
            for number, value in options:
                if number in (_PROXY_URI, _PROXY_SCHEME):
                    return message, -number
                if number == _NO_RESPONSE:
                    return message, wire.decode_uint(value)
        return message, 0

    def _refuse_option(self, message: CoapMessage, number: int, is_multicast: bool) -> None:
        """Answer a request with a critical option that is not known (section 5.4.1), or that asks for a proxy."""
        is_proxy = number in self._known and number in (_PROXY_URI, _PROXY_SCHEME)
        if message.type == _CON:
            if is_proxy:  # section 5.10.2
                code, text = _PROXYING_NOT_SUPPORTED, "this is no proxy"
            else:
                code, text = _BAD_OPTION, f"option {number} is critical, and not known or not well-formed here"
            said = b"" if self.is_terse else text.encode()
            self._flight.out.append(wire.encode_parts(_ACK, code, message.message_id, message.token, (), said))
        elif not is_multicast:  # section 8.1: no Reset for what came by multicast
            self._flight.out.append(wire.empty(_RST, message.message_id))

    def _remember(self, message: CoapMessage, now: float, is_multicast: bool, no_response: int) -> bool:
        """Remember a request; say whether there is room for it."""
        received = self._received
        message_id = message.message_id
        is_confirmable = message.type == _CON
        known = received.pop(message_id, None)
        if known is not None and not known.is_answered:
            self._unanswered -= 1
        if len(received) >= self._max_exchanges and not self._make_room():
            return False
        lifetime = self._lifetime if is_confirmable else self._non_lifetime
        ack_at = now + self._ack_after
        received[message_id] = Exchange(
            message.code, message.token, is_confirmable, is_multicast, no_response, now + lifetime, ack_at
        )
        self._unanswered += 1
        if is_confirmable and ack_at < self._ack_at:
            self._ack_at = ack_at
        if self._sweep_at == NEVER:
            self._sweep_at = now + lifetime
        return True

    def _make_room(self) -> bool:
        """Forget the oldest exchange that is answered, or needs no answer; say whether there was one."""
        for message_id, exchange in self._received.items():
            if exchange.is_answered:
                del self._received[message_id]
                return True
            if not (exchange.is_confirmable or exchange.is_multicast):
                self._unanswered -= 1
                del self._received[message_id]
                return True
        return False

    def _take_response(self, message: CoapMessage, now: float, is_multicast: bool) -> list[Event]:
        if is_multicast:  # responses are unicast (section 8.2)
            return []
        message_id = message.message_id
        is_confirmable = message.type == _CON
        known = self._received.get(message_id)
        if known is not None and now < known.expires_at and known.token == message.token and known.code == message.code:
            self.repeated_number += 1
            if is_confirmable and known.answer:
                self._flight.out.append(known.answer)
            return []
        asked = self._asked.get(message.token)
        options, bad = sift(message.options, self._known)
        if asked is None or bad:  # sections 4.2 and 5.4.1: rejected; a NON in silence
            if is_confirmable:
                self._flight.out.append(wire.empty(_RST, message_id))
            return []
        if not self._remember(message, now, False, 0):
            self.dropped_number += 1
            return []
        exchange = self._received[message_id]
        exchange.is_answered = True
        self._unanswered -= 1
        if is_confirmable:
            exchange.answer = wire.empty(_ACK, message_id)
            self._flight.out.append(exchange.answer)
        self._end_request(message.token, now)  # section 5.2.2: it says as well that the request came
        return [Response(message if options is message.options else message.with_(options, message.payload), asked.key)]

    def _end_request(self, token: bytes, now: float) -> None:
        """A request of our own is answered: it is not sent again."""
        self._asked.pop(token, None)
        self._flight.end_request(token, now)

    def _take_settled(self, message: CoapMessage, now: float) -> list[Event]:
        """Handle an acknowledgement or a Reset."""
        message_id = message.message_id
        outgoing = self._flight.find(message_id)
        if outgoing is None:
            sent = self._sent.pop(message_id, None) if message.type == _RST else None
            if sent is None:  # section 4.2: of nothing that is known, silently ignored
                return []
            key, token = sent
            return [Reset(key, token), *self._flight.abandon(token)]
        if message.type == _RST:
            self._flight.land(outgoing)
            events: list[Event] = [Reset(outgoing.key, outgoing.token)] if _is_asked_after(outgoing) else []
            events += self._given_up(outgoing)
            self._flight.start_next(now)
            return events
        if message.code == _EMPTY:
            self._flight.land(outgoing)
            self._flight.start_next(now)
            if outgoing.role == REQUEST:  # its response comes separately
                return []
            return [Acknowledged(outgoing.key, outgoing.token)] if outgoing.key != NO_KEY else []
        if message.code < _METHODS_END or outgoing.role != REQUEST or outgoing.token != message.token:
            return []  # sections 4.2 and 5.3.2
        options, bad = sift(message.options, self._known)
        if bad:
            return []
        self._end_request(outgoing.token, now)
        return [
            Response(message if options is message.options else message.with_(options, message.payload), outgoing.key)
        ]

    # What goes out

    def respond(self, request: CoapMessage, code: int, options: Options, payload: bytes, now: float) -> None:
        """Answer a request: in its acknowledgement if that is still to be sent, else in a message of our own.

        Nothing goes out that No-Response waives (RFC 7967), and no error for what came by multicast (section 8.2).
        """
        exchange = self._received.get(request.message_id)
        if exchange is None or exchange.token != request.token:
            exchange = None
            no_response = request.number(_NO_RESPONSE) or 0
        elif exchange.is_answered:
            return
        else:
            exchange.is_answered = True
            self._unanswered -= 1
            if not self._unanswered:
                self._ack_at = NEVER
            no_response = exchange.no_response
            if exchange.is_multicast:
                if code < 128:
                    self._answer_later(request, code, options, payload, no_response, now)
                return
        is_waived = no_response != 0 and no_response >> ((code >> 5) - 1) & 1 != 0
        if request.type == _NON:
            if not is_waived:
                message_id = self._flight.next_id()
                if _is_observed(options):
                    self._note_sent(message_id, NO_KEY, request.token, now)
                self._flight.out.append(wire.encode_parts(_NON, code, message_id, request.token, options, payload))
        elif exchange is not None and not exchange.is_acknowledged:
            exchange.is_acknowledged = True
            if is_waived:
                data = wire.empty(_ACK, request.message_id)
            else:
                data = wire.encode_parts(_ACK, code, request.message_id, request.token, options, payload)
            if len(data) <= KEPT_ANSWER_BYTES or not _may_be_made_again(request):
                exchange.answer = data
            self._flight.out.append(data)
        elif not is_waived:
            self._flight.answer(Outgoing(RESPONSE, request.token, code, options, payload, NO_KEY), now)

    def _answer_later(
        self, request: CoapMessage, code: int, options: Options, payload: bytes, no_response: int, now: float
    ) -> None:
        """Answer a multicast request within the leisure, so that not all nodes answer at once (section 8.2)."""
        if no_response >> ((code >> 5) - 1) & 1:
            return
        if len(self._later) >= MAX_LATER:
            self.dropped_number += 1
            return
        data = wire.encode_parts(_NON, code, self._flight.next_id(), request.token, options, payload)
        self._later.append((now + self._leisure * self._random(), data))

    def waive(self, request: CoapMessage, now: float) -> None:
        """Answer a request as if No-Response waived all there is to say: inside OSCORE it may waive unseen."""
        exchange = self._received.get(request.message_id)
        if exchange is not None and exchange.token == request.token:
            exchange.no_response = _ALL_CLASSES
            self.respond(request, _CONTENT, (), b"", now)

    def acknowledge(self, request: CoapMessage) -> None:
        """Acknowledge a request by itself: its answer comes later."""
        exchange = self._received.get(request.message_id)
        if exchange is not None and exchange.token == request.token:
            self._acknowledge(request.message_id, exchange)

    def _acknowledge(self, message_id: int, exchange: Exchange) -> None:
        if exchange.is_confirmable and not exchange.is_acknowledged:
            exchange.is_acknowledged = True
            exchange.answer = wire.empty(_ACK, message_id)
            self._flight.out.append(exchange.answer)

    def next_observe_number(self) -> int:
        """Give the next value of Observe: one counter for all of the link's observations, so it grows in each.

        Source: RFC 7641 section 4.4: it must not grow by 2^23 within 128 seconds, which takes 65,536 a second.
        """
        self._observe = (self._observe + 1) % OBSERVE_NUMBERS
        return self._observe

    def notify(
        self, token: bytes, code: int, options: Options, payload: bytes, is_confirmable: bool, key: int, now: float
    ) -> int:
        """Send a notification; its key comes back in what becomes of it.

        An unconfirmed one comes back only in a Reset, and only while it is one of the last `max_exchanges`.

        Returns:
            the key of a notification that will not be sent, because too many wait: one of the same observation, or this
            one; NO_KEY (-1) for none.
        """
        if not is_confirmable:
            message_id = self._flight.next_id()
            self._note_sent(message_id, key, token, now)
            self._flight.out.append(wire.encode_parts(_NON, code, message_id, token, options, payload))
            return NO_KEY
        return self._flight.notify(Outgoing(NOTIFICATION, token, code, options, payload, key), now)

    def _note_sent(self, message_id: int, key: int, token: bytes, now: float) -> None:
        """Remember for a while what an unconfirmed notification was about: there may come a Reset of it."""
        sent = self._sent
        if len(sent) >= self._max_exchanges:
            del sent[next(iter(sent))]
        sent[message_id] = (key, token)
        self._sent_until = now + self._non_lifetime
        if self._sweep_at == NEVER:
            self._sweep_at = self._sent_until

    def forget(self, token: bytes, now: float) -> list[int]:
        """End an observation: what waits for it, or for its acknowledgement, is not sent (again); give the keys."""
        return self._flight.forget(token, now)

    def request(self, code: int, options: Options, payload: bytes, key: int, now: float) -> None:
        """Ask the peer for something; the answer comes as a Response with `key`, or GaveUp, or Reset.

        Raises:
            QuotaExceeded: as many requests as `max_exchanges` are not answered yet.
        """
        if len(self._asked) >= self._max_exchanges:
            raise QuotaExceeded(
                f"{self._max_exchanges} requests to the device are not answered yet",
                reason="too many requests to the device",
                fix="ask again later, or raise coap.max_exchanges",
            )
        token = self._new_token()
        self._asked[token] = Asked(key, now + self._lifetime)
        if self._sweep_at == NEVER:
            self._sweep_at = now + self._lifetime
        self._flight.answer(Outgoing(REQUEST, token, code, options, payload, key), now)

    def _new_token(self) -> bytes:
        """Give a token that is not in use, and not to be guessed from outside (section 5.3.1)."""
        number = int(self._random() * 4294967296.0)
        while True:
            token = (number & 0xFFFFFFFF).to_bytes(4, "big")
            if token not in self._asked:
                return token
            number += 1

    def datagrams_to_send(self) -> list[bytes]:
        """Give the datagrams to send now, in their order."""
        out = self._flight.out
        if out:
            self._flight.out = []
        return out

    # Time

    @property
    def has_later(self) -> bool:
        """Whether an answer to multicast waits for its moment."""
        return bool(self._later)

    def next_timer(self) -> float | None:
        """Give the monotonic second at which `handle_timer` wants to be called, None for never."""
        at = min(self._ack_at, self._flight.retry_at, self._sweep_at)
        for later, _ in self._later:
            at = min(at, later)
        return None if at == NEVER else at

    def handle_timer(self, now: float) -> list[Event]:
        """Do what it is time for: acknowledge, send again, give up, forget."""
        events: list[Event] = []
        if now >= self._ack_at:
            self._acknowledge_late(now)
        if self._later:
            self._flight.out += [data for at, data in self._later if at <= now]
            self._later = [(at, data) for at, data in self._later if at > now]
        if now >= self._flight.retry_at:
            self._retry(now, events)
        if now >= self._sweep_at:
            self._sweep(now, events)
        return events

    def _acknowledge_late(self, now: float) -> None:
        """Acknowledge the requests whose answer takes its time (section 5.2.2)."""
        self._ack_at = NEVER
        for message_id, exchange in self._received.items():
            if exchange.is_confirmable and not exchange.is_answered and not exchange.is_acknowledged:
                if exchange.ack_at <= now:
                    self._acknowledge(message_id, exchange)
                elif exchange.ack_at < self._ack_at:
                    self._ack_at = exchange.ack_at

    def _retry(self, now: float, events: list[Event]) -> None:
        """Send again, and draw the consequences where nobody acknowledges (section 4.2)."""
        for outgoing in self._flight.retry(now):
            if _is_asked_after(outgoing):
                events.append(GaveUp(outgoing.key, outgoing.token))
            events += self._given_up(outgoing)
        self._flight.start_next(now)

    def _sweep(self, now: float, events: list[Event]) -> None:
        """Forget what nobody repeats any more, and requests that nobody answered."""
        received = self._received
        for message_id in [m for m, exchange in received.items() if exchange.expires_at <= now]:
            if not received[message_id].is_answered:
                self._unanswered -= 1
            del received[message_id]
        expired = [(token, asked.key) for token, asked in self._asked.items() if asked.expires_at <= now]
        for token, key in expired:
            self._end_request(token, now)
            events.append(GaveUp(key, token))
        at = NEVER
        if self._sent_until <= now:
            self._sent.clear()
        else:
            at = self._sent_until
        for exchange in received.values():
            at = min(at, exchange.expires_at)
        for asked in self._asked.values():
            at = min(at, asked.expires_at)
        self._sweep_at = at if at == NEVER else max(at, now + SWEEP_SECONDS)

    def _given_up(self, outgoing: Outgoing) -> list[GaveUp]:
        """Draw the consequences where the peer does not want a message, or is not there."""
        if outgoing.role == REQUEST:
            self._asked.pop(outgoing.token, None)
        elif outgoing.role == NOTIFICATION:
            return self._flight.abandon(outgoing.token)
        return []


def _may_be_made_again(request: CoapMessage) -> bool:
    """Say whether an answer may be made anew for a repeat: not where the request is opened only once (OSCORE)."""
    return (request.code == _GET or request.code == _FETCH) and request.option(_OSCORE) is None


def _is_observed(options: Options) -> bool:
    """Say whether a response with these options is the first of an observation (RFC 7641 section 3.1)."""
    return any(number == _OBSERVE for number, _ in options)


def _is_asked_after(outgoing: Outgoing) -> bool:
    """Say whether the driver is to hear that the peer does not take a message: also where that ends an observation."""
    return outgoing.key != NO_KEY or _is_observed(outgoing.options)
