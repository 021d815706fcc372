"""A session's deliveries: in line, under way, settled, given up; bounded, and stored when it is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub.session import DELIVERY_BYTES, DRAIN_EVERY, MAX_TAG, RESERVED_BYTES, Session, Waiting
from lockgate.model.message import Message
from lockgate.model.session import Delivery
from lockgate.model.topic import TopicName
from tests.support.fakes import FakeOutlet, FakeStore, principal

A = TopicName("a")
STEPS = ("deliver", "deliver", "deliver", "take", "give up", "settle", "attach", "lose", "review", "hand over", "clear")


def message(payload: bytes = b"x", expires_at: float | None = None) -> Message:
    return Message(A, payload, expires_at=expires_at)


def opened(
    expiry_seconds: float = 0.0,
    store: FakeStore | None = None,
    messages: int = 100,
    size: int = 10_000,
    flight: int = 10,
) -> tuple[Session, FakeOutlet]:
    store = store or FakeStore()
    session, outlet = Session(principal("s"), expiry_seconds, store, messages, size, flight), FakeOutlet()
    session.attach(outlet, 65_535)
    if session.is_durable:
        store.save_session(session.record())
    return session, outlet


def taken(session: Session, now: float = 0.0, committed: int = 0) -> list[Delivery]:
    found = []
    while (delivery := session.take(now, committed)) is not None:
        found.append(delivery)
    return found


def test_qos_0_passes_without_a_tag_and_qos_1_with_one() -> None:
    session, outlet = opened()
    assert session.deliver(message(), 0, False, ()) == 0
    assert session.deliver(message(), 1, True, (7,)) == 0
    assert outlet.wakes == 1, "the second finds the first still waiting"
    assert taken(session) == [Delivery(message()), Delivery(message(), 1, True, (7,), 1)]
    assert set(session.unsettled) == {1}
    assert session.settle(1)
    assert not session.settle(1)


def test_many_waiting_deliveries_are_drained_in_between() -> None:
    session, outlet = opened(messages=10_000)
    for _ in range(2 * DRAIN_EVERY):
        session.deliver(message(), 0, False, ())
    assert (outlet.wakes, outlet.drains) == (1, 2)


def test_while_nobody_is_connected_only_a_kept_session_hears_and_only_from_qos_1() -> None:
    for expiry_seconds, qos, result in ((0.0, 1, -1), (60.0, 0, -1), (60.0, 1, 0)):
        session, _ = opened(expiry_seconds)
        session.outlet = None
        assert session.deliver(message(), qos, False, ()) == result
        assert session.dropped == 0


def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    session, outlet = opened(messages=2)
    results = [session.deliver(message(bytes([n])), 0, False, ()) for n in range(4)]
    assert results == [0, 0, -1, -1]
    assert (session.dropped, outlet.drains) == (2, 2)
    assert [delivery.message.payload for delivery in taken(session)] == [b"\0", b"\1"]


def test_a_full_queue_of_an_absent_client_drops_the_newest_as_well() -> None:
    session, _ = opened(60.0, messages=1)
    session.outlet = None
    assert [session.deliver(message(), 1, False, ()) for _ in range(2)] == [0, -1]
    assert session.dropped == 1


def test_a_queue_full_of_bytes_drops_as_well() -> None:
    session, _ = opened(size=10)
    assert [session.deliver(message(bytes(6)), 0, False, ()) for _ in range(3)] == [0, 0, -1]
    taken(session)
    assert session.queued_bytes == 0
    assert session.deliver(message(bytes(6)), 0, False, ()) == 0


def test_a_client_that_reads_when_asked_loses_nothing() -> None:
    session, _ = opened(messages=2)
    seen: list[Delivery] = []
    session.attach(FakeOutlet(on_drain=lambda: seen.extend(taken(session))), 10)
    for _ in range(5):
        assert session.deliver(message(), 0, False, ()) == 0
    assert (len(seen), len(session.queue), session.dropped) == (4, 1, 0)


def test_no_more_than_the_window_is_under_way() -> None:
    session, _ = opened()
    session.attach(FakeOutlet(), 2)
    for _ in range(3):
        session.deliver(message(), 1, False, ())
    session.deliver(message(), 0, False, ())
    assert [delivery.tag for delivery in taken(session)] == [1, 2]
    session.settle(1)
    assert [delivery.tag for delivery in taken(session)] == [3, 0], "each in its turn"


def test_qos_2_waits_for_its_commit_and_qos_1_does_not() -> None:
    store = FakeStore(holds=True)
    session, _ = opened(60.0, store)
    assert session.deliver(message(), 1, False, ()) == 1
    assert session.deliver(message(), 2, False, ()) == 1
    assert [delivery.tag for delivery in taken(session, committed=0)] == [1]
    assert [delivery.tag for delivery in taken(session, committed=1)] == [2]


def test_an_expired_message_is_given_up_in_the_queue_and_in_the_store() -> None:
    store = FakeStore()
    session, _ = opened(60.0, store)
    session.deliver(message(b"old", 10.0), 1, False, ())
    session.deliver(message(b"old", 10.0), 0, False, ())
    session.deliver(message(b"new", 10.1), 1, False, ())
    assert [delivery.message.payload for delivery in taken(session, now=10.0)] == [b"new"]
    assert set(store.deliveries) == {("s", 2)}
    assert session.queued_bytes == 0


def test_a_qos_2_delivery_is_released_once_and_then_settled() -> None:
    store = FakeStore()
    session, _ = opened(60.0, store)
    session.deliver(message(), 2, False, ())
    assert session.release(1) == -1, "it is not under way yet"
    taken(session)
    assert session.release(1) == session.release(1) == 0
    store.holds = True
    assert session.release(1) == 1
    assert (session.released, store.released) == ({1}, {("s", 1)})
    assert session.settle(1)
    assert (session.released, store.released, store.deliveries) == (set(), set(), {})


def test_a_received_tag_is_noted_until_it_is_released() -> None:
    store = FakeStore(holds=True)
    session, _ = opened(60.0, store)
    assert session.receive(5) == 1
    assert store.incoming == {("s", 5)}
    assert session.receive_release(5) == 1
    assert session.receive_release(5) == 0
    assert (session.incoming, store.incoming) == (set(), set())
    brief, _ = opened()
    assert (brief.receive(5), brief.receive_release(5)) == (0, 0)


def test_a_tag_in_use_is_not_given_again() -> None:
    session, _ = opened(messages=MAX_TAG, flight=5)
    session._last_tag = MAX_TAG - 2
    for _ in range(4):
        session.deliver(message(), 1, False, ())
    assert [delivery.tag for delivery in taken(session)] == [MAX_TAG - 1, MAX_TAG, 1, 2]
    session.settle(1)
    session._last_tag = MAX_TAG - 2
    for _ in range(2):
        session.deliver(message(), 1, False, ())
    assert [delivery.tag for delivery in session.queue] == [1, 3], "2 and the last two are still under way"


def test_a_smaller_window_sends_what_is_too_much_back_to_the_head_of_the_queue() -> None:
    session, _ = opened(60.0)
    for number in range(5):
        session.deliver(message(bytes([number])), 2, False, ())
    session.window = 4
    taken(session)
    session.release(4)
    again = session.attach(FakeOutlet(), 2)
    assert [delivery.tag for delivery in again] == [1, 2, 4]
    assert [(delivery.tag, delivery.is_repeated) for delivery in session.queue] == [(3, True), (5, False)]
    assert session.queued_bytes == 2
    for tag in (1, 2, 4):
        session.settle(tag)
    assert [delivery.tag for delivery in taken(session)] == [3, 5]


def test_an_expired_message_holds_up_nothing_when_there_is_no_room_for_it() -> None:
    session, _ = opened(flight=1)
    session.deliver(message(), 1, False, ())
    session.deliver(message(b"old", 10.0), 1, False, ())
    session.deliver(message(b"later"), 0, False, ())
    assert [delivery.message.payload for delivery in taken(session, now=9.0)] == [b"x"]
    assert [delivery.message.payload for delivery in taken(session, now=10.0)] == [b"later"]


def test_what_was_sent_and_waits_again_for_a_smaller_window_expires_no_more() -> None:
    session, _ = opened(60.0)
    for payload in (b"one", b"two"):
        session.deliver(message(payload, 10.0), 2, False, ())
    taken(session)
    session.deliver(message(b"not sent", 10.0), 2, False, ())
    session.attach(FakeOutlet(), 1)
    session.settle(1)
    assert [delivery.message.payload for delivery in taken(session, now=20.0)] == [b"two"]
    session.settle(2)
    assert taken(session, now=20.0) == []


def test_restored_deliveries_wait_again_and_released_ones_are_under_way() -> None:
    session, _ = opened(60.0)
    deliveries = tuple(Delivery(message(), 2, tag=tag, is_repeated=True) for tag in (7, 8, 9))
    session.restore(deliveries, frozenset({8}), frozenset({3}))
    assert (set(session.unsettled), session.released, session.incoming) == ({8}, {8}, {3})
    assert [delivery.tag for delivery in taken(session)] == [7, 9]
    session.deliver(message(), 1, False, ())
    assert session.queue[0].tag == 10


def test_a_cleared_session_holds_nothing() -> None:
    session, _ = opened()
    for _ in range(3):
        session.deliver(message(), 2, False, ())
    session.take(0.0, 0)
    session.release(1)
    session.receive(4)
    session.clear()
    assert not any((session.queue, session.unsettled, session.released, session.incoming, session.queued_bytes))


actions = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(0, 2)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.tuples(st.just("release"), st.integers(0, 5)),
        st.tuples(st.just("reattach"), st.integers(1, 3)),
    ),
    max_size=40,
)


@given(actions)
def test_whatever_happens_the_store_holds_what_is_unsettled_and_the_bounds_hold(steps: list[tuple[str, int]]) -> None:
    store = FakeStore()
    session, outlet = opened(60.0, store, messages=4, flight=3)
    for action, number in steps:
        under_way = list(session.unsettled)
        if action == "deliver":
            session.deliver(message(), number, False, ())
        elif action == "take":
            session.take(0.0, 0)
        elif action == "reattach":
            session.attach(outlet, number)
        elif under_way:
            tag = under_way[number % len(under_way)]
            session.settle(tag) if action == "settle" else session.release(tag)
        waiting = [delivery.tag for delivery in session.queue if delivery.qos]
        assert sorted(tag for _, tag in store.deliveries) == sorted([*waiting, *session.unsettled])
        assert {tag for _, tag in store.released} == session.released <= set(session.unsettled)
        assert session._queued_tags == set(waiting)
        assert session.queued_bytes == len(session.queue)
        assert len(session.unsettled) <= 3


# What a full queue drops


def bounded(
    *, drops_oldest: bool, messages: int = 3, size: int = 10_000, expiry: float = 0.0, waiting: Waiting | None = None
) -> tuple[Session, FakeStore]:
    store = FakeStore()
    session = Session(principal("s"), expiry, store, messages, size, 10, drops_oldest, waiting)
    session.attach(FakeOutlet(), 10)
    store.save_session(session.record())
    return session, store


def payloads(session: Session) -> list[bytes]:
    return [delivery.message.payload for delivery in session.queue]


def test_the_oldest_is_dropped_where_that_is_wanted_and_of_qos_0_first() -> None:
    session, store = bounded(drops_oldest=True, expiry=60.0)
    for name, qos in ((b"a", 1), (b"b", 0), (b"c", 2), (b"d", 1), (b"e", 2)):
        assert session.deliver(message(name), qos, False, ()) == 0
    assert (payloads(session), session.dropped) == ([b"c", b"d", b"e"], 2)
    assert sorted(delivery.message.payload for delivery in store.deliveries.values()) == [b"c", b"d", b"e"]
    assert session.drop_reason == "its queue was full"


def test_a_queue_full_of_bytes_drops_as_many_of_the_oldest_as_it_must() -> None:
    session, _ = bounded(drops_oldest=True, messages=100, size=10)
    for size in (4, 4, 4, 1):
        assert session.deliver(message(bytes(size)), 0, False, ()) == 0
    assert ([len(each) for each in payloads(session)], session.queued_bytes, session.dropped) == ([4, 4, 1], 9, 1)


def test_deliveries_that_may_have_been_sent_at_qos_2_are_not_dropped_for_newer_ones() -> None:
    session, _ = bounded(drops_oldest=True, messages=1)
    session.restore((Delivery(message(b"old"), 2, tag=7, is_repeated=True),), frozenset(), frozenset())
    assert session.deliver(message(b"new"), 1, False, ()) == -1
    assert (payloads(session), session.dropped) == ([b"old"], 1)


def test_a_full_hub_drops_too_but_leaves_a_little_to_those_who_are_connected() -> None:
    waiting = Waiting(20_000)
    absent, _ = bounded(drops_oldest=False, messages=100, size=100_000, expiry=60.0, waiting=waiting)
    reader, _ = bounded(drops_oldest=False, messages=100, size=100_000, waiting=waiting)
    absent.outlet = None
    assert absent.deliver(message(bytes(15_000)), 1, False, ()) == 0
    assert absent.deliver(message(bytes(5_001 - 2 * DELIVERY_BYTES)), 1, False, ()) == -1
    assert absent.drop_reason == "the queues of all sessions together were full"
    assert waiting.bytes == 15_000 + DELIVERY_BYTES
    assert reader.deliver(message(bytes(RESERVED_BYTES - DELIVERY_BYTES)), 1, False, ()) == 0
    assert reader.deliver(message(b"x"), 0, False, ()) == -1
    taken(reader)
    assert reader.deliver(message(b"x"), 0, False, ()) == -1, "what is unsettled counts as well"
    reader.settle(1)
    assert reader.deliver(message(b"x"), 0, False, ()) == 0
    assert (absent.dropped, reader.dropped) == (1, 2)


def test_a_full_hub_drops_the_oldest_of_the_session_at_hand() -> None:
    waiting = Waiting(10 + 3 * DELIVERY_BYTES)
    other, _ = bounded(drops_oldest=True, expiry=60.0, waiting=waiting)
    session, _ = bounded(drops_oldest=True, expiry=60.0, waiting=waiting)
    other.outlet = session.outlet = None
    assert other.deliver(message(bytes(4)), 1, False, ()) == 0
    assert [session.deliver(message(name * 3), 1, False, ()) for name in (b"a", b"b", b"c")] == [0, 0, 0]
    assert (payloads(session), len(other.queue), waiting.bytes) == ([b"bbb", b"ccc"], 1, waiting.limit)


@given(st.booleans(), st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 12)), max_size=60))
def test_the_sum_of_what_waits_is_exact(drops_oldest: bool, steps: list[tuple[str, int]]) -> None:
    waiting = Waiting(60 + 10 * DELIVERY_BYTES)
    sessions = [bounded(drops_oldest=drops_oldest, size=30, expiry=60.0, waiting=waiting)[0] for _ in range(2)]
    for number, (what, size) in enumerate(steps):
        session = sessions[number % 2]
        apply(session, what, size, float(number))
        count = sum(len(each.queue) + len(each.unsettled) for each in sessions)
        held = sum(each.queued_bytes + each.unsettled_bytes for each in sessions)
        assert waiting.bytes == held + count * DELIVERY_BYTES
        for each in sessions:
            assert each.queued_bytes == sum(len(d.message.payload) for d in each.queue)
            assert each.unsettled_bytes == sum(len(d.message.payload) for d in each.unsettled.values())
            assert len(each._queued_tags) == sum(1 for d in each.queue if d.qos)


def apply(session: Session, what: str, size: int, now: float) -> None:
    if what == "deliver":
        share = "$share/team/a" if size % 2 else ""
        session.deliver(message(bytes(size), now + 3 if size % 5 == 0 else None), size % 3, False, (), share)
    elif what == "take":
        session.take(now, 0)
    elif what == "give up" and (delivery := session.take(now, 0)) is not None:
        session.give_up(delivery)
    elif what == "settle" and session.unsettled:
        session.settle(next(iter(session.unsettled)))
    elif what == "attach":
        session.attach(FakeOutlet(), size % 3 + 1)
    elif what == "lose":
        session.outlet = None
    elif what == "review":
        session.review(lambda _: size % 2 == 0, True)
    elif what == "hand over":
        session.hand_over(lambda delivery: delivery.tag % 2 == 0, size % 2 == 0)
    elif what == "clear" and size == 0:
        session.clear()
