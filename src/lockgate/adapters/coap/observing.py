"""Observations: what the hub sees of a CoAP connection, and how its deliveries become notifications.

Theory of operation. An observation is one token of one connection, registered by a GET with Observe. All observations
of the same filter share one subscription of the connection's session, whose identifier is the number by which each
delivery finds them. A confirmable registration is a subscription at QoS 1: its notifications are confirmable, and the
delivery is settled when all of them are acknowledged. Others are at QoS 0, and one in so many is confirmable all the
same: by its acknowledgement the hub sees that the observer is still there (RFC 7641 section 4.5).

    delivery --identifiers--> Watched (filter) --tokens--> notification --key--> acknowledged, reset, given up

Where that acknowledgement has not come when it was asked for the third time, the observer may be gone: unconfirmed
ones are dropped until it comes, so that nobody who has left is flooded (section 4.5.1).

While earlier ones are not acknowledged, deliveries wait in the session's queue. Of the states of one topic (what is
retained) the newest replaces those that wait before it, as section 4.5.2 wants it; events (what is not) all go.

Source: RFC 7641 sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, final

from lockgate.adapters.coap import mapping
from lockgate.adapters.coap.blocks import Blocks
from lockgate.adapters.coap.messages import CoapMessage, Options
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.adapters.coap.wire import decode_uint, encode_uint
from lockgate.errors import LockgateError, QuotaExceeded
from lockgate.hub import Hub, Outlet, Session, SessionStore
from lockgate.model.message import Message
from lockgate.model.session import Delivery, Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.registry.journal import Journal
from lockgate.settings import CoapSettings

Protect: TypeAlias = Callable[[bytes, int, Options, bytes], tuple[int, Options, bytes]]

LOOKED_AHEAD: Final = 64
"""So many waiting deliveries are looked at for a newer state of the same topic."""
GAVE_WAY: Final = "newer notifications took its place"
SILENT: Final = "the observer acknowledges nothing"
_OBSERVE: Final = 6
_CONTENT: Final = 69
_CONTENT_FORMAT: Final = 12
_NOT_ACCEPTABLE: Final = 134


@final
class Observation:
    """One token that observes; `content_format` is that of its first representation, -1 while that is not known."""

    __slots__ = (
        "asked_at", "confirmed_at", "content_format", "is_confirmable", "is_over", "request", "token", "unconfirmed",
        "watched",
    )  # fmt: skip

    def __init__(self, request: CoapMessage, watched: Watched, is_confirmable: bool, now: float) -> None:
        # Its options say how to answer; a body, which means nothing in a GET, is not kept for as long as it observes.
        self.request: CoapMessage = request.with_(request.options, b"") if request.payload else request
        self.token: bytes = request.token
        self.watched: Watched = watched
        self.is_confirmable: bool = is_confirmable
        self.is_over: bool = False
        self.content_format: int = -1
        self.unconfirmed: int = 0
        self.confirmed_at: float = now
        self.asked_at: float = 0.0
        """When the notification was sent whose acknowledgement is waited for; 0 for none."""

    def began(self, options: Options) -> None:
        """Note the Content-Format of the first answer: notifications have the same (section 4.2)."""
        for number, value in options:
            if number == _CONTENT_FORMAT:
                self.content_format = decode_uint(value)


@final
class Watched:
    """One filter that a connection observes, with its observations; `number` identifies its subscription."""

    __slots__ = ("filter", "names_topics", "number", "observations", "qos")

    def __init__(self, topic_filter: TopicFilter, number: int) -> None:
        self.filter: TopicFilter = topic_filter
        self.number: int = number
        self.qos: int = 0
        self.names_topics: bool = "+" in topic_filter or "#" in topic_filter
        self.observations: list[Observation] = []


@final
class Observers:
    """What the observers of one door have in common.

    Args:
        hub: where they subscribe.
        store: tells what is stored.
        journal: hears of what is dropped.
        settings: how often a notification is confirmable, and how many observations a connection may have.
        clock: gives monotonic seconds.
        wall_clock: gives unix seconds.
        call_soon: has the loop call something when its turn ends.
    """

    def __init__(
        self,
        hub: Hub,
        store: SessionStore,
        journal: Journal,
        settings: CoapSettings,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.hub = hub
        self.store = store
        self.journal = journal
        self.clock = clock
        self.wall_clock = wall_clock
        self.max_observations: int = settings.max_observations
        self.non_per_con: int = settings.non_per_con
        self.confirm_after_seconds: float = settings.con_at_least_every_hours * 3600.0
        self.patience_seconds: float = 3.0 * settings.ack_timeout_seconds * settings.ack_random_factor
        self.last_key: int = 0
        """Of the last notification: one counter for all, since several observers may share a link."""
        self._call_soon = call_soon
        self._dirty: list[Observer] = []

    def schedule(self, observer: Observer) -> None:
        """Have `observer` send what waits when this turn of the loop ends."""
        if not self._dirty:
            self._call_soon(self._turn_ends)
        self._dirty.append(observer)

    def _turn_ends(self) -> None:
        dirty, self._dirty = self._dirty, []
        for observer in dirty:
            observer.turn_ends()


@final
class Observer(Outlet):
    """The observations of one connection.

    Args:
        shared: what all of the door share.
        protocol: sends the notifications.
        blocks: keeps long ones, of which a notification carries the first block.
        flush: sends what the protocol has gathered.
        on_end: hears that the hub ends the connection, and why.
        on_error: hears what went wrong unexpectedly.
        protect: gives code, options and payload of what goes to the holder of a token, protected; None for as they are.
    """

    def __init__(
        self,
        shared: Observers,
        protocol: CoapProtocol,
        blocks: Blocks,
        flush: Callable[[], None],
        on_end: Callable[[LockgateError], None],
        on_error: Callable[[], None],
        protect: Protect | None = None,
    ) -> None:
        super().__init__()
        self.session: Session | None = None
        self._shared = shared
        self._protocol = protocol
        self._blocks = blocks
        self._flush = flush
        self._on_end = on_end
        self._on_error = on_error
        self._protect = protect
        self._by_token: dict[bytes, Observation] = {}
        self._by_filter: dict[str, Watched] = {}
        self._by_number: dict[int, Watched] = {}
        self._sent: dict[int, tuple[Observation, int]] = {}
        self._unacknowledged: dict[int, int] = {}
        self._last_number: int = 0
        self._is_scheduled: bool = False

    def __len__(self) -> int:
        """Give the number of observations."""
        return len(self._by_token)

    def __contains__(self, token: object) -> bool:
        """Say whether a token observes."""
        return token in self._by_token

    # Towards the door

    def begin(self, session: Session) -> None:
        """The device is let in."""
        self.session = session
        self.is_taking = True

    def observe(self, request: CoapMessage, topic_filter: TopicFilter, is_confirmable: bool, now: float) -> Observation:
        """Register an observation; one with the same token is replaced (section 4.1).

        Args:
            request: the GET that asks for it.
            topic_filter: what it takes in.
            is_confirmable: whether its notifications are to be acknowledged.
            now: unix seconds.

        Raises:
            QuotaExceeded: the connection has enough of them, or the session, or the device.
            NotAuthorized: no rule covers the filter.
            TopicFilterInvalid: it has too many levels.
        """
        session, shared, token = self.session, self._shared, request.token
        assert session is not None
        known = self._by_token.get(token)
        if known is not None:
            if known.watched.filter == topic_filter and known.is_confirmable == is_confirmable:
                return known
            self.forget(token)
        if len(self._by_token) >= shared.max_observations:
            raise QuotaExceeded(
                f"{session.client_id} has {len(self._by_token)} observations already",
                reason="too many observations",
                fix="observe a filter (/?filter=FILTER), or raise coap.max_observations",
            )
        watched = self._by_filter.get(topic_filter)
        qos = 1 if is_confirmable else 0
        if watched is None:
            watched = self._new_watched(topic_filter)
        if not watched.observations or qos > watched.qos:
            self._subscribe(session, watched, qos, now)
        observation = Observation(request, watched, is_confirmable, shared.clock())
        self._by_filter[topic_filter] = self._by_number[watched.number] = watched
        watched.observations.append(observation)
        self._by_token[token] = observation
        return observation

    def forget(self, token: bytes) -> bool:
        """End an observation; say whether there was one."""
        observation = self._by_token.pop(token, None)
        if observation is None:
            return False
        observation.is_over = True
        for key in self._protocol.forget(token, self._shared.clock()):
            self._end(key)
        watched = observation.watched
        watched.observations.remove(observation)
        if not watched.observations:
            del self._by_filter[watched.filter]
            del self._by_number[watched.number]
            if self.session is not None:
                self._shared.hub.unsubscribe(self.session, watched.filter)
        return True

    def acknowledged(self, key: int) -> None:
        """The observer has a notification."""
        sent = self._sent.pop(key, None)
        if sent is not None:
            sent[0].confirmed_at = self._shared.clock()
            sent[0].asked_at = 0.0
            self._settle(sent[1])

    def rejected(self, key: int, token: bytes) -> None:
        """The observer does not want it (a Reset), or does not answer at all: it observes no longer (section 3.6)."""
        self._end(key)
        self.forget(token)

    def say_goodbye(self, code: int, text: str) -> None:
        """Tell all observers that nothing more will come (section 4.2)."""
        now, payload = self._shared.clock(), text.encode()
        for token in list(self._by_token):
            self.forget(token)
            self._tell(token, code, (), payload, False, 0, now)

    def probe(self) -> None:
        """See whether the observer is still there, by a confirmable notification of how things stand."""
        session, shared = self.session, self._shared
        observation = next(iter(self._by_token.values()), None)
        if session is None or observation is None:
            return
        watched = observation.watched
        message: Message | None = None
        if not watched.names_topics:
            topic = TopicName(watched.filter)
            try:
                message = shared.hub.reading.read(session.principal, topic, shared.wall_clock())
            except LockgateError as error:  # a right that was taken meanwhile: that ends it (section 4.2)
                self.forget(observation.token)
                code, text = mapping.code_of(error), error.reason.encode()
                self._protocol.notify(observation.token, code, (), text, False, 0, shared.clock())
                return
        if message is not None:
            self._notify(observation, message, 0, is_probe=True)
            return
        options = ((_OBSERVE, encode_uint(self._protocol.next_observe_number())),)
        shared.last_key += 1
        key = shared.last_key
        self._sent[key] = (observation, 0)
        self._tell(observation.token, _CONTENT, options, b"", True, key, shared.clock())

    def part(self) -> Session | None:
        """Take nothing more; give the session that it was for."""
        session, self.session = self.session, None
        self.is_taking = False
        self._by_token.clear()
        self._by_filter.clear()
        self._by_number.clear()
        self._sent.clear()
        self._unacknowledged.clear()
        return session

    # Towards the hub: the outlet

    def send(self, message: Message, qos: int, is_retained: bool, identifiers: tuple[int, ...], tag: int) -> bool:
        """Notify all whom a delivery is for; it leaves when this turn of the loop ends."""
        del qos, is_retained  # a tag says as much, and a notification has no flag
        try:
            self._send(message, identifiers, tag)
        except Exception:  # it is not the publisher's fault: this connection ends, and no other
            self._on_error()
            return True
        self._schedule()
        return True

    def wake(self) -> None:
        """Deliveries wait: send them when this turn of the loop ends."""
        self._schedule()

    def drain(self) -> None:
        """Many deliveries wait: send them now."""
        try:
            self.pump()
        except Exception:
            self._on_error()

    def end(self, error: LockgateError) -> None:
        """The hub ends this connection."""
        self._on_end(error)

    def turn_ends(self) -> None:
        """Send what this turn of the loop brought."""
        self._is_scheduled = False
        self.drain()

    def pump(self) -> None:
        """Send what waits in the session, as far as acknowledgements allow."""
        session, shared = self.session, self._shared
        if session is None:
            return
        if session.dropped:
            count, session.dropped = session.dropped, 0
            shared.journal.dropped(session.client_id, "", session.drop_reason, count)
        if session.queue:
            barred = shared.hub.review(session)
            if barred:
                shared.journal.dropped(session.client_id, "", "no longer allowed to receive it", barred)
            now, committed = shared.wall_clock(), shared.store.committed
            while True:
                delivery = session.take(now, committed)
                if delivery is None:
                    break
                if _is_outdated(delivery, session):
                    session.give_up(delivery)
                else:
                    self._send(delivery.message, delivery.identifiers, delivery.tag)
        self._flush()

    # Helpers

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._shared.schedule(self)

    def _new_watched(self, topic_filter: TopicFilter) -> Watched:
        self._last_number += 1
        return Watched(topic_filter, self._last_number)

    def _subscribe(self, session: Session, watched: Watched, qos: int, now: float) -> None:
        # Its first answer brings what is retained: none of that is delivered beside it.
        wanted = Subscription(watched.filter, qos, retain_handling=2, identifier=watched.number)
        self._shared.hub.subscribe(session, wanted, now)
        watched.qos = qos

    def _send(self, message: Message, identifiers: tuple[int, ...], tag: int) -> None:
        count = 0
        for number in identifiers:
            watched = self._by_number.get(number)
            if watched is not None and (not watched.names_topics or mapping.is_expressible(message.topic)):
                for observation in list(watched.observations):
                    if self._is_same_format(observation, message):
                        count += self._notify(observation, message, tag)
        if tag:
            if count:
                self._unacknowledged[tag] = self._unacknowledged.get(tag, 0) + count
            elif self.session is not None:
                self.session.settle(tag)

    def _is_same_format(self, observation: Observation, message: Message) -> bool:
        """Say whether a message has the Content-Format of those before; else end the observation (section 4.2)."""
        number = mapping.format_of(message) if message.properties is not None else -1
        if number < 0 or observation.watched.names_topics or observation.content_format == number:
            return True
        if observation.content_format < 0:
            observation.content_format = number
            return True
        text = f"the Content-Format is {number} by now, and was {observation.content_format}: observe anew"
        self.forget(observation.token)
        self._tell(observation.token, _NOT_ACCEPTABLE, (), text.encode(), False, 0, self._shared.clock())
        return False

    def _notify(self, observation: Observation, message: Message, tag: int, is_probe: bool = False) -> int:
        """Send one notification; give how many acknowledgements its delivery waits for because of it."""
        shared, now = self._shared, self._shared.clock()
        waits = observation.is_confirmable and tag != 0
        has_left = observation.asked_at and now - observation.asked_at > shared.patience_seconds
        if has_left and not (waits or is_probe):
            self._drop(message, SILENT)
            return 0
        is_confirmable = waits or is_probe or self._is_confirmed_now(observation, now)
        if is_confirmable:
            observation.unconfirmed = 0
        shared.last_key += 1
        key = shared.last_key
        if is_confirmable:
            self._sent[key] = (observation, tag if waits else 0)
        options = mapping.representation(
            message, shared.wall_clock(), self._protocol.next_observe_number(), observation.watched.names_topics
        )
        part = self._blocks.answer(observation.request, _CONTENT, options, message.payload, now)
        gave_way = self._tell(observation.token, part.code, part.options, part.payload, is_confirmable, key, now)
        if gave_way == key:
            del self._sent[key]
            waits = False
        elif is_confirmable and not observation.asked_at:
            observation.asked_at = now
        if gave_way >= 0:
            self._end(gave_way)
            self._drop(message, GAVE_WAY)
        return 1 if waits else 0

    def _drop(self, message: Message, reason: str) -> None:
        if self.session is not None:
            self._shared.journal.dropped(self.session.client_id, message.topic, reason)

    def _tell(
        self, token: bytes, code: int, options: Options, payload: bytes, is_confirmable: bool, key: int, now: float
    ) -> int:
        if self._protect is not None:
            code, options, payload = self._protect(token, code, options, payload)
        return self._protocol.notify(token, code, options, payload, is_confirmable, key, now)

    def _is_confirmed_now(self, observation: Observation, now: float) -> bool:
        """Say whether an unconfirmed notification is confirmable all the same (section 4.5)."""
        observation.unconfirmed += 1
        return (
            observation.unconfirmed >= self._shared.non_per_con
            or now - observation.confirmed_at >= self._shared.confirm_after_seconds
        )

    def _end(self, key: int) -> None:
        """A notification will not be acknowledged: its delivery waits for it no longer."""
        sent = self._sent.pop(key, None)
        if sent is not None:
            self._settle(sent[1])

    def _settle(self, tag: int) -> None:
        if not tag or self.session is None:
            return
        left = self._unacknowledged.get(tag, 0) - 1
        if left > 0:
            self._unacknowledged[tag] = left
            return
        self._unacknowledged.pop(tag, None)
        self.session.settle(tag)
        if self.session.queue:
            self._schedule()


def _is_outdated(delivery: Delivery, session: Session) -> bool:
    """Say whether a newer state of the same topic waits behind a delivery, for the same observers."""
    message = delivery.message
    if not message.retain:
        return False
    for index, later in enumerate(session.queue):
        if index >= LOOKED_AHEAD:
            break
        if later.message.topic == message.topic and later.message.retain and later.identifiers == delivery.identifiers:
            return True
    return False
