"""The CoAP door's driver: joins links, clock and hub to the protocol. The only room here that does I/O.

One `CoapConnection` per link: datagrams go to its protocol, requests through `mapping` and `resources` to the hub, and
the hub's deliveries come back through its `Observer`. Who a device is, DTLS has shown by the time there is a link; on
a link without DTLS, `strangers` finds out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Final, Protocol

import structlog

from lockgate.adapters.coap import blocks, mapping
from lockgate.adapters.coap.asking import Asking, Done
from lockgate.adapters.coap.blocks import Blocks, BodyBudget
from lockgate.adapters.coap.devices import DeviceResources, is_own
from lockgate.adapters.coap.exchange import KNOWN_OPTIONS, NO_KEY, Acknowledged, Event, GaveUp, Request, Reset, Response
from lockgate.adapters.coap.guests import Guests
from lockgate.adapters.coap.intake import Intake, too_long
from lockgate.adapters.coap.mapping import Answer, Said
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, Options
from lockgate.adapters.coap.observing import Observer, Observers, Protect
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.adapters.coap.resources import Resources
from lockgate.adapters.coap.strangers import AddressProof, AnswerRate, challenged
from lockgate.errors import AuthenticationFailed, LockgateError, NotFound, Unavailable
from lockgate.events import Event as LogEvent
from lockgate.hub import Hub, Rates, Session, SessionStore
from lockgate.hub.rounds import Rounds
from lockgate.identity import Authenticator, Credentials
from lockgate.model.principal import Principal
from lockgate.model.topic import TopicFilter
from lockgate.net.datagrams import DatagramHandler, DatagramLink
from lockgate.registry.journal import REPORT_IT, Journal, Peer, cited
from lockgate.settings import Settings

log = structlog.get_logger()

PROBES_PER_IDLE: Final = 3
"""An observer that only listens is asked for a sign of life so often before its link would be forgotten."""
_GET: Final = 1
_OSCORE: Final = 9
_ECHO: Final = 252
_SELDOM_TOLD: Final = frozenset((
    Code.NOT_FOUND, Code.NOT_ACCEPTABLE, Code.PRECONDITION_FAILED, Code.TOO_MANY_REQUESTS, Code.BAD_GATEWAY,
    Code.GATEWAY_TIMEOUT,
))  # fmt: skip
"""Answers that are a no and no refusal: nobody looks for them in `lockgate why`."""


class Waiter(Protocol):
    """Somebody whose answer waits for the disk."""

    def committed(self, number: int, /) -> None:
        """Commit `number` is durable."""
        ...


class CoapDoor:
    """All CoAP links of the hub, behind one or more listeners.

    Args:
        hub: the topic space.
        authenticator: says who a device is.
        journal: hears of comings, goings and refusals.
        store: says what is stored.
        settings: the limits.
        rates: the meters of all devices, shared with the other doors.
        wall_clock: gives unix seconds.
    """

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        journal: Journal,
        store: SessionStore,
        settings: Settings,
        rates: Rates,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.hub = hub
        self.authenticator = authenticator
        self.journal = journal
        self.store = store
        self.settings = settings.coap
        self.ends_on_excess = settings.hub.on_exceeded_rate == "disconnect"
        self.rates = rates
        self.wall_clock = wall_clock
        self.connections: set[CoapConnection] = set()
        self._loop = asyncio.get_running_loop()
        self.call_soon: Callable[[Callable[[], None]], object] = self._loop.call_soon
        self.clock: Callable[[], float] = self._loop.time
        self.random = SystemRandom()
        self.rounds: Rounds[CoapConnection] = Rounds()
        self.bodies = BodyBudget(settings.coap.max_partial_bytes)
        self.resources = Resources(hub, store)
        self.devices = DeviceResources(hub.reading)
        self.observers = Observers(
            hub, store, journal, settings.coap, self._loop.time, wall_clock, self.call_soon
        )  # fmt: skip
        self.proof = AddressProof(self.random.randbytes(32), settings.coap.echo_lifetime_seconds)
        self.multicast_rate = AnswerRate(settings.coap.multicast_answers_per_second)
        self.new_guests: Callable[[CoapConnection], Guests] | None = None
        """Makes room on a link for devices that use OSCORE; None where it is not offered."""
        self.known_options: frozenset[int] = KNOWN_OPTIONS
        self._count = 0
        self._waiting_for_commit: set[Waiter] = set()

    def handler(self) -> CoapConnection:
        """Make the handler of one DTLS link."""
        return CoapConnection(self)

    def plain_handler(self) -> CoapConnection:
        """Make the handler of one address without DTLS."""
        return CoapConnection(self)

    def next_suffix(self) -> str:
        """Give what stands behind the device's name in the client id of one more session."""
        self._count += 1
        return f"coap/{self._count}"

    def refused(self, error: LockgateError, peer: Peer, principal: Principal | None) -> Answer:
        """Give the response that says no, and note it for `lockgate why`."""
        code = mapping.code_of(error)
        if code in _SELDOM_TOLD and isinstance(error, CoapError | NotFound):
            return mapping.refusal(error, str(error))
        return mapping.refusal(error, cited(error, self.journal.refused_client(error, peer, "", principal)))

    def committed(self, number: int) -> None:
        """Let go what waited for commit `number`. Called on the loop."""
        waiting, self._waiting_for_commit = self._waiting_for_commit, set()
        for connection in waiting:
            connection.committed(number)

    def wait_for_commit(self, waiter: Waiter) -> None:
        """Tell `waiter` of the next commit."""
        self._waiting_for_commit.add(waiter)

    def handle_timers(self) -> None:
        """Send again, acknowledge, give up. Called four times a second."""
        now = self._loop.time()
        for connection in self.rounds.due(now):
            connection.handle_timer(now)

    def close(self) -> None:
        """Tell every observer that the hub stops, and end all links."""
        stopping = Unavailable("the hub is stopping", reason="server shutting down", fix="connect again soon")
        for connection in list(self.connections):
            connection.end(stopping)


