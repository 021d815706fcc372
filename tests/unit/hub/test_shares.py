"""Shared subscriptions: one of the members hears each message, in turns, and what a lost one leaves goes to another."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import NotAuthorized, QuotaExceeded
from lockgate.hub import Receipt, Session
from lockgate.hub.hub import NOBODY_LEFT
from lockgate.hub.session import DELIVERY_BYTES
from lockgate.hub.shares import ABSENT, ABSENT_AND_FULL, CONNECTED, READY, ROOMY, UNABLE, rank
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.session import Delivery, Subscription
from lockgate.model.topic import TopicFilter, split_share
from lockgate.settings import HubSettings
from tests.support.fakes import EVERYTHING, FakeOutlet, principal
from tests.unit.hub.test_hub import NOW, SENSOR, World, heard, message, outlet_of

DAY = 86_400.0


def shared(text: str = "$share/team/a", qos: int = 2, identifier: int = 0, as_published: bool = False) -> Subscription:
    name, topic_filter = split_share(text)
    return Subscription(topic_filter, qos, False, as_published, 0, identifier, name)


def join(
    world: World, client_id: str, *texts: str, expiry: float = 0.0, window: int = 100, qos: int = 2, clean: bool = False
) -> Session:
    who = principal(client_id.partition("/")[0], client_id)
    session = world.hub.open_session(who, FakeOutlet(), clean, expiry, None, window, NOW).session
    for text in texts or ("$share/team/a",):
        world.hub.subscribe(session, shared(text, qos), NOW)
    return session


def publish(world: World, *payloads: str, qos: int = 1, topic: str = "a") -> list[Receipt]:
    receipts = []
    for payload in payloads:
        outcome = world.hub.publish(SENSOR, message(topic, payload.encode(), qos))
        assert isinstance(outcome, Receipt)
        receipts.append(outcome)
    return receipts


def lose(world: World, session: Session) -> None:
    world.hub.close_session(session, outlet_of(session), True, NOW)


def take(session: Session, count: int = 1000) -> list[str]:
    found: list[str] = []
    while len(found) < count and (delivery := session.take(NOW, 1 << 40)) is not None:
        found.append(delivery.message.payload.decode())
    return found


def queued(session: Session) -> list[str]:
    return [delivery.message.payload.decode() for delivery in session.queue]


# Who hears what


def test_each_message_goes_to_one_member_in_turns() -> None:
    world = World()
    members = [join(world, name) for name in ("one", "two", "three")]
    assert publish(world, *"abcdef") == [Receipt(1)] * 6
    assert [queued(member) for member in members] == [["a", "d"], ["b", "e"], ["c", "f"]]


def test_each_share_gets_its_own_copy_and_so_do_other_subscriptions() -> None:
    world = World()
    one = join(world, "one", "$share/team/a", "$share/other/a", "$share/team/+")
    two = join(world, "two", "$share/team/a")
    world.hub.subscribe(two, Subscription(TopicFilter("a"), 1, identifier=9), NOW)
    assert publish(world, "x") == [Receipt(4)]
    came = sorted([d.share for d in one.queue] + [d.share for d in two.queue])
    assert came == ["", "$share/other/a", "$share/team/+", "$share/team/a"]
    assert [d.identifiers for d in two.queue if not d.share] == [(9,)]


def test_each_member_has_its_own_qos_identifier_and_retain_as_published() -> None:
    world = World()
    one, two = join(world, "one"), join(world, "two")
    world.hub.subscribe(one, shared(qos=1, identifier=7), NOW)
    world.hub.subscribe(two, shared(qos=0, identifier=8, as_published=True), NOW)
    sent = message(qos=2, retain=True)
    for _ in range(2):
        world.hub.publish(SENSOR, sent)
    assert list(one.queue) == [Delivery(sent, 1, False, (7,), 1, share="$share/team/a")]
    assert list(two.queue) == [Delivery(sent, 0, True, (8,), share="$share/team/a")]


def test_retained_messages_are_not_sent_when_a_share_is_joined() -> None:
    world = World()
    world.hub.publish(SENSOR, message(retain=True, qos=1))
    for is_replayed_later in (False, True):
        session = join(world, f"c/{is_replayed_later}")
        world.hub.subscribe(session, shared(), NOW, is_replayed_later)
        assert not world.hub.replay_next(NOW)
        assert heard(session) == []


def test_the_inner_filter_must_be_covered_by_a_rule() -> None:
    world = World(EVERYTHING[0], Rule("everyone", Operation.RECEIVE, "a/#", qos=(0, 1)))
    one = join(world, "one", "$share/team/a/b")
    assert world.hub.subscribe(one, shared("$share/team/a/#"), NOW) == (1, 0)
    for text in ("$share/team/#", "$share/a/b"):
        with pytest.raises(NotAuthorized):
            world.hub.subscribe(one, shared(text), NOW)


def test_a_member_that_may_not_receive_the_topic_is_passed_over() -> None:
    world = World(*EVERYTHING, Rule("device:spy", Operation.RECEIVE, "secret/#", Effect.DENY))
    spy, office = join(world, "spy", "$share/team/#"), join(world, "office", "$share/team/#")
    publish(world, "1", "2", topic="secret/x")
    assert (queued(spy), queued(office)) == ([], ["1", "2"])
    world.hub.end_session(office, NOW)
    assert publish(world, "3", topic="secret/x") == [Receipt(0)]
    assert queued(spy) == []


def test_shared_subscriptions_count_against_the_quota_and_are_dropped_by_their_text() -> None:
    world = World(settings=HubSettings(max_subscriptions=1))
    one = join(world, "one", expiry=DAY)
    with pytest.raises(QuotaExceeded):
        world.hub.subscribe(one, shared("$share/other/a"), NOW)
    assert not world.hub.unsubscribe(one, "a")[0]
    assert world.hub.unsubscribe(one, "$share/team/a")[0]
    assert publish(world, "x") == [Receipt(0)]
    assert world.store.subscriptions == {}
    world.hub.subscribe(one, shared("$share/other/a"), NOW)


# Whose turn it is


def test_a_member_whose_window_is_used_up_is_passed_over_while_another_has_room() -> None:
    world = World()
    narrow, wide = join(world, "narrow", window=1), join(world, "wide", window=3)
    publish(world, *"abcd")
    assert (queued(narrow), queued(wide)) == (["a"], ["b", "c", "d"])
    take(narrow)
    publish(world, "e", "f")
    assert (queued(narrow), queued(wide)) == (["e"], ["b", "c", "d", "f"]), "nobody has room: in turns again"
    take(wide)
    narrow.settle(1)
    take(narrow)
    for tag in list(wide.unsettled):
        wide.settle(tag)
    publish(world, "g", "h")
    assert queued(wide)[-2:] == ["g", "h"]


def test_a_member_whose_queue_is_full_is_passed_over_until_all_are() -> None:
    world = World(settings=HubSettings(max_queued_messages=2))
    one, two = join(world, "one"), join(world, "two")
    world.hub.publish(SENSOR, message("b"))
    one.deliver(message("b"), 0, False, ())
    publish(world, *"abcd")
    assert (len(one.queue), len(two.queue)) == (2, 2)
    assert one.dropped + two.dropped == 1


def test_absent_members_hear_only_while_nobody_is_connected_and_then_in_turns() -> None:
    world = World()
    members = [join(world, f"absent/{number}", expiry=DAY) for number in range(2)]
    for member in members:
        lose(world, member)
    brief = join(world, "brief")
    publish(world, "a", "b")
    assert (queued(brief), [queued(m) for m in members]) == (["a", "b"], [[], []])
    take(brief)
    brief.settle(1)
    brief.settle(2)
    world.hub.unsubscribe(brief, "$share/team/a")
    publish(world, "c", "d", "e")
    assert sorted(payload for member in members for payload in queued(member)) == ["c", "d", "e"]
    assert {len(m.queue) for m in members} == {1, 2}
    assert publish(world, "lost", qos=0) == [Receipt(0)]


def test_ranks() -> None:
    world = World(settings=HubSettings(max_queued_messages=2))
    kept, brief = join(world, "kept", expiry=DAY, window=1), join(world, "brief")
    assert rank(kept, 1) == READY
    publish(world, "a", topic="x")
    kept.deliver(message(), 1, False, ())
    assert rank(kept, 1) == ROOMY
    kept.deliver(message(), 1, False, ())
    assert rank(kept, 1) == CONNECTED
    kept.outlet = None
    assert (rank(kept, 1), rank(kept, 0)) == (ABSENT_AND_FULL, UNABLE)
    take(kept)
    assert rank(kept, 1) == ABSENT
    brief.outlet = None
    assert rank(brief, 1) == UNABLE


# A member disappears


@pytest.mark.parametrize("expiry", [0.0, DAY])
def test_what_was_queued_or_unsettled_at_qos_1_goes_to_a_connected_member_in_its_order(expiry: float) -> None:
    world = World()
    lost = join(world, "lost", expiry=expiry)
    publish(world, *"abcd")
    publish(world, "e", qos=0)
    assert take(lost, 2) == ["a", "b"]
    other = join(world, "other", expiry=DAY)
    lose(world, lost)
    assert queued(other) == ["a", "b", "c", "d", "e"]
    assert [d.is_repeated for d in other.queue] == [False] * 5, "to this client it is the first time"
    assert (queued(lost), lost.unsettled, lost.queued_bytes, lost.unsettled_bytes) == ([], {}, 0, 0)
    assert {key[0] for key in world.store.deliveries} == {"other"}


def test_the_move_of_a_kept_session_is_one_commit() -> None:
    world = World()
    lost = join(world, "lost", expiry=DAY)
    publish(world, *"abc")
    take(lost, 1)
    join(world, "other", expiry=DAY)
    world.store.transactions.clear()
    lose(world, lost)
    assert world.store.transactions == [["delivery", "delivery"] * 3]


def test_without_a_connected_member_a_kept_session_keeps_what_it_has_until_it_ends() -> None:
    world = World()
    first, second = join(world, "first", expiry=DAY), join(world, "second", expiry=DAY)
    lose(world, second)
    publish(world, "a", "b")
    take(first, 1)
    lose(world, first)
    assert (list(first.unsettled), queued(first)) == ([1], ["b"])
    world.store.transactions.clear()
    world.hub.end_session(first, NOW)
    assert queued(second) == ["a", "b"]
    assert world.store.transactions == [["delivery", "delivery"] * 2 + ["session"]]
    assert {key[0] for key in world.store.deliveries} == {"second"}


def test_only_what_came_by_the_share_moves() -> None:
    world = World()
    lost = join(world, "lost", expiry=DAY)
    world.hub.subscribe(lost, Subscription(TopicFilter("a"), 1), NOW)
    publish(world, "x")
    other = join(world, "other")
    lose(world, lost)
    assert [d.share for d in lost.queue] == [""]
    assert [d.share for d in other.queue] == ["$share/team/a"]


def test_a_qos_2_delivery_that_was_sent_waits_for_its_client_and_goes_with_its_session() -> None:
    notes: list[tuple[str, str, int]] = []
    world = World()
    world.hub._note_dropped = lambda client, topic, reason, count: notes.append((client, reason, count))
    lost = join(world, "lost", expiry=DAY)
    publish(world, "sent", "received", "waiting", qos=2)
    take(lost, 2)
    lost.release(2)
    other = join(world, "other")
    lose(world, lost)
    assert (list(lost.unsettled), queued(lost), queued(other)) == ([1, 2], [], ["waiting"])
    opened = world.hub.open_session(principal("lost"), FakeOutlet(), False, DAY, None, 1, NOW)
    assert [d.tag for d in opened.resend] == [1, 2]  # [MQTT-4.8.2-4]
    lose(world, lost)
    world.hub.end_session(lost, NOW)
    assert queued(other) == ["waiting"]  # [MQTT-4.8.2-5]
    assert notes == [("lost", NOBODY_LEFT, 2)]


def test_a_qos_2_delivery_put_back_in_line_counts_as_sent() -> None:
    world = World()
    lost = join(world, "lost", expiry=DAY)
    publish(world, "a", "b", qos=2)
    take(lost)
    lose(world, lost)
    world.hub.open_session(principal("lost"), FakeOutlet(), False, DAY, None, 1, NOW)
    assert queued(lost) == ["b"]
    other = join(world, "other")
    lose(world, lost)
    assert (queued(lost), queued(other)) == (["b"], [])


def test_with_nobody_left_it_is_dropped_and_counted() -> None:
    notes: list[tuple[str, str, str, int]] = []
    world = World()
    world.hub._note_dropped = lambda *note: notes.append(note)
    only = join(world, "only")
    publish(world, *"abc")
    take(only, 1)
    lose(world, only)
    assert notes == [("only", "", NOBODY_LEFT, 3)]
    assert world.hub._waiting.bytes == 0


def test_a_member_that_left_the_share_keeps_what_it_has_until_its_connection_ends() -> None:
    world = World()
    leaver = join(world, "leaver", expiry=DAY)
    publish(world, "a")
    other = join(world, "other")
    world.hub.unsubscribe(leaver, "$share/team/a")
    assert (queued(leaver), queued(other)) == (["a"], [])
    lose(world, leaver)
    assert (queued(leaver), queued(other)) == ([], ["a"])


def test_what_finds_no_room_elsewhere_stays_with_a_kept_session() -> None:
    world = World(settings=HubSettings(max_queued_messages=2))
    lost = join(world, "lost", expiry=DAY)
    publish(world, "a", "b")
    take(lost)
    publish(world, "c", "d")
    other = join(world, "other")
    lose(world, lost)
    assert (queued(other), list(lost.unsettled), queued(lost), other.dropped) == (["a", "b"], [], ["c", "d"], 0)


def test_a_member_that_refuses_a_message_ends_it_for_all() -> None:
    world = World()
    one, two = join(world, "one"), join(world, "two")
    publish(world, "a")
    take(one)
    one.settle(1)  # what the door does with a PUBACK or PUBREC of 0x80 or more [MQTT-4.8.2-6]
    lose(world, one)
    assert queued(two) == []


def test_the_hub_that_ends_a_connection_hands_over_as_well() -> None:
    world = World()
    one = join(world, "one", expiry=DAY)
    publish(world, "a")
    two = join(world, "two")
    world.hub.disconnect(one, QuotaExceeded(), NOW)
    assert (queued(one), queued(two)) == ([], ["a"])


def test_a_clean_start_hands_over_what_the_session_before_it_held() -> None:
    world = World()
    one = join(world, "one", expiry=DAY)
    publish(world, "a")
    two = join(world, "two")
    again = join(world, "one", "$share/x/other", clean=True)
    assert (queued(again), queued(two)) == ([], ["a"])
    assert again is not one


def test_what_a_member_may_no_longer_receive_goes_to_one_that_may() -> None:
    world = World()
    one = join(world, "one", expiry=DAY)
    publish(world, "sent", "waiting")
    take(one, 1)
    two = join(world, "two")
    world.rules.change(*EVERYTHING, Rule("device:one", Operation.RECEIVE, "a", Effect.DENY))
    assert world.hub.review(one) == 0
    assert (list(one.unsettled), queued(one), queued(two)) == ([1], [], ["waiting"])
    world.rules.change(*EVERYTHING, Rule("everyone", Operation.RECEIVE, "a", Effect.DENY))
    assert world.hub.review(two) == 1
    assert queued(two) == []


def test_the_messages_of_a_topic_keep_their_order_at_each_member() -> None:
    world = World()
    lost = join(world, "lost", expiry=DAY)
    publish(world, *(f"{n:02}" for n in range(10)))
    others = [join(world, name) for name in ("x", "y")]
    lose(world, lost)
    publish(world, *(f"{n:02}" for n in range(10, 20)))
    assert [queued(other) == sorted(queued(other)) for other in others] == [True, True]
    assert sorted(queued(others[0]) + queued(others[1])) == [f"{n:02}" for n in range(20)]


# After a restart


def test_a_restart_knows_the_shares_and_what_came_by_them() -> None:
    world = World()
    join(world, "one", expiry=DAY)
    publish(world, "a", "b")
    world = world.restarted()
    one = world.hub.sessions["one"]
    assert set(one.subscriptions) == {"$share/team/a"}
    assert [d.share for d in one.queue] == ["$share/team/a"] * 2
    two = join(world, "two")
    world.hub.end_session(one, NOW)
    assert queued(two) == ["a", "b"]
    assert publish(world, "c") == [Receipt(1)]


# All of it at random


class Model:
    """Random lives of a share's members; counts who was sent what, and what was settled, dropped and lost."""

    def __init__(self) -> None:
        self.notes = 0
        self.lost = 0
        self.published = 0
        self.unheard = 0
        self.settled: Counter[str] = Counter()
        self.sent_to: defaultdict[str, set[Session]] = defaultdict(set)
        self.world = World()
        self._listen()

    def _listen(self) -> None:
        def note(client_id: str, topic: str, reason: str, count: int) -> None:
            self.notes += count

        self.world.hub._note_dropped = note

    def member(self, name: int) -> Session | None:
        return self.world.hub.sessions.get(f"m/{name}")

    def connected(self, name: int) -> Session | None:
        session = self.member(name)
        return session if session is not None and session.outlet is not None else None

    def step(self, what: str, name: int) -> None:
        session = self.connected(name)
        if what == "join" and session is None:
            join(self.world, f"m/{name}", expiry=DAY if name % 2 else 0.0, window=name + 1)
        elif what in ("publish-1", "publish-2"):
            payload = f"{what[-1]}:{self.published}"
            self.published += 1
            self.unheard += publish(self.world, payload, qos=int(what[-1]))[0].heard_by == 0
        elif what == "restart":
            for each in self.world.hub.sessions.values():
                self.lost += 0 if each.is_durable else each.count_shared()
            self.world = self.world.restarted()
            self._listen()
        elif what == "end" and (known := self.member(name)) is not None:
            self.world.hub.end_session(known, NOW)
        elif session is not None:
            self._live(what, session)

    def _live(self, what: str, session: Session) -> None:
        if what == "lose":
            lose(self.world, session)
        elif what == "leave":
            self.world.hub.unsubscribe(session, "$share/team/a")
        elif what == "take":
            delivery = session.take(NOW, 1 << 40)
            if delivery is not None:
                self.sent_to[delivery.message.payload.decode()].add(session)
        elif what == "settle" and session.unsettled:
            tag, delivery = next(iter(session.unsettled.items()))
            if delivery.qos == 2 and tag not in session.released:
                session.release(tag)
            else:
                self.settled[delivery.message.payload.decode()] += session.settle(tag)

    def check(self) -> None:
        hub, store = self.world.hub, self.world.store
        held = [d for s in hub.sessions.values() for d in (*s.queue, *s.unsettled.values())]
        assert hub._waiting.bytes == sum(d.message.size + DELIVERY_BYTES for d in held)
        assert Counter(d.message.payload for d in held).most_common(1)[:1] == [] or all(
            count == 1 for count in Counter(d.message.payload for d in held).values()
        )
        kept = {(s.client_id, tag) for s in hub.sessions.values() if s.is_durable for tag in s._queued_tags}
        kept |= {(s.client_id, tag) for s in hub.sessions.values() if s.is_durable for tag in s.unsettled}
        assert set(store.deliveries) == kept

    def finish(self) -> None:
        for name in range(4):
            self.step("join", name)
        for _ in range(4 * self.published + 8):
            for name in range(4):
                self.step("take", name)
                self.step("settle", name)
                self.step("settle", name)


STEPS = st.sampled_from(
    ("join", "join", "publish-1", "publish-1", "publish-2", "take", "take", "settle", "lose", "end", "leave", "restart")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STEPS, st.integers(0, 3)), min_size=30, max_size=90))
def test_every_message_is_settled_once_by_one_member_or_counted_as_dropped(steps: list[tuple[str, int]]) -> None:
    model = Model()
    for what, name in steps:
        model.step(what, name)
        model.check()
    model.finish()
    model.check()
    assert all(count == 1 for count in model.settled.values())
    assert model.published == len(model.settled) + model.unheard + model.notes + model.lost
    for payload, sessions in model.sent_to.items():
        if payload.startswith("2:"):
            assert len({session.client_id for session in sessions}) == 1, payload
