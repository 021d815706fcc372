"""The MQTT door's driver: joins sockets, clock and hub to the protocol. The only room here that does I/O.

One `MqttConnection` per client: bytes go to its protocol, the packets that need a decision go through `mapping` to
identity (in `admission`) and the hub, and the hub's deliveries come back through `wake` and `drain`. Everything runs
on the loop; only password hashes go to a worker thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec

import structlog

from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.admission import Admission, Admissions, Renewal, Verdict
from lockgate.adapters.mqtt.intake import Intake, Intakes
from lockgate.adapters.mqtt.mapping import reason_code
from lockgate.adapters.mqtt.owner import Owner
from lockgate.adapters.mqtt.packets import (
    V5,
    Auth,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
    Properties,
    Publish,
    ReasonCode,
    Subscribe,
    Unsubscribe,
)
from lockgate.adapters.mqtt.protocol import MqttProtocol, State
from lockgate.adapters.mqtt.sender import Sender, Senders
from lockgate.adapters.mqtt.subscribing import Subscribing
from lockgate.adapters.mqtt.turns import Turns
from lockgate.errors import LockgateError, RateExceeded, ShutOut, Unavailable
from lockgate.events import Event
from lockgate.hub import Hub, Opened, Receipt, Session, SessionStore
from lockgate.hub.rounds import Rounds
from lockgate.identity import Authenticator
from lockgate.model.principal import Principal
from lockgate.net.link import Link, StreamHandler
from lockgate.net.partials import Partials
from lockgate.registry.journal import REPORT_IT, Journal, Peer, cited
from lockgate.settings import Settings

log = structlog.get_logger()
P = ParamSpec("P")

MAX_LAST_BYTES = 16_384
"""Who is shut out while more than this waits to be written to it hears no goodbye: it would come after all that."""


class MqttDoor:
    """All MQTT connections of the hub, behind one or more listeners."""

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        journal: Journal,
        store: SessionStore,
        settings: Settings,
        workers: Executor,
        wall_clock: Callable[[], float] = time.time,
        partials: Partials | None = None,
    ) -> None:
        self.hub = hub
        self.authenticator = authenticator
        self.journal = journal
        self.store = store
        self.settings = settings
        self.wall_clock = wall_clock
        self.connections: set[MqttConnection] = set()
        self._loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = self._loop.time
        self.rounds: Rounds[MqttConnection] = Rounds()
        self.turns = Turns(self._loop.call_soon)
        self.intakes = Intakes(settings, store, self._loop.time, partials)
        hub.charge = self.intakes.charge
        self.admissions = Admissions(authenticator, workers, self._loop, wall_clock, settings.identity)
        self.subscribing = Subscribing(hub, settings.hub, wall_clock, self.replay_soon)
        self.senders = Senders(hub, store, journal, wall_clock, self._loop.call_soon)
        self._is_replaying = False
        self._waiting_for_commit: set[MqttConnection] = set()

    def handler(self) -> MqttConnection:
        """Make the handler of one TLS connection."""
        return MqttConnection(self, is_lab=False)

    def lab_handler(self) -> MqttConnection:
        """Make the handler of one plaintext connection of the lab port."""
        return MqttConnection(self, is_lab=True)

    def committed(self, number: int) -> None:
        """Let go what waited for commit `number`. Called on the loop."""
        waiting, self._waiting_for_commit = self._waiting_for_commit, set()
        now = self._loop.time()
        for connection in waiting:
            connection.guarded(connection.committed, number, now)

    def handle_timers(self) -> None:
        """Close the connections whose time is up. Called four times a second."""
        now = self._loop.time()
        for connection in self.rounds.due(now):
            connection.guarded(connection.handle_timer, now)
        self.intakes.partials.handle_timer()

    def wait_for_commit(self, connection: MqttConnection) -> None:
        """Tell `connection` of the next commit."""
        self._waiting_for_commit.add(connection)

    def replay_soon(self) -> None:
        """Deliver retained messages that were asked for, those of one subscription in a turn of the loop."""
        if not self._is_replaying:
            self._is_replaying = True
            self._loop.call_soon(self._replay)

    def close(self) -> None:
        """Tell every client that the hub stops; their sessions wait."""
        stopping = Unavailable("the hub is stopping", reason="server shutting down", fix="connect again soon")
        for connection in list(self.connections):
            if connection.session is not None:
                self.hub.disconnect(connection.session, stopping, self.wall_clock())
            else:
                connection.abort()

    def _replay(self) -> None:
        self._is_replaying = False
        try:
            others_wait = self.hub.replay_next(self.wall_clock())
        except Exception:  # what one subscription meets must not keep the others waiting
            log.exception(Event.UNEXPECTED_ERROR, action="replay")
            others_wait = True
        if others_wait:
            self.replay_soon()


class MqttConnection(StreamHandler, Owner):
    """One client: a stream handler towards `net`; its `Sender` is the outlet towards the hub."""

    link: Link

    def __init__(self, door: MqttDoor, is_lab: bool) -> None:
        self._door = door
        self._hub = door.hub
        self._is_lab = is_lab
        self._protocol = MqttProtocol(door.settings.mqtt, door._loop.time())
        self._protocol.owner = self
        self._principal: Principal | None = None
        self._admission: Admission | None = None
        self._renewal: Renewal | None = None
        self._client_id = ""
        self._joining: tuple[Connect, Opened] | None = None
        self._intake = Intake(door.intakes, self._protocol, self)
        self._sender = Sender(door.senders, self._protocol, self._intake, self)
        self._send_will = True
        self._parting = ""

    @property
    def session(self) -> Session | None:
        """Its session, None before it is let in and after it has ended."""
        return self._sender.session

    # Towards net: the stream

    def connection_made(self, link: Link) -> None:
        """Begin: TLS is established, or the lab port was opened."""
        self.link = self._intake.link = self._sender.link = link
        self._door.connections.add(self)
        self._wait(0.0)
        name = link.server_name
        if name is not None and not link.is_name_covered:
            self._door.journal.uncovered_name(name, self._peer())

    def data_received(self, data: bytes) -> None:
        """Bring what the client sent to where it goes; in a storm of subscriptions, its own when their turn comes."""
        if self._door.turns.is_full and self._sender.session is not None:
            data = self._door.turns.hold(self, data, not self._protocol.partial_bytes)
            if not data:
                return
        self.take(data)

    def take(self, data: bytes) -> None:
        """Bring it there now."""
        try:
            self._receive(data)
        except Exception:
            self.unexpected()

    def guarded(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do one step; what goes wrong unexpectedly ends this connection and no other."""
        try:
            step(*args, **kwargs)
        except Exception:
            self.unexpected()

    def eof_received(self) -> None:
        """The client has nothing more to say."""
        held = self._door.turns.release(self)
        if held:
            self.take(held)
        self._note_unheard()
        self._protocol.receive_eof()
        self.link.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; the session rests, or ends."""
        door = self._door
        door.connections.discard(self)
        door.rounds.forget(self)
        door.turns.release(self)
        self._note_unheard(error)
        self._sender.is_over = True
        self._intake.end()
        session = self._sender.part()
        if session is not None and self._principal is not None:
            if session.dropped:
                self._sender.note_dropped(session)
            door.journal.disconnected(self._principal, self._peer(), is_clean=not self._send_will, error=error)
            sends_will = self._send_will and self._joining is None  # who was not let in has none to send
            self._hub.close_session(session, self._sender, sends_will, door.wall_clock())

    def _note_unheard(self, error: Exception | None = None) -> None:
        """Note who finished TLS and then left: some clients look at the certificate only now, and say nothing."""
        protocol = self._protocol
        is_first = protocol.state is State.AWAITING_CONNECT and not protocol.partial_bytes
        is_noted = self._sender.is_over or isinstance(error, LockgateError)
        if is_first and not is_noted and self.link.protection is not None:
            self._door.journal.left_unheard(self._peer())

    def abort(self) -> None:
        """End a connection that has no session."""
        self._sender.is_over = True
        self.link.abort()

    def pause_writing(self) -> None:
        """The client does not read: let its deliveries queue in the hub, where they are bounded."""
        self._sender.pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._sender.resume()

    @property
    def is_stranger(self) -> bool:
        """Whether nobody knows yet who it is: it has no session, and never had one."""
        return self._principal is None and not self._sender.is_over

    # Towards the hub

    def shut_out(self, error: LockgateError) -> None:
        """End the connection of somebody whom the hub does not know yet."""
        self.guarded(self.end, error)

    def end(self, error: LockgateError) -> None:
        """The hub ends this connection: say why, and close."""
        if self._sender.is_over:
            return
        self._sender.part()
        text = error.reason
        if self._principal is not None:
            text = cited(error, self._door.journal.ended(error, self._principal, self._peer()))
        protocol, settings = self._protocol, self._door.settings.mqtt
        if protocol.state is State.AWAITING_VERDICT:
            protocol.refuse(*mapping.refusal(error, protocol.version, text, settings))
        if isinstance(error, ShutOut) and self.link.write_buffer_bytes() > MAX_LAST_BYTES:
            self.abort()  # it would go on hearing what still waits to be sent
            return
        protocol.disconnect(*mapping.goodbye(error, text, settings))
        self._finish(text)

    def committed(self, number: int, now: float) -> None:
        """Commit `number` is durable: answers and deliveries that waited for it go."""
        if self._joining is not None and self._protocol.state is State.AWAITING_VERDICT:
            connect, opened = self._joining
            if opened.commit > number:
                self._door.wait_for_commit(self)
            else:
                self._welcome(connect, opened)
            return
        self._protocol.committed(number, now)
        self._sender.pump()
        self._sender.flush()
        self._intake.read_on()
        if self._protocol.waiting_answers or not self._intake.is_reading:
            self._door.wait_for_commit(self)

    def handle_timer(self, now: float) -> None:
        """Read on what was too fast, and close the connection if its time is up."""
        self._intake.read_on()
        if not self._intake.is_held():  # else its silence does not count
            self._protocol.handle_timer(now)
            if self._protocol.failure is not None and not self._sender.is_over:
                self._finish(self._parting)
        self._wait(now)

    def _wait(self, now: float) -> None:
        """Have `handle_timer` called when a deadline comes; soon, as long as the client is not read."""
        if self in self._door.connections:
            self._door.rounds.wait(self, self._protocol.next_timer() if self._intake.is_reading else now)

    # Receiving

    def _receive(self, data: bytes) -> None:
        protocol, intake, sender, door = self._protocol, self._intake, self._sender, self._door
        now = door.clock()
        door.senders.now = door.wall_clock()
        packets = protocol.receive_data(data, now)
        if not protocol.is_connected:
            sender.is_taking = False  # it said goodbye: what comes now waits for the next connection
        for packet in packets:
            if sender.is_over or (protocol.state is State.CLOSED and sender.session is None):
                return
            if isinstance(packet, Publish):
                self._on_publish(packet)
            else:
                self._handle(packet)
        if protocol.failure is not None and not sender.is_over:
            self._finish(self._parting)
            return
        sender.flush()
        session = sender.session
        if session is not None and session.queue:
            sender.wake()  # what the client settled made room for more
        if protocol.waiting_answers:
            door.wait_for_commit(self)
        if intake.count(len(packets), len(data), now):
            self._exceeded(now)
        if not sender.is_over and intake.pause_if_ahead(now):
            door.wait_for_commit(self)
            self._wait(now)

    def _exceeded(self, now: float) -> None:
        """The device sends faster than it may: it is not read for a while, or no longer."""
        error = self._intake.excess(now, self._principal)
        if self._door.settings.hub.on_exceeded_rate == "disconnect":
            self._break_off(error or RateExceeded())
        elif error is not None:
            self._door.journal.slowed(error, self._peer(), error.evidence["device"])

    def wait_for_commit(self) -> None:
        """Hear of the next commit."""
        self._door.wait_for_commit(self)

    def break_off(self, error: LockgateError) -> None:
        """End the connection for what the client did, and tell it why."""
        self.guarded(self._break_off, error)

    def _break_off(self, error: LockgateError) -> None:
        if not self._sender.is_over:
            text = self._noted(error)
            self._protocol.disconnect(*mapping.goodbye(error, text, self._door.settings.mqtt))
            self._finish(text)

    def _handle(self, packet: Packet) -> None:
        if isinstance(packet, Subscribe | Unsubscribe):
            self._on_filters(packet)
        elif isinstance(packet, Disconnect):
            self._on_disconnect(packet)
        else:
            if isinstance(packet, Connect):
                self._on_connect(packet)
            elif isinstance(packet, Auth):
                self._on_auth(packet)
            if self._protocol.state is State.AWAITING_VERDICT and not self._sender.is_over:
                self._intake.pause()

    # CONNECT

    def _on_connect(self, connect: Connect) -> None:
        self._client_id = connect.client_id
        self._admission = Admission(
            self._door.admissions,
            self.link,
            self._protocol,
            self._is_lab,
            lambda verdict: self.guarded(self._decide, connect, verdict),
        )
        self._admission.begin(connect)

    def _on_auth(self, auth: Auth) -> None:
        if self._admission is not None:
            self._admission.proceed(auth)
        elif self.session is not None:
            self._renew(self.session, auth)

    def _renew(self, session: Session, auth: Auth) -> None:
        """Let the session go on under a fresh proof; without one, it is over [MQTT-4.12.1-2]."""
        door, protocol = self._door, self._protocol
        self._renewal = self._renewal or Renewal(door.admissions, self.link, protocol.method)
        try:
            turn = self._renewal.proceed(auth, session.principal)
            if turn.principal is None:
                protocol.challenge(turn.data)
                return
            self._hub.prolong(session, turn.principal)
            self._principal = turn.principal
            door.journal.reauthenticated(turn.principal, self._peer())
            protocol.reauthenticated(turn.data)
        except LockgateError as error:
            self._break_off(error)

    def _decide(self, connect: Connect, verdict: Verdict) -> None:
        """The admission is over: let the client in, or tell it why not."""
        if self._sender.is_over or self._protocol.state is not State.AWAITING_VERDICT:
            return
        admission, self._admission = self._admission, None  # it holds the CONNECT, password and all
        if isinstance(verdict, Principal):
            self._admit(connect, verdict)
        elif isinstance(verdict, LockgateError):
            self._refuse(connect, verdict, said=admission.user_name if admission is not None else "")
        else:
            raise verdict

    def _admit(self, connect: Connect, principal: Principal) -> None:
        door = self._door
        now = door.wall_clock()
        expiry = mapping.session_expiry(connect, door.settings.hub.max_session_expiry_hours * 3600)
        try:
            will = mapping.to_will(connect.will, principal) if connect.will is not None else None
            window = connect.properties.receive_maximum or 65_535
            self._intake.admit(principal)
            opened = self._hub.open_session(principal, self._sender, connect.clean_start, expiry, will, window, now)
        except LockgateError as error:
            self._refuse(connect, error, principal)
            return
        self._principal = principal
        self._sender.session = opened.session
        door.journal.connected(principal, self._peer())
        self._joining = (connect, opened)
        if opened.commit > door.store.committed:
            door.wait_for_commit(self)
        else:
            self._welcome(connect, opened)

    def _welcome(self, connect: Connect, opened: Opened) -> None:
        """Nothing that the CONNACK says can be undone any more: say it, and begin."""
        door, session = self._door, opened.session
        self._joining = None
        settings = door.settings.mqtt
        keep_alive = mapping.granted_keep_alive(connect, settings.max_keep_alive_seconds)
        self._protocol.accept(
            session,
            opened.is_present,
            mapping.connack_properties(connect, session.principal, session.expiry_seconds, keep_alive, settings),
            keep_alive,
        )
        if self._protocol.failure is not None:
            self._finish(self._parting)
            return
        now = door.wall_clock()
        self._sender.begin(session)
        self._hub.review(session, with_unsettled=True)
        for delivery in opened.resend:
            if delivery.tag not in session.unsettled:
                continue  # it was given up meanwhile
            if not self._protocol.resend(mapping.to_publish(delivery.again(), now)):
                session.give_up(delivery)
        self._sender.pump()
        self._sender.flush()
        self._intake.read_on()
        self._wait(0.0)
        self._receive(b"")  # what followed the CONNECT still waits

    def _refuse(
        self, connect: Connect, error: LockgateError, principal: Principal | None = None, said: str = ""
    ) -> None:
        user_name = self._door.authenticator.shown_name(said or connect.user_name or "")
        text = self._noted(error, user_name, principal)
        self._protocol.refuse(*mapping.refusal(error, connect.version, text, self._door.settings.mqtt))
        self._finish(text)

    # PUBLISH

    def _on_publish(self, publish: Publish) -> None:
        principal = self._principal
        assert principal is not None
        now = self._door.senders.now
        try:
            message = mapping.to_message(publish, principal, now)
        except MqttError as error:
            self._refuse_publish(publish, error, principal)
            return
        if publish.qos < 2:
            outcome = self._hub.publish(principal, message, now)
            if isinstance(outcome, Receipt):
                if publish.qos:
                    self._acknowledge(publish, outcome)
                return
        else:
            # The message and the note that it came are stored together: a crash between them would lose or repeat it.
            with self._door.store.together():
                outcome = self._hub.publish(principal, message, now)
                if isinstance(outcome, Receipt):
                    self._acknowledge(publish, outcome)
                    return
        self._refuse_publish(publish, outcome, principal)

    def _acknowledge(self, publish: Publish, receipt: Receipt) -> None:
        code = mapping.heard_code(receipt.heard_by, self._protocol.version)
        self._protocol.acknowledge(publish, code, receipt.commit)

    def _refuse_publish(self, publish: Publish, error: LockgateError, principal: Principal) -> None:
        text = self._noted(error, principal=principal)
        if self._protocol.version == V5:
            code = reason_code(error, PacketType.PUBACK)
            self._protocol.acknowledge(publish, code, 0, Properties(reason_string=text))
        elif self._door.settings.mqtt.on_refused_publish == "close":  # 3.1.1 has no other answer [MQTT-3.3.5-2]
            self._protocol.disconnect(0)
            self._finish(text)
        else:
            self._protocol.acknowledge(publish, ReasonCode.SUCCESS, 0)

    # SUBSCRIBE, UNSUBSCRIBE, DISCONNECT

    def _on_filters(self, packet: Subscribe | Unsubscribe) -> None:
        session, subscribing = self.session, self._door.subscribing
        assert session is not None
        self._door.turns.spend(len(packet.requests if isinstance(packet, Subscribe) else packet.filters))
        try:
            if isinstance(packet, Subscribe):
                subscribing.subscribe(session, packet, self._protocol, self._noted)
            else:
                subscribing.unsubscribe(session, packet, self._protocol, self._noted)
        except MqttError as error:
            self._protocol.fail(error)
            self._finish(self._parting)

    def _on_disconnect(self, disconnect: Disconnect) -> None:
        session, interval = self.session, disconnect.properties.session_expiry_interval
        if session is not None and interval is not None:  # without a session, it gives up an authentication
            if interval and session.expiry_seconds <= 0:  # [MQTT-3.14.2-2]
                self._protocol.fail(MqttError(ReasonCode.PROTOCOL_ERROR, "the session was to end with the connection"))
                return
            session.expiry_seconds = mapping.granted_expiry(
                interval, self._door.settings.hub.max_session_expiry_hours * 3600
            )
        self._send_will = disconnect.code != 0  # [MQTT-3.14.4-3]
        self._protocol.receive_eof()
        self._finish()

    # Endings

    def _finish(self, text: str = "") -> None:
        """Send what is left to say, and close; `text` is for those to whom only the link can say why."""
        self._sender.flush()
        self._sender.is_over = True
        self._sender.is_taking = False
        self.link.close(text)

    def explained(self, error: MqttError) -> str:
        """Note that the client broke the protocol; give what it is told."""
        reference = self._note(error, principal=self._principal)
        self._parting = cited(error, reference)
        return f"{error} (reference {reference})"

    def unexpected(self) -> None:
        """Something that should not happen: log it with a reference, tell the client no more than that, close."""
        error = LockgateError("an unexpected error", fix=REPORT_IT)
        reference = self._note(error, principal=self._principal)
        log.exception(Event.UNEXPECTED_ERROR, reference=reference, client_id=self._client_id)
        properties = Properties(reason_string=cited(error, reference))
        if self._protocol.state in (State.AWAITING_VERDICT, State.AWAITING_AUTH) and self._protocol.version == V5:
            self._protocol.refuse(ReasonCode.UNSPECIFIED_ERROR, properties)
        self._protocol.disconnect(ReasonCode.UNSPECIFIED_ERROR, properties)
        if not self._sender.is_over:
            self._finish(cited(error, reference))

    def _note(self, error: LockgateError, user_name: str = "", principal: Principal | None = None) -> str:
        return self._door.journal.refused_client(error, self._peer(), user_name, principal)

    def _noted(self, error: LockgateError, user_name: str = "", principal: Principal | None = None) -> str:
        return cited(error, self._note(error, user_name, principal or self._principal))

    def _peer(self) -> Peer:
        return Peer("mqtt", self.link.peer, self._client_id, self.link.protection)