class CoapConnection(DatagramHandler):
    """One peer: a datagram handler towards `net`; its `Observer` is the outlet towards the hub.

    Args:
        door: where it comes in.
        protocol: the link's, where it has one already.
        protect: of its notifications, where each is protected by itself.
    """

    link: DatagramLink

    def __init__(self, door: CoapDoor, protocol: CoapProtocol | None = None, protect: Protect | None = None) -> None:
        self._door = door
        self._protocol = protocol or CoapProtocol(
            door.settings, door.clock(), door.random.getrandbits(16), door.random.random, door.known_options
        )
        self._blocks = Blocks(door.settings, door.bodies)
        self._observer = Observer(
            door.observers, self._protocol, self._blocks, self.flush, self.end, self._unexpected, protect
        )
        self._guests: Guests | None = None
        self._intake = Intake(door.rates, door.clock)
        self._asking: Asking | None = None
        self._principal: Principal | None = None
        self._refusal: Answer | None = None
        self._waiting: list[tuple[CoapMessage, Answer]] = []
        self._due: float | None = None
        self._proven_until = 0.0
        self._probed_at = 0.0
        self._is_over = False

    @property
    def session(self) -> Session | None:
        """Its session, None while nobody is let in, and after it has ended."""
        return self._observer.session

    def message_layer(self) -> CoapProtocol:
        """Give the link's message layer."""
        return self._protocol

    # Towards net: the link

    def link_made(self, link: DatagramLink) -> None:
        """Begin: the handshake is done, or the first datagram came from somewhere."""
        self.link = link
        self._door.connections.add(self)
        self._protocol.is_terse = link.protection is None
        if link.protection is not None:
            try:
                self._admit(
                    Credentials(
                        "",
                        certificate=link.peer_certificate,
                        host=link.peer.host,
                        psk_identity=link.psk_identity,
                        raw_public_key=link.raw_public_key,
                        suffix=self._door.next_suffix(),
                    )
                )
            except LockgateError as error:  # it is told when it asks
                self._refusal = self._refused(error)

    def datagram_received(self, data: bytes, is_multicast: bool) -> None:
        """Bring what came to where it goes."""
        if self._is_over:
            return
        try:
            self._receive(data, is_multicast)
        except Exception:
            self._unexpected()

    def link_lost(self, error: Exception | None) -> None:
        """The link is gone, and with it the session."""
        door = self._door
        self._is_over = True
        door.connections.discard(self)
        door.rounds.forget(self)
        if self._guests is not None:
            self._guests.part()
        self._waiting.clear()
        self._blocks.close()
        self._intake.end()
        if self._principal is not None:
            door.devices.leave(self._principal.device, self)
        if self._asking is not None:
            self._asking.close()
        session = self._observer.part()
        if session is not None and self._principal is not None:
            door.journal.disconnected(self._principal, self._peer(), is_clean=error is None, error=error)
            door.hub.close_session(session, self._observer, False, door.wall_clock())

    # Towards who asks the device

    def ask(self, code: int, options: Options, payload: bytes, done: Done) -> None:
        """Ask the device for a resource of its own.

        Raises:
            Unavailable: the link is ending.
            QuotaExceeded: too many such requests wait.
        """
        if self._is_over:
            raise Unavailable("the device's link is ending", fix="ask again soon")
        if self._asking is None:
            self._asking = Asking(self._door.settings, self._protocol)
        self._asking.ask(code, options, payload, done, self._door.clock())
        self.flush()

    # Towards the hub

    def end(self, error: LockgateError) -> None:
        """End the link, and tell its observers why."""
        if self._is_over:
            return
        if self._guests is not None:
            self._guests.end(error)
        try:
            text = error.reason
            if self._principal is not None and not isinstance(error, Unavailable):
                text = cited(error, self._door.journal.ended(error, self._principal, self._peer()))
            self._observer.say_goodbye(mapping.code_of(error), text)
            self.flush()
        finally:
            self._is_over = True
            self.link.close()

    def committed(self, number: int) -> None:
        """Commit `number` is durable: answers that waited for it go."""
        if self._is_over:
            return
        try:
            now = self._door.clock()
            waiting, self._waiting = self._waiting, []
            for request, answer in waiting:
                if answer.commit > number:
                    self._waiting.append((request, answer))
                else:
                    self._respond(request, answer, now)
            if self._waiting:
                self._door.wait_for_commit(self)
            self._observer.pump()
        except Exception:
            self._unexpected()

    def handle_timer(self, now: float) -> None:
        """Do what it is time for."""
        self._due = None
        if self._is_over:
            return
        try:
            for event in self._protocol.handle_timer(now):
                self.settle(event, now)
            self._handle_own_timers(now)
            self.flush()
            self._forget_stranger()
        except Exception:
            self._unexpected()

    # Receiving

    def _receive(self, data: bytes, is_multicast: bool) -> None:
        now = self._door.clock()
        events = self._protocol.receive_datagram(data, now, is_multicast)
        if not events:
            self._intake.count(len(data), now)
        for event in events:
            if isinstance(event, Request):
                self._on_request(event, len(data), now)
            else:
                self.settle(event, now)
        self.flush()
        self._forget_stranger()

    def settle(self, event: Event, now: float) -> None:
        """Hear what became of what was sent, by this peer or by another on its link."""
        if self._guests is not None:
            self._guests.settled(event, now)
        if isinstance(event, Acknowledged):
            self._observer.acknowledged(event.key)
        elif isinstance(event, Response):
            if self._asking is not None:
                self._asking.heard(event.message, event.key, now)
        elif isinstance(event, Reset | GaveUp):
            if event.key >= NO_KEY:
                self._observer.rejected(event.key, event.token)
            elif self._asking is not None:
                self._asking.lost(event.key, isinstance(event, Reset))

    def _on_request(self, event: Request, size: int, now: float) -> None:
        door, request = self._door, event.message
        if event.is_multicast:
            self._on_multicast(request, now)
            return
        if door.new_guests is not None and request.option(_OSCORE) is not None:
            if self._guests is None:
                self._guests = door.new_guests(self)
            self._guests.received(event, size, now)
            return
        if self.link.protection is None and not self._has_proven(request, now):
            return
        self._act(request, size, now)

    def _act(self, request: CoapMessage, size: int, now: float) -> None:
        """Do what a request of somebody known asks for, and answer it."""
        door, principal = self._door, self._principal
        if principal is None:
            self._turn_away(request, now)
            return
        wait = self._intake.count(size, now)
        try:
            if wait > 0.0:
                raise self._excess(now, wait)
            if size > door.settings.max_datagram_bytes:
                raise too_long(size, door.settings.max_datagram_bytes)
            whole = self._blocks.receive(request, now)
            if isinstance(whole, blocks.Answer):  # to a part of a body
                self._reply(request, whole.code, whole.options, whole.payload, now)
                return
            request = whole
            said = mapping.said_by(request)
            if is_own(said.path):
                door.devices.ask(request, said.path, principal, partial(self._answered, request), door.wall_clock())
                return
            answer = self._answer(request, said, principal, door.wall_clock())
        except LockgateError as error:
            answer = self._refused(error)
        except Exception:
            answer = self._failed(request)
        if answer.commit > door.store.committed:
            self._waiting.append((request, answer))
            door.wait_for_commit(self)
        else:
            self._respond(request, answer, now)

    def _answer(self, request: CoapMessage, said: Said, principal: Principal, now: float) -> Answer:
        if said.observe >= 0 and request.code == _GET and said.path != mapping.DISCOVERY:
            if said.observe == mapping.REGISTER:
                return self._observe(request, said, principal, now)
            if said.observe == mapping.DEREGISTER:
                self._observer.forget(request.token)
        return self._door.resources.answer(request, said, principal, now)

    def _answered(self, request: CoapMessage, outcome: Answer | LockgateError) -> None:
        """Give what a device has answered, or why it has not, to who asked for it here."""
        if self._is_over:
            return
        try:
            answer = outcome if isinstance(outcome, Answer) else self._refused(outcome)
            self._respond(request, answer, self._door.clock())
            self.flush()
        except Exception:
            self._unexpected()

    def _observe(self, request: CoapMessage, said: Said, principal: Principal, now: float) -> Answer:
        """Register an observation, and give its first answer."""
        mapping.check_queries(said)
        topic_filter = mapping.filter_of(said) or TopicFilter(mapping.name_of(said))
        observer = self._observer
        observation = observer.observe(request, topic_filter, mapping.is_confirmable(request), now)
        try:
            answer = self._door.resources.read(said, principal, now, self._protocol.next_observe_number())
        except LockgateError:  # section 4.1: no error registers
            observer.forget(observation.token)
            raise
        observation.began(answer.options)
        return answer

    def _respond(self, request: CoapMessage, answer: Answer, now: float) -> None:
        part = self._blocks.answer(request, answer.code, answer.options, answer.payload, now)
        self._reply(request, part.code, part.options, part.payload, now)

    def _reply(self, request: CoapMessage, code: int, options: Options, payload: bytes, now: float) -> None:
        self._protocol.respond(request, code, options, payload, now)

    # Who it is

    def _admit(self, credentials: Credentials) -> None:
        """Open a session for who the credentials prove.

        Raises:
            LockgateError: they prove nobody, or there is no room.
        """
        door = self._door
        now = door.wall_clock()
        principal = door.authenticator.authenticate(credentials, now)
        opened = door.hub.open_session(principal, self._observer, True, 0.0, None, door.settings.nstart, now)
        self._principal = principal
        self._protocol.is_terse = False
        self._intake.admit(principal)
        self._observer.begin(opened.session)
        self._join(principal.device)
        door.journal.connected(principal, self._peer())

    def _join(self, device: str) -> None:
        """Be whom others ask for the device's own resources."""
        self._door.devices.join(device, self)

    def _turn_away(self, request: CoapMessage, now: float) -> None:
        """Tell who is not let in why, and end the link: it may prove who it is on another."""
        answer = self._refusal or self._refused(AuthenticationFailed("nobody has proven who they are here"))
        self._respond(request, answer, now)
        if self._guests is None or self._guests.is_empty():  # else anybody could end them, in their address's name
            self.flush()
            self._is_over = True
            self.link.close()

    def _has_proven(self, request: CoapMessage, now: float) -> bool:
        """Say whether the address has proven itself, and is somebody's; else challenge it."""
        door, peer = self._door, self.link.peer
        echo = request.option(_ECHO)
        if echo is not None and door.proof.is_repeated(echo, peer.host, peer.port, now):
            self._proven_until = now + door.settings.echo_lifetime_seconds
        if now >= self._proven_until:
            challenge = door.proof.challenge(peer.host, peer.port, now)
            self._protocol.respond(request, *challenged(request, challenge), now)
            return False
        if self._principal is None and self._refusal is None:
            try:
                self._admit_address(peer.host)
            except LockgateError as error:
                self._refusal = self._refused(error)
        return True

    def _admit_address(self, host: str) -> None:
        """Let in the device that the address stands for.

        Raises:
            LockgateError: it stands for none, or this door is not for such devices.
        """
        if not self._door.settings.nosec_enabled:
            raise AuthenticationFailed(
                "a request came without DTLS and without OSCORE",
                reason="no credentials",
                fix="use coaps (DTLS), or OSCORE; for a device that can do neither: coap.nosec_enabled",
            )
        suffix = self._door.next_suffix()
        self._admit(Credentials("", is_protected=False, host=host, is_address_proven=True, suffix=suffix))

    def _on_multicast(self, request: CoapMessage, now: float) -> None:
        """Tell who asks all nodes that this is one, and nothing else (RFC 7252 section 8)."""
        door = self._door
        if not (door.settings.nosec_enabled and door.settings.multicast_enabled):
            return  # a broadcast: for that, nobody has to join
        try:
            said = mapping.said_by(request)
            if request.code != _GET or said.path != mapping.DISCOVERY or not door.multicast_rate.take(now):
                return
            answer = door.resources.discovery(said, None, 0.0)
        except LockgateError:  # section 8.2: no error is told
            return
        if answer.payload:
            self._respond(request, answer, now)

    def _forget_stranger(self) -> None:
        """Keep nothing of an address that has proven nothing: anybody can write any number of them.

        A challenge needs no memory, and what nobody remembers is not sent again to whoever is named as the sender.
        """
        if self._is_over or self._principal is not None or self.link.protection is not None:
            return
        if not self._protocol.has_later and (self._guests is None or self._guests.is_empty()):
            self._is_over = True
            self.link.close()

    # Refusals

    def _refused(self, error: LockgateError) -> Answer:
        return self._door.refused(error, self._peer(), self._principal)

    def _excess(self, now: float, wait: float) -> CoapError:
        """The device sends faster than it may: give what it is told; the journal hears of each flood once."""
        error, is_new = self._intake.excess(now)
        if self._door.ends_on_excess:
            self.end(error)
        elif is_new:
            self._door.journal.slowed(error, self._peer(), error.evidence.get("device", ""))
        return mapping.come_again(error, wait)

    def _failed(self, request: CoapMessage) -> Answer:
        """Something that should not happen while a request was answered: log it, and say no more than that."""
        error = LockgateError("an unexpected error", fix=REPORT_IT)
        reference = self._door.journal.refused_client(error, self._peer(), "", self._principal)
        log.exception(LogEvent.UNEXPECTED_ERROR, reference=reference, code=request.code)
        return mapping.refusal(error, cited(error, reference))

    def _unexpected(self) -> None:
        """Something that should not happen: log it with a reference, end the link."""
        error = LockgateError("an unexpected error", fix=REPORT_IT)
        reference = self._door.journal.refused_client(error, self._peer(), "", self._principal)
        log.exception(LogEvent.UNEXPECTED_ERROR, reference=reference)
        if not self._is_over:
            self._is_over = True
            self.link.close()

    # Helpers

    def flush(self) -> None:
        """Send what was gathered, and have `handle_timer` called when the protocol wants it.

        A moment later than the one that is set can wait: then it is asked again.
        """
        link = self.link
        for data in self._protocol.datagrams_to_send():
            link.send(data)
        self._wait(self._protocol.next_timer())

    def _wait(self, at: float | None) -> None:
        """Have `handle_timer` called at a moment, or earlier where it is wanted for something else."""
        for other in (self._blocks, self._asking):
            other_at = None if other is None else other.next_timer()
            if other_at is not None and (at is None or other_at < at):
                at = other_at
        if len(self._observer):
            probe_at = self._probe_at()
            if at is None or probe_at < at:
                at = probe_at
        if at is not None and (self._due is None or at < self._due):
            self._due = at
            self._door.rounds.wait(self, at)

    def _handle_own_timers(self, now: float) -> None:
        """Do what it is time for beside the messages' own."""
        self._blocks.handle_timer(now)
        if len(self._observer) and now >= self._probe_at():
            self._probed_at = now
            self._observer.probe()
        if self._asking is not None:
            self._asking.handle_timer(now)

    def _probe_at(self) -> float:
        """Give when an observer that is not heard of is asked whether it is there."""
        return max(self._protocol.heard_at, self._probed_at) + self._door.settings.idle_seconds / PROBES_PER_IDLE

    def _peer(self) -> Peer:
        principal = self._principal
        return Peer("coap", self.link.peer, principal.client_id if principal is not None else "", self.link.protection)
