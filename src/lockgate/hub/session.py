"""A session: what one client id is subscribed to, and the deliveries on their way to it.

Theory of operation. A delivery is born in `deliver`, waits in `queue`, and is handed to the door by `take`; where none
waits before it and the door takes it, `deliver` hands it over at once. At QoS 0 that is all. At QoS 1 and 2 it has a
tag and stays in `unsettled` until the door calls `settle`; in between, a QoS 2 delivery is `release`d when its receiver
has it. When the door is lost, what is unsettled goes first on the next one.

    deliver -> [queue] -> take -> [unsettled] -> settle                 QoS 1
                                  [unsettled] -> release -> settle      QoS 2

A session that outlives its connection (`is_durable`) writes each of these steps to the store. Deliveries that came by a
share may leave for another of its members when the client is gone: `hand_over`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from lockgate.hub.eviction import Eviction
from lockgate.hub.ports import Outlet, SessionStore
from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, SessionRecord, Subscription, Will

DRAIN_EVERY: Final = 256
MAX_TAG: Final = 65_535
UNLIMITED_BYTES: Final = 1 << 62
DELIVERY_BYTES: Final = 256
"""What a delivery takes beside its message, about, with its place in the store's index: empty ones fill memory, too."""
RESERVED_BYTES: Final = 16_384
"""What a connected session may hold even when the hub is full: those that read go on hearing."""
_NO_QUEUE: Final[deque[Delivery]] = deque()
_NO_TAGS: Final[set[int]] = set()
"""What a session has until it needs its own; most never do, and an empty deque takes 600 bytes. Nobody adds to them."""
FULL_QUEUE = "its queue was full"
FULL_HUB = "the queues of all sessions together were full"


@final
class Waiting:
    """What waits for all sessions together, queued or unsettled, in bytes, and how much may."""

    __slots__ = ("bytes", "limit", "untold")

    def __init__(self, limit: int = UNLIMITED_BYTES) -> None:
        self.bytes: int = 0
        self.limit: int = limit
        self.untold: dict[Session, None] = {}
        """Sessions that dropped messages while no door was there to tell of it."""


