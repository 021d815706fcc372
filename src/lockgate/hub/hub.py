"""The hub: one topic space behind all doors.

`publish` is the one way into it, for messages and wills of every door. It asks the policy for a grant first, and the
policy again for each receiver; nothing in here can be reached around that. Sessions come and go through
`open_session`, `close_session` and `end_session`. Times are unix seconds, given as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, final

import msgspec

from lockgate.errors import (
    LockgateError,
    NotAuthorized,
    QuotaExceeded,
    SessionTakenOver,
    TopicFilterInvalid,
    TopicNameInvalid,
)
from lockgate.hub.handover import HandOver
from lockgate.hub.ports import Outlet, SessionStore
from lockgate.hub.rates import RuleRates
from lockgate.hub.reading import Reading
from lockgate.hub.receipts import Opened, Receipt
from lockgate.hub.replays import Charge, Replays
from lockgate.hub.retained import Retained
from lockgate.hub.routes import Memory, Target, Walk
from lockgate.hub.session import Session, Waiting
from lockgate.hub.stock import Stock
from lockgate.hub.timers import Moment, Timers, proof_ended
from lockgate.hub.trie import Trie
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, StoredSession, Subscription, Will
from lockgate.model.topic import TopicName
from lockgate.policy import HUB_DEVICE, Grant, PolicyEngine
from lockgate.settings import HubSettings

Report = Callable[[LockgateError, Principal], None]
"""Hears of refusals that no peer waits for: a will that may no longer go out."""

NoteDropped = Callable[[str, str, str, int], None]
"""Hears of messages that were dropped: client id, topic ("" for several), reason, count."""

ONE_EACH = (
    "nothing, if that was the same client; else give each its own client id: the device's name, a slash, a suffix"
)
NOBODY_LEFT = "its session ended, and no other member of the share could take it"


def _ignore(client_id: str, topic: str, reason: str, count: int) -> None:
    """Hear of dropped messages where nobody wants to know."""


def _charge_nobody(principal: Principal, messages: int) -> None:
    """Hear of work where it costs nothing."""


_THE_HUB = Principal(HUB_DEVICE, HUB_DEVICE, HUB_DEVICE)
_SYS = "$SYS/"
_LEVELS_FIX = "use fewer levels, or raise hub.max_topic_levels"
_UNHEARD: Final = Receipt()
_HEARD_BY_ONE: Final = Receipt(1)


@final
class Hub:
    """The topic space.

    Args:
        policy: decides over every publish, delivery and subscription.
        store: where durable sessions and retained messages rest.
        settings: the bounds.
        report: hears of refusals that no peer waits for.
        note_dropped: hears of messages that were dropped when no door was there to tell of it.
    """

    def __init__(
        self,
        policy: PolicyEngine,
        store: SessionStore,
        settings: HubSettings,
        report: Report,
        note_dropped: NoteDropped = _ignore,
    ) -> None:
        self._policy = policy
        self._store = store
        self._settings = settings
        self._report = report
        self._note_dropped = note_dropped
        self.charge: Charge = _charge_nobody
        """A door that counts what devices do puts its own here."""
        self._waiting = Waiting(settings.max_queued_bytes_total)
        self._trie = Trie()
        self._stock = Stock(settings.max_subscription_bytes_per_device)
        self._memory = Memory(policy, self._trie)
        self.retained = Retained(settings.max_retained_messages, settings.max_retained_bytes)

        def charge(principal: Principal, work: int) -> None:
            self.charge(principal, work)  # the door's, as it is by then

        self._replays = Replays(policy, self.retained, charge)
        self._rule_rates = RuleRates(settings.rate_burst_seconds)
        self.reading = Reading(policy, self.retained, charge, settings.max_topic_levels, self._rule_rates)
        self._timers = Timers()
        self.sessions: dict[str, Session] = {}
        self._by_device: dict[str, dict[Session, None]] = {}
        self._last_forgotten: int = 0
        self.published: int = 0
        self.spoke: set[str] = set()
        self.delivered: int = 0

    # The topic space

    def publish(self, principal: Principal, message: Message, now: float = 0.0) -> Receipt | LockgateError:
        """Bring a message into the topic space, if the principal may.

        `now` is in unix seconds: a rule's rate counts by it, and gives no more than a burst to whom no time is told.

        Returns:
            The receipt, or the reason why not: `NotAuthorized`, `RateExceeded` for more than a rule's rate,
            `QuotaExceeded` for one retained message too many, `TopicNameInvalid` for too many levels.
        """
        memory = self._memory
        is_new = not memory.is_last(principal)
        walk = memory.walk(principal, message)
        if walk is None:
            if message.topic.count("/") >= self._settings.max_topic_levels:
                return TopicNameInvalid(f"a topic name of {_levels(message.topic)}", fix=_LEVELS_FIX)
            answer = memory.decide(principal, message)
            if not isinstance(answer, Walk):
                memory.forget_last()
                return answer
            walk = answer
        if walk.is_limited and walk.grant.messages_per_second:
            excess = self._rule_rates.take(walk.grant, now)
            if excess is not None:
                return excess
        commit = 0
        if message.retain:
            try:
                commit = self._retain(message)
            except QuotaExceeded as error:
                return error
        self.published += 1
        if is_new:
            self.spoke.add(principal.device)
        route = memory.route_of(walk, message.topic)
        if message.size > route.max_payload_bytes and message.payload_bytes > route.max_payload_bytes:
            route = memory.fitting(route, message.topic, message.payload_bytes)
        heard, message_qos = 0, message.qos
        for target in route.targets:
            if target.no_local and target.session.client_id == principal.client_id:
                own = target.without_local()
                if own is None:
                    continue
                target = own
            qos = message_qos if message_qos < target.qos else target.qos
            is_retained = message.retain and target.retain_as_published
            number = target.session.deliver(message, qos, is_retained, target.identifiers)
            if number >= 0:
                heard += 1
                if number > commit:
                    commit = number
        for shared in route.shares:
            member = shared.pick(message_qos)
            if member is not None:
                number = _deliver(member, message, shared.share.text)
                if number >= 0:
                    heard += 1
                    if number > commit:
                        commit = number
        self.delivered += heard
        if commit == 0 and heard < 2:
            return _HEARD_BY_ONE if heard else _UNHEARD
        return Receipt(heard, commit)

    def take_spoke(self) -> set[str]:
        """Give the devices that have published since it was last asked."""
        spoke, self.spoke = self.spoke, set()
        self._memory.forget_last()
        return spoke

    def subscribe(
        self, session: Session, wanted: Subscription, now: float, is_replayed_later: bool = False
    ) -> tuple[int, int]:
        """Add a subscription, and deliver the retained messages that it asks for; a shared one gets none (4.8.2).

        With `is_replayed_later` those wait for `replay_next`: to find them can take long, and many can be asked for.

        Returns:
            The granted QoS, and the commit (0: none) after which the subscription is stored.

        Raises:
            TopicFilterInvalid: the filter has too many levels.
            NotAuthorized: no rule covers the filter.
            QuotaExceeded: the session, or its device, holds too many subscriptions.
        """
        if wanted.filter.count("/") >= self._settings.max_topic_levels:
            raise TopicFilterInvalid(f"a topic filter of {_levels(wanted.filter)}", fix=_LEVELS_FIX)
        decision = self._policy.authorize_filter(session.principal, wanted.filter)
        if not isinstance(decision, Grant):
            raise decision
        if wanted.text not in session.subscriptions and len(session.subscriptions) >= self._settings.max_subscriptions:
            raise QuotaExceeded(
                f"{session.client_id} holds {len(session.subscriptions)} subscriptions already",
                reason="too many subscriptions",
                fix="use wildcards, or raise hub.max_subscriptions",
            )
        self._stock.take(session, wanted)
        granted = msgspec.structs.replace(wanted, qos=min(wanted.qos, decision.max_qos))
        is_new = self._trie.insert(session, granted)
        session.subscriptions[granted.text] = granted
        self._memory.forget_routes(granted.filter)
        commit = self._store.save_subscription(session.client_id, granted) if session.is_durable else 0
        if granted.share:
            return granted.qos, commit
        if granted.retain_handling == 0 or (granted.retain_handling == 1 and is_new):  # [MQTT-3.3.1-9] to -11
            if is_replayed_later:
                self._replays.ask(session, granted)
            else:
                self._replays.replay(session, granted, now)
        return granted.qos, commit

    def replay_next(self, now: float) -> bool:
        """Deliver the retained messages that one subscription still waits for; say whether others wait."""
        return self._replays.deliver_next(now)

    def unsubscribe(self, session: Session, text: str) -> tuple[bool, int]:
        """Drop a subscription by the text that asked for it, `$share/NAME/` included.

        Returns:
            Whether it was there, and the commit (0: none) after which it is gone for good.
        """
        subscription = session.subscriptions.pop(text, None)
        if subscription is None:
            return False, 0
        self._stock.give_back(session, subscription)
        self._trie.remove(session, subscription.filter, subscription.share)
        self._memory.forget_routes(subscription.filter)
        return True, self._store.forget_subscription(session.client_id, text) if session.is_durable else 0

    def review(self, session: Session, with_unsettled: bool = False) -> int:
        """Give up deliveries that wait and that their session may no longer receive; give how many.

        Those that came by a share go to another member that may, if there is one.
        A delivery was authorized when it was put in line. When the policy has changed since, it is asked again before
        anything is sent. A door calls this before it takes deliveries.
        """
        epoch = self._policy.clock.number
        if session.reviewed_epoch == epoch:
            return 0
        is_concerned = self._policy.clock.moved_at(session.principal.device) > session.reviewed_epoch
        session.reviewed_epoch = epoch
        if not is_concerned or (not session.queue and not session.unsettled):
            return 0

        def may_receive(message: Message) -> bool:
            answer = self._policy.authorize(
                session.principal, Operation.RECEIVE, message.topic, payload_bytes=message.payload_bytes
            )
            return isinstance(answer, Grant)

        if session.has_shared:
            others = HandOver(self._trie, self._policy, session, is_over=True)

            def place(delivery: Delivery) -> bool:
                return not may_receive(delivery.message) and _place(others, delivery)

            with self._store.together():
                session.hand_over(place, with_unsettled)
        return session.review(may_receive, with_unsettled)

    def announce(self, topic: TopicName, text: str) -> None:
        """Say something of the hub itself, under $SYS; it is retained, and not stored."""
        self.publish(_THE_HUB, Message(topic, text.encode(), retain=True))

    @property
    def subscription_count(self) -> int:
        """Give the number of subscriptions of all sessions."""
        return len(self._trie)

    @property
    def retained_count(self) -> int:
        """Give the number of topics with a retained message."""
        return len(self.retained)

    # Sessions

    def open_session(
        self,
        principal: Principal,
        outlet: Outlet,
        clean_start: bool,
        expiry_seconds: float,
        will: Will | None,
        window: int,
        now: float,
    ) -> Opened:
        """Join a connection to its session: the one that waits for it, or a new one.

        Args:
            principal: who connected; its client id names the session.
            outlet: the connection.
            clean_start: drop the session that waits, if there is one.
            expiry_seconds: how long the session shall wait when the connection ends.
            will: goes out when the connection is lost; authorized now and again when it fires.
            window: how many unsettled deliveries the client takes at once (receive maximum).
            now: unix seconds.

        Raises:
            NotAuthorized: the will's topic is forbidden.
            QuotaExceeded: the hub holds too many sessions.
        """
        if will is not None:
            if will.message.topic.count("/") >= self._settings.max_topic_levels:
                raise TopicNameInvalid(f"a will's topic name of {_levels(will.message.topic)}", fix=_LEVELS_FIX)
            said = will.message
            decision = self._policy.authorize(
                principal, Operation.PUBLISH, said.topic, said.qos, said.retain, said.payload_bytes
            )
            if not isinstance(decision, Grant):
                raise decision
        previous = self.sessions.get(principal.client_id)
        if previous is None and len(self.sessions) >= self._settings.max_sessions:
            raise QuotaExceeded(f"{len(self.sessions)} sessions are open already", fix="raise hub.max_sessions")
        if (
            previous is None
            and len(self._by_device.get(principal.device, ())) >= self._settings.max_sessions_per_device
        ):
            raise QuotaExceeded(
                f"{principal.device} has {self._settings.max_sessions_per_device} sessions already",
                reason="too many sessions",
                fix="use the same client ids again, or raise hub.max_sessions_per_device",
            )
        if previous is not None:
            self._take_over(previous, clean_start, now)
        waiting = self.sessions.get(principal.client_id)
        session = waiting if waiting is not None else self._new_session(principal, expiry_seconds)
        self._adopt(session, principal, expiry_seconds, will)
        self.review(session, with_unsettled=True)
        resend = session.attach(outlet, window)
        # What is not stored waits for what was forgotten: a crash would bring back the session it was told is gone.
        commit = self._store.save_session(session.record()) if session.is_durable else self._last_forgotten
        self._timers.forget(session)
        self._end_with_proof(session, principal)
        return Opened(session, waiting is not None, tuple(resend), commit)

    def prolong(self, session: Session, principal: Principal) -> None:
        """Let a session go on under a fresh proof, which ends when it ends; every decision from here on is about it.

        Args:
            session: one that is connected.
            principal: who it is now: the same device and client id, proven anew.

        Raises:
            NotAuthorized: it is somebody else.
        """
        if (principal.device, principal.client_id) != (session.principal.device, session.client_id):
            raise NotAuthorized(f"the session of {session.client_id} goes on for nobody else")
        self._become(session, principal)
        self._end_with_proof(session, principal)
        if session.is_durable:
            self._store.save_session(session.record())

    def close_session(self, session: Session, outlet: Outlet, send_will: bool, now: float) -> None:
        """Part a session from its connection, which ended. `send_will` is false after a clean DISCONNECT."""
        if session.outlet is not outlet:
            return
        session.outlet = None
        session.disconnected_at = now
        self._memory.forget_client(session.client_id)
        if not send_will:
            session.will = None
        self._hand_over(session)
        self._rest(session, now)

    def end_session(self, session: Session, now: float, error: LockgateError | None = None) -> None:
        """End a session for good: its connection (told why), its will (if it still may go out), its queue."""
        outlet, session.outlet = session.outlet, None
        if outlet is not None and error is not None:
            outlet.end(error)
        self._fire_will(session, now)
        self._discard(session)

    def disconnect(self, session: Session, error: LockgateError, now: float) -> None:
        """End a session's connection, telling the peer why; the session itself waits as it was agreed."""
        outlet, session.outlet = session.outlet, None
        if outlet is None:
            return
        session.disconnected_at = now
        self._memory.forget_client(session.client_id)
        outlet.end(error)
        self._hand_over(session)
        self._rest(session, now)

    def sessions_of(self, device: str) -> list[Session]:
        """Give every session of a device, connected or waiting."""
        return list(self._by_device.get(device, ()))

    def restore(self, sessions: Iterable[StoredSession], retained: Iterable[Message], now: float) -> None:
        """Put back what the store kept through a restart. Sessions that were connected count as lost now."""
        for message in retained:
            if message.expires_at is None or message.expires_at > now:
                self.retained.put_back(message)
            else:
                self._store.clear_retained(message.topic)
        restored: list[tuple[Session, float]] = []
        for stored in sessions:
            record = stored.record
            session = self._new_session(record.principal, record.expiry_seconds)
            session.will = record.will
            lost_at = session.disconnected_at = now if record.disconnected_at is None else record.disconnected_at
            session.restore(stored.deliveries, stored.released, stored.incoming)
            for subscription in stored.subscriptions:
                self._stock.put_back(session, subscription)
                session.subscriptions[subscription.text] = subscription
                self._trie.insert(session, subscription)
            restored.append((session, lost_at))
        for session, lost_at in restored:  # all are back: a will that goes out now finds its subscribers
            self._rest(session, lost_at)

    # Time

    def handle_timer(self, now: float) -> None:
        """Send the wills, end the sessions and connections whose time has come, and tell what was dropped."""
        self._tell_dropped()
        for moment, session in self._timers.due(now):
            if moment is Moment.PROOF_ENDS:
                self.disconnect(session, proof_ended(session.principal), now)
            elif moment is Moment.SESSION_EXPIRES:
                self.end_session(session, now)
            else:
                self._fire_will(session, now)
                self._store.save_session(session.record())

    def _tell_dropped(self) -> None:
        untold, self._waiting.untold = self._waiting.untold, {}
        for session in untold:
            if session.dropped and session.outlet is None:  # else its door tells
                count, session.dropped = session.dropped, 0
                self._note_dropped(session.client_id, "", session.drop_reason, count)

    def clear_expired(self, now: float) -> None:
        """Drop retained messages that have expired. Called now and then: `match` already hides them."""
        for topic in self.retained.expired(now):
            self.retained.clear(topic)
            self._store.clear_retained(topic)

    # Helpers

    def _retain(self, message: Message) -> int:
        if message.payload:
            self.retained.keep(message)
            if message.topic.startswith(_SYS):  # the hub says it anew after a start
                return 0
            return self._store.keep_retained(message)
        # [MQTT-3.3.1-6]: an empty payload clears the topic, and is itself not kept.
        # The clearing before this one may still be on its way to the disk: whoever is promised it waits as well.
        return self._store.clear_retained(message.topic) if self.retained.clear(message.topic) or message.qos else 0

    def _hand_over(self, session: Session) -> None:
        """Give what came by a share, to a session whose connection ended, to members that are connected.

        Once a session is out of the trie, it is over: then members that wait for their client take it as well.
        """
        if not session.has_shared or not self._trie.shared:
            return
        is_over = self.sessions.get(session.client_id) is not session
        others = HandOver(self._trie, self._policy, session, is_over)
        with self._store.together():  # a crash finds each delivery with one member, not with two or none
            moved = session.hand_over(lambda delivery: _place(others, delivery))
        if moved:
            self.charge(session.principal, moved)

    def _new_session(self, principal: Principal, expiry_seconds: float) -> Session:
        settings = self._settings
        session = Session(
            principal,
            expiry_seconds,
            self._store,
            settings.max_queued_messages,
            settings.max_queued_bytes,
            settings.max_in_flight,
            settings.on_full_queue == "drop-oldest",
            self._waiting,
        )
        session.reviewed_epoch = self._policy.clock.number
        self.sessions[principal.client_id] = session
        self._by_device.setdefault(principal.device, {})[session] = None
        return session

    def _adopt(self, session: Session, principal: Principal, expiry_seconds: float, will: Will | None) -> None:
        self._become(session, principal)
        session.expiry_seconds = expiry_seconds
        session.will = will
        if session.is_durable and expiry_seconds <= 0:
            # It was kept and shall end with this connection: the store need not know it any longer.
            self._last_forgotten = self._store.forget_session(session.client_id)
        session.is_durable = expiry_seconds > 0

    def _become(self, session: Session, principal: Principal) -> None:
        before, session.principal = session.principal, principal
        if (before.device, before.credential_id) != (principal.device, principal.credential_id):
            for subscription in session.subscriptions.values():  # their routes were made for who it was
                self._memory.forget_routes(subscription.filter)

    def _end_with_proof(self, session: Session, principal: Principal) -> None:
        at = principal.expires_at
        self._timers.add(math.inf if at is None else at, Moment.PROOF_ENDS, session)

    def _take_over(self, session: Session, clean_start: bool, now: float) -> None:
        outlet, session.outlet = session.outlet, None
        if outlet is not None:
            session.disconnected_at = now
            outlet.end(SessionTakenOver(f"{session.client_id} connected anew", fix=ONE_EACH))
        will = session.will
        lost_at = session.disconnected_at
        # Its time may be up and the timer not there yet [MQTT-4.1.0-2].
        if clean_start or (lost_at is not None and lost_at + session.expiry_seconds <= now):
            self._fire_will(session, now)
            self._discard(session)
        elif will is not None and will.delay_seconds <= 0:  # MQTT 5.0 section 3.1.3.2.2
            self._fire_will(session, now)

    def _rest(self, session: Session, now: float) -> None:
        """Let a session without a connection wait, or end it when it shall not."""
        will = session.will
        if session.expiry_seconds <= 0:
            self._fire_will(session, now)
            self._discard(session)
            return
        if will is not None:
            if will.delay_seconds <= 0:
                self._fire_will(session, now)
            elif will.delay_seconds < session.expiry_seconds:  # a session that ends sends its will anyway
                self._timers.add(now + will.delay_seconds, Moment.WILL_GOES_OUT, session)
        self._timers.add(now + session.expiry_seconds, Moment.SESSION_EXPIRES, session)
        self._store.save_session(session.record())

    def _fire_will(self, session: Session, now: float) -> None:
        will, session.will = session.will, None
        if will is None:
            return
        message = will.message
        if will.expiry_seconds is not None:
            message = message.until(now + will.expiry_seconds)
        outcome = self.publish(session.principal, message, now)  # the one way in, and checked again
        self._memory.forget_client(session.client_id)
        if isinstance(outcome, LockgateError):
            self._report(outcome, session.principal)

    def _discard(self, session: Session) -> None:
        if self.sessions.get(session.client_id) is not session:
            return  # it is gone already, and its client id may be another's by now
        del self.sessions[session.client_id]
        of_device = self._by_device[session.principal.device]
        del of_device[session]
        if not of_device:
            del self._by_device[session.principal.device]
        for subscription in session.subscriptions.values():
            self._stock.give_back(session, subscription)
            self._trie.remove(session, subscription.filter, subscription.share)
            self._memory.forget_routes(subscription.filter)
        with self._store.together():
            self._hand_over(session)
            if session.is_durable:
                self._last_forgotten = self._store.forget_session(session.client_id)
        unheard = session.count_shared()
        if unheard:
            self._note_dropped(session.client_id, "", NOBODY_LEFT, unheard)
        session.clear()
        self._replays.forget(session)
        self.reading.forget(session.client_id)
        self._timers.forget(session)
        self._memory.forget_client(session.client_id)


def _place(others: HandOver, delivery: Delivery) -> bool:
    """Give a delivery that came by a share to another member; say whether one took it."""
    member = others.find(delivery)
    return member is not None and _deliver(member, delivery.message, delivery.share) >= 0


def _deliver(member: Target, message: Message, share: str) -> int:
    qos = message.qos if message.qos < member.qos else member.qos
    is_retained = message.retain and member.retain_as_published
    return member.session.deliver(message, qos, is_retained, member.identifiers, share)


def _levels(topic: str) -> str:
    return f"{topic.count('/') + 1} levels is longer than this hub takes"
