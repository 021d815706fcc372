"""The sending half of an MQTT connection: what the hub sees of it.

Deliveries come in two ways: by `send`, one at once, as long as the client reads and nothing waits before it; and out
of the session's queue by `pump`, when it was woken. Either way they are gathered and written once when the turn of the
loop ends, or when they are many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.intake import Intake
from lockgate.adapters.mqtt.owner import Owner
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.adapters.mqtt.writing import Writing
from lockgate.errors import LockgateError
from lockgate.hub import Hub, Outlet, Session, SessionStore
from lockgate.model.message import Message
from lockgate.model.session import Delivery
from lockgate.net.link import Link
from lockgate.net.turn import TURN
from lockgate.registry.journal import Journal

DELIVERIES_PER_WRITE: Final = 512
BYTES_PER_WRITE: Final = 131_072
"""What waits for a client is written in pieces: whether it reads is seen after each of them."""
TOO_LARGE: Final = "larger than the client takes"


@final
class Senders:
    """What the senders of one door have in common.

    Args:
        hub: reviews what waits.
        store: tells what is stored.
        journal: hears of what is dropped.
        wall_clock: gives unix seconds.
        call_soon: has the loop call something in its next turn, when nothing that was read is under way.
    """

    def __init__(
        self,
        hub: Hub,
        store: SessionStore,
        journal: Journal,
        wall_clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.hub = hub
        self.store = store
        self.journal = journal
        self.wall_clock = wall_clock
        self.writing = Writing()
        self.now: float = wall_clock()
        """Unix seconds, as they were when the door was last called."""
        self._call_soon = call_soon
        self._dirty: list[Sender] = []

    def schedule(self, sender: Sender) -> None:
        """Pump `sender` when this turn of the loop ends."""
        if not self._dirty:
            TURN.ends_with(self._pump_all, self._call_soon)
        self._dirty.append(sender)

    def _pump_all(self) -> None:
        dirty, self._dirty = self._dirty, []
        self.now = self.wall_clock()
        for sender in dirty:
            sender.turn_ends()


@final
class Sender(Outlet):
    """Sends the deliveries of one connection.

    Args:
        shared: what all senders of the door share.
        protocol: writes the packets.
        intake: knows whether the client reads.
        owner: hears that the hub ends the connection, what went wrong unexpectedly, and who waits for a commit.
    """

    link: Link

    def __init__(
        self,
        shared: Senders,
        protocol: MqttProtocol,
        intake: Intake,
        owner: Owner,
    ) -> None:
        super().__init__()
        self.session: Session | None = None
        self.is_over: bool = False
        self._shared = shared
        self._protocol = protocol
        self._intake = intake
        self._owner = owner
        self._is_scheduled: bool = False
        self._has_aliases: bool = False

    # Towards the hub: the outlet

    def send(self, message: Message, qos: int, is_retained: bool, identifiers: tuple[int, ...], tag: int) -> bool:
        """Send one delivery when this turn of the loop ends."""
        shared, protocol = self._shared, self._protocol
        try:
            if self._has_aliases:
                delivery = Delivery(message, qos, is_retained, identifiers, tag)
                is_sent = protocol.send(mapping.to_publish(delivery, shared.now))
            else:
                is_sent = protocol.put(
                    shared.writing.packet(message, qos, is_retained, identifiers, tag, protocol.version, shared.now)
                )
        except Exception:  # it is not the publisher's fault: this connection ends, and no other
            self._owner.unexpected()
            return True
        if not is_sent:
            self._note_too_large(message)
            return False
        if not self._is_scheduled:
            self._is_scheduled = True
            shared.schedule(self)
        elif protocol.out_bytes >= BYTES_PER_WRITE:
            self.flush()
        return True

    def wake(self) -> None:
        """Deliveries wait: send them when this turn of the loop ends."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._shared.schedule(self)

    def drain(self) -> None:
        """Many deliveries wait: send them now."""
        try:
            self.pump()
        except Exception:
            self._owner.unexpected()

    def end(self, error: LockgateError) -> None:
        """The hub ends this connection: say why, and close."""
        self._owner.end(error)

    # Towards the connection

    def begin(self, session: Session) -> None:
        """The client is let in."""
        self.session = session
        self._has_aliases = self._protocol.has_aliases

    def turn_ends(self) -> None:
        """Send what this turn of the loop brought."""
        self._is_scheduled = False
        self.drain()

    def part(self) -> Session | None:
        """Take nothing more; give the session that it was for."""
        session, self.session = self.session, None
        self.is_taking = False
        return session

    def pause(self) -> None:
        """The client does not read: let its deliveries queue in the hub, where they are bounded."""
        self._intake.is_unread = True
        self.is_taking = False

    def resume(self) -> None:
        """The client reads again."""
        self._intake.is_unread = False
        self._intake.read_on()
        self.pump()

    def pump(self) -> None:
        """Send what waits in the session, as far as the client takes it."""
        session, shared, protocol = self.session, self._shared, self._protocol
        if session is None or not protocol.is_connected:
            return
        if session.dropped:
            self.note_dropped(session)
        if self._intake.is_unread:
            return
        if session.queue or session.unsettled:
            barred = shared.hub.review(session)
            if barred:
                shared.journal.dropped(session.client_id, "", "no longer allowed to receive it", barred)
        if session.queue and not self._empty(session):
            return
        self.flush()
        self.is_taking = not self._intake.is_unread and not self.is_over

    def _empty(self, session: Session) -> bool:
        """Send the queue of a session, as far as it may go; say whether the client reads on."""
        shared, protocol = self._shared, self._protocol
        committed, now = shared.store.committed, shared.wall_clock()
        count = 0
        while True:
            delivery = session.take(now, committed)
            if delivery is None:
                break
            if not self._send_queued(delivery, now):
                session.give_up(delivery)
                self._note_too_large(delivery.message)
                continue
            count += 1
            if count >= DELIVERIES_PER_WRITE or protocol.out_bytes >= BYTES_PER_WRITE:
                count = 0
                self.flush()
                if self._intake.is_unread:
                    return False
        if session.queue and session.queue[0].commit > committed:
            self._owner.wait_for_commit()
        return True

    def _send_queued(self, delivery: Delivery, now: float) -> bool:
        protocol = self._protocol
        if delivery.is_repeated or self._has_aliases:
            return protocol.send(mapping.to_publish(delivery, now))
        return protocol.put(
            self._shared.writing.packet(
                delivery.message, delivery.qos, delivery.is_retained, delivery.identifiers, delivery.tag,
                protocol.version, now,
            )
        )  # fmt: skip

    def flush(self) -> None:
        """Write what was gathered."""
        data = self._protocol.data_to_send()
        if data and not self.is_over:
            self.link.write(data)

    def note_dropped(self, session: Session) -> None:
        """Tell of what was dropped for want of room."""
        count, session.dropped = session.dropped, 0
        self._shared.journal.dropped(session.client_id, "", session.drop_reason, count)

    def _note_too_large(self, message: Message) -> None:
        if self.session is not None:
            self._shared.journal.dropped(self.session.client_id, message.topic, TOO_LARGE)