@final
class Session:
    """One client id's side of the topic space.

    Args:
        principal: who opened it.
        expiry_seconds: how long it waits for its client after the connection ended; 0 ends with it.
        store: where a durable session writes its steps.
        max_queued_messages: bound of the queue.
        max_queued_bytes: bound of what its messages hold, in bytes, and of what those in `unsettled` do.
        max_in_flight: bound of `unsettled`; a door may lower it (receive maximum).
        drops_oldest: what goes when the queue is full: the oldest message, or the newest.
        waiting: what waits for all sessions together; it bounds this one as well.
    """

    def __init__(
        self,
        principal: Principal,
        expiry_seconds: float,
        store: SessionStore,
        max_queued_messages: int,
        max_queued_bytes: int,
        max_in_flight: int,
        drops_oldest: bool = False,
        waiting: Waiting | None = None,
    ) -> None:
        self.principal = principal
        self.client_id: str = principal.client_id
        self.expiry_seconds = expiry_seconds
        self.is_durable: bool = expiry_seconds > 0
        self.outlet: Outlet | None = None
        self.disconnected_at: float | None = None
        self.will: Will | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.queue: deque[Delivery] = _NO_QUEUE
        self.queued_bytes: int = 0
        self.unsettled: dict[int, Delivery] = {}
        self.unsettled_bytes: int = 0
        self.released: set[int] = _NO_TAGS
        self.incoming: set[int] = _NO_TAGS
        self.max_in_flight: int = max_in_flight
        self.window: int = max_in_flight
        self.dropped: int = 0
        self.drop_reason: str = FULL_QUEUE
        self.has_shared: bool = False
        self.reviewed_epoch: int = -1
        self._store = store
        self._max_queued_messages: int = max_queued_messages
        self._max_queued_bytes: int = max_queued_bytes
        self._last_tag: int = 0
        self._queued_tags: set[int] = _NO_TAGS
        self._eviction: Eviction | None = Eviction() if drops_oldest else None
        self._waiting: Waiting = Waiting() if waiting is None else waiting

    def record(self) -> SessionRecord:
        """Give what the store keeps of the session itself."""
        return SessionRecord(self.principal, self.expiry_seconds, self.disconnected_at, self.will)

    def deliver(
        self, message: Message, qos: int, is_retained: bool, identifiers: tuple[int, ...], share: str = ""
    ) -> int:
        """Put a message in line for this session; `share` is the text of the shared subscription by which it comes.

        Returns:
            The number of the commit that will hold it, 0 when none will, -1 when the queue was full or nobody is
            connected to hear a QoS 0 message, and it was dropped.
        """
        outlet = self.outlet
        if outlet is None:
            if qos == 0 or not self.is_durable:
                return -1
        elif outlet.is_taking and not self.queue and message.expires_at is None:
            if qos == 0:
                outlet.send(message, 0, is_retained, identifiers, 0)
                return 0
            if self._has_window(message.size) and (qos == 1 or not self.is_durable):
                return self._send(outlet, message, qos, is_retained, identifiers, share)
        return self._line_up(message, qos, is_retained, identifiers, share)

    def _has_window(self, size: int) -> bool:
        """Say whether one more of `size` bytes may be unsettled."""
        hub = self._waiting
        return (
            len(self.unsettled) < self.window
            and self.unsettled_bytes < self._max_queued_bytes
            and hub.bytes + size + DELIVERY_BYTES <= hub.limit
        )

    def _send(
        self,
        outlet: Outlet,
        message: Message,
        qos: int,
        is_retained: bool,
        identifiers: tuple[int, ...],
        share: str,
    ) -> int:
        """Hand a delivery that is to be settled to the door at once, as `deliver`."""
        tag, commit, size = self._next_tag(), 0, message.size
        if self.is_durable:
            commit = self._store.enqueue(self.client_id, tag, message, qos, is_retained, identifiers, share)
        delivery = Delivery(message, qos, is_retained, identifiers, tag, commit, False, share)
        if share:
            self.has_shared = True
        self.unsettled[tag] = delivery
        self.unsettled_bytes += size
        self._waiting.bytes += size + DELIVERY_BYTES
        if not outlet.send(message, qos, is_retained, identifiers, tag):
            self.give_up(delivery)  # too large for its receiver: as if it were sent [MQTT-3.1.2-25]
        return commit

    def _line_up(self, message: Message, qos: int, is_retained: bool, identifiers: tuple[int, ...], share: str) -> int:
        """Put a message into the queue, as `deliver`."""
        outlet, size, hub = self.outlet, message.size, self._waiting
        if (
            len(self.queue) >= self._max_queued_messages
            or self.queued_bytes >= self._max_queued_bytes
            or hub.bytes + size + DELIVERY_BYTES > hub.limit
        ):
            if outlet is not None:
                outlet.drain()
            if not self._make_room(size):
                return -1
        commit = 0
        if qos == 0:
            self._own_queue().append(Delivery(message, 0, is_retained, identifiers, 0, 0, False, share))
        else:
            tag = self._next_tag()
            if self.is_durable:
                commit = self._store.enqueue(self.client_id, tag, message, qos, is_retained, identifiers, share)
            self._note_queued(tag)
            self._own_queue().append(Delivery(message, qos, is_retained, identifiers, tag, commit, False, share))
        if share:
            self.has_shared = True
        self.queued_bytes += size
        hub.bytes += size + DELIVERY_BYTES
        if outlet is not None:
            waiting = len(self.queue)
            if waiting == 1:
                outlet.wake()
            elif waiting % DRAIN_EVERY == 0:
                outlet.drain()
        return commit

    @property
    def is_full(self) -> bool:
        """Say whether no further message finds room in the queue."""
        return len(self.queue) >= self._max_queued_messages or self.queued_bytes >= self._max_queued_bytes

    def take(self, now: float, committed: int) -> Delivery | None:
        """Take the next delivery to send, or None when there is none, or none may go yet.

        A QoS 2 delivery waits until its tag is stored (`committed`), or a crash could send it twice under two tags.
        Messages that expired before `now` (unix seconds) are given up on the way, unless they were sent before.
        """
        queue = self.queue
        while queue:
            delivery = queue[0]
            message = delivery.message
            # What has expired holds up nothing behind it, whether or not there is room for it. [MQTT-4.3.3-7]
            is_expired = message.expires_at is not None and message.expires_at <= now and not delivery.was_sent
            if (
                delivery.qos
                and not is_expired
                and (
                    len(self.unsettled) >= self.window
                    or self.unsettled_bytes >= self._max_queued_bytes
                    or (delivery.qos == 2 and delivery.commit > committed)
                )
            ):
                return None
            queue.popleft()
            if self._eviction is not None:
                self._eviction.head_left(queue, delivery)
            size = message.size
            self.queued_bytes -= size
            if is_expired:
                self._waiting.bytes -= size + DELIVERY_BYTES
                self.give_up(delivery)
                continue
            if delivery.qos:
                self._queued_tags.discard(delivery.tag)
                self.unsettled[delivery.tag] = delivery
                self.unsettled_bytes += size
            else:
                self._waiting.bytes -= size + DELIVERY_BYTES
            return delivery
        return None

    def give_up(self, delivery: Delivery) -> None:
        """Drop a delivery that was taken out of the queue and will not be sent (expired, too large, not allowed)."""
        self._queued_tags.discard(delivery.tag)
        if self.unsettled.pop(delivery.tag, None) is not None:
            self._let_go(delivery)
        self.released.discard(delivery.tag)
        if delivery.tag and self.is_durable:
            self._store.settle(self.client_id, delivery.tag)

    def settle(self, tag: int) -> bool:
        """End a delivery: the receiver has it, or refused it. Says whether it was there."""
        delivery = self.unsettled.get(tag)
        if delivery is None:
            return False
        del self.unsettled[tag]
        self._let_go(delivery)
        if self.released:
            self.released.discard(tag)
        if self.is_durable:
            self._store.settle(self.client_id, tag)
        return True

    def release(self, tag: int) -> int:
        """Note that the receiver of a QoS 2 delivery has it.

        Returns:
            The number of the commit that will hold the note (0: none): only then may the receiver hear of it, or a
            crash would send it the message again after it has forgotten the tag. -1 when the tag was not unsettled.
        """
        if tag not in self.unsettled:
            return -1
        self._note_released(tag)
        return self._store.release(self.client_id, tag) if self.is_durable else 0

    def receive(self, tag: int) -> int:
        """Note a QoS 2 message received under `tag`; give the commit that will hold the note."""
        if self.incoming is _NO_TAGS:
            self.incoming = set()
        self.incoming.add(tag)
        return self._store.remember_incoming(self.client_id, tag) if self.is_durable else 0

    def receive_release(self, tag: int) -> int:
        """Forget a received tag: the sender released it; give the commit that will hold that."""
        if tag not in self.incoming:
            return 0
        self.incoming.discard(tag)
        return self._store.forget_incoming(self.client_id, tag) if self.is_durable else 0

    def attach(self, outlet: Outlet, window: int) -> list[Delivery]:
        """Join the session to an open connection; give what was unsettled, to be sent again, in its order.

        What is more than the new window takes goes back to the head of the queue [MQTT-3.3.4-9].
        """
        self.outlet = outlet
        self.window = min(window, self.max_in_flight)
        self.disconnected_at = None
        unreleased = [delivery for tag, delivery in self.unsettled.items() if tag not in self.released]
        for delivery in reversed(unreleased[self.window :]):
            del self.unsettled[delivery.tag]
            self.unsettled_bytes -= delivery.message.size
            self._note_queued(delivery.tag)
            self._own_queue().appendleft(delivery.again(was_sent=True))
            self.queued_bytes += delivery.message.size
        return list(self.unsettled.values())

    def review(self, may_receive: Callable[[Message], bool], with_unsettled: bool) -> int:
        """Give up what waits and the session may no longer receive; give how many deliveries those were.

        `with_unsettled` takes in what was sent, to a connection that is gone, and would be sent again.
        """
        barred = [delivery for delivery in self.queue if not may_receive(delivery.message)]
        if barred:
            self.queue = deque(delivery for delivery in self.queue if may_receive(delivery.message))
            size = sum(delivery.message.size for delivery in barred)
            self.queued_bytes -= size
            self._waiting.bytes -= size + len(barred) * DELIVERY_BYTES
        if with_unsettled:
            barred += [d for d in self.unsettled.values() if d.tag not in self.released and not may_receive(d.message)]
        for delivery in barred:
            self.give_up(delivery)
        return len(barred)

    def hand_over(self, place: Callable[[Delivery], bool], with_unsettled: bool = True) -> int:
        """Offer each delivery that came by a share, in their order, to `place`; what that takes is no longer held here.

        A QoS 2 delivery that may have been sent is not offered: another member could be a second receiver of it
        [MQTT-4.8.2-5]. `with_unsettled` offers QoS 1 deliveries that were sent, to a connection that is gone.

        Returns:
            How many were taken.
        """
        taken = 0
        if with_unsettled:
            for delivery in list(self.unsettled.values()):
                if delivery.share and delivery.qos == 1 and self._offer(delivery, place):
                    taken += 1
                    del self.unsettled[delivery.tag]
                    self.unsettled_bytes -= delivery.message.size
        kept: deque[Delivery] = deque()
        queue, self.queue = self.queue, deque()
        for delivery in queue:
            may_go = delivery.share and not (delivery.qos == 2 and delivery.is_repeated)
            if may_go and self._offer(delivery, place):
                taken += 1
                self._queued_tags.discard(delivery.tag)
                self.queued_bytes -= delivery.message.size
            else:
                kept.append(delivery)
        kept.extend(self.queue)
        self.queue = kept
        return taken

    def count_shared(self) -> int:
        """Give how many of its deliveries came by a share."""
        if not self.has_shared:
            return 0
        return sum(1 for d in self.queue if d.share) + sum(1 for d in self.unsettled.values() if d.share)

    def clear(self) -> None:
        """Let go of all that it holds: the session is over, whoever may still know it."""
        self._waiting.bytes -= self._held_bytes()
        self.subscriptions.clear()
        self.queue = _NO_QUEUE
        self.queued_bytes = 0
        self.unsettled.clear()
        self.unsettled_bytes = 0
        self._queued_tags = self.released = self.incoming = _NO_TAGS

    def restore(self, deliveries: tuple[Delivery, ...], released: frozenset[int], incoming: frozenset[int]) -> None:
        """Put back what the store kept: all deliveries wait again, in their order."""
        for delivery in deliveries:
            size = delivery.message.size
            if delivery.tag in released:
                self.unsettled[delivery.tag] = delivery
                self.unsettled_bytes += size
                self._note_released(delivery.tag)
            else:
                self._own_queue().append(delivery)
                self._note_queued(delivery.tag)
                self.queued_bytes += size
            self._waiting.bytes += size + DELIVERY_BYTES
            if delivery.share:
                self.has_shared = True
            self._last_tag = delivery.tag
        if incoming:
            self.incoming = set(incoming)

    def _own_queue(self) -> deque[Delivery]:
        if self.queue is _NO_QUEUE:
            self.queue = deque()
        return self.queue

    def _note_queued(self, tag: int) -> None:
        if self._queued_tags is _NO_TAGS:
            self._queued_tags = set()
        self._queued_tags.add(tag)

    def _note_released(self, tag: int) -> None:
        if self.released is _NO_TAGS:
            self.released = set()
        self.released.add(tag)

    def _let_go(self, delivery: Delivery) -> None:
        size = delivery.message.size
        self.unsettled_bytes -= size
        self._waiting.bytes -= size + DELIVERY_BYTES

    def _held_bytes(self) -> int:
        """Give what it holds of what waits for all sessions."""
        count = len(self.queue) + len(self.unsettled)
        return self.queued_bytes + self.unsettled_bytes + count * DELIVERY_BYTES

    def _offer(self, delivery: Delivery, place: Callable[[Delivery], bool]) -> bool:
        size = delivery.message.size + DELIVERY_BYTES
        self._waiting.bytes -= size  # it may go where the room is that it takes here
        if not place(delivery):
            self._waiting.bytes += size
            return False
        if delivery.tag and self.is_durable:
            self._store.settle(self.client_id, delivery.tag)
        return True

    def _is_hub_full(self, size: int) -> bool:
        if self._waiting.bytes + size + DELIVERY_BYTES <= self._waiting.limit:
            return False
        return self.outlet is None or self._held_bytes() + size + DELIVERY_BYTES > RESERVED_BYTES

    def _make_room(self, size: int) -> bool:
        """Say whether a message of `size` bytes finds room: now, or after older ones were dropped for it."""
        eviction, hub = self._eviction, self._waiting
        while self.is_full or self._is_hub_full(size):
            self.drop_reason = FULL_QUEUE if self.is_full else FULL_HUB
            self.dropped += 1
            if self.outlet is None:
                hub.untold[self] = None
            oldest = eviction.take_out(self.queue) if eviction is not None else None
            if oldest is None:
                return False
            freed = oldest.message.size
            self.queued_bytes -= freed
            hub.bytes -= freed + DELIVERY_BYTES
            self.give_up(oldest)
        return True

    def _next_tag(self) -> int:
        tag = self._last_tag
        while True:
            tag = tag + 1 if tag < MAX_TAG else 1
            if tag not in self.unsettled and (not self._queued_tags or tag not in self._queued_tags):
                self._last_tag = tag
                return tag
