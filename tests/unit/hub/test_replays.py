"""Retained messages come in turns, stop where there is no room, and cost what they cost."""

from __future__ import annotations

from lockgate.hub.replays import LEVELS_PER_MESSAGE, RETAINED_PER_MESSAGE, Replays
from lockgate.hub.retained import Retained
from lockgate.hub.session import Session
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter, topic_name
from lockgate.policy import PolicyEngine
from tests.support.fakes import EVERYTHING, FakeOutlet, FakeRules, FakeStore, principal

NOW = 1000.0


class World:
    def __init__(self, topics: int, *rules: Rule) -> None:
        self.retained = Retained(10_000, 100_000_000)
        for number in range(topics):
            self.retained.keep(Message(topic_name(f"a/{number}"), b"x", 1, retain=True))
        self.charged: list[tuple[str, int]] = []
        self.replays = Replays(PolicyEngine(FakeRules(*EVERYTHING, *rules)), self.retained, self._charge)

    def session(self, name: str, room: int = 10_000) -> Session:
        session = Session(principal(name), 0, FakeStore(), room, 1 << 30, 10)
        session.outlet = FakeOutlet()
        return session

    def asks(self, session: Session, text: str) -> Subscription:
        subscription = Subscription(TopicFilter(text), 1, identifier=7)
        session.subscriptions[subscription.text] = subscription
        self.replays.ask(session, subscription)
        return subscription

    def _charge(self, principal: Principal, work: int) -> None:
        self.charged.append((principal.device, work))


def test_sessions_take_turns_and_each_message_says_whose_subscription_it_is_for() -> None:
    world = World(3)
    first, second = world.session("lamp"), world.session("door")
    world.asks(first, "a/0")
    world.asks(first, "a/#")
    world.asks(second, "a/+")
    assert world.replays.deliver_next(NOW)
    assert [d.message.topic for d in first.queue] == ["a/0"]
    assert world.replays.deliver_next(NOW)
    assert (len(second.queue), second.queue[0].identifiers, second.queue[0].is_retained) == (3, (7,), True)
    assert not world.replays.deliver_next(NOW)
    assert len(first.queue) == 4
    assert not world.replays.deliver_next(NOW)


def test_what_nobody_waits_for_any_more_is_left_out() -> None:
    world = World(3)
    over, changed = world.session("lamp"), world.session("door")
    world.asks(over, "a/#")
    world.asks(changed, "a/#")
    world.replays.forget(over)
    changed.subscriptions.clear()
    assert not world.replays.deliver_next(NOW)
    assert not over.queue
    assert not changed.queue


def test_what_finds_no_room_or_may_not_be_received_is_not_delivered() -> None:
    world = World(20, Rule("device:spy", Operation.RECEIVE, "a/3", Effect.DENY))
    full, spy = world.session("lamp", room=2), world.session("spy")
    world.replays.replay(full, Subscription(TopicFilter("#")), NOW)
    assert (len(full.queue), full.dropped) == (2, 1)
    world.replays.replay(spy, Subscription(TopicFilter("#")), NOW)
    assert len(spy.queue) == 19


def test_looking_costs_even_where_nothing_is_found() -> None:
    count = 10 * LEVELS_PER_MESSAGE
    world = World(count)
    lamp = world.session("lamp")
    world.replays.replay(lamp, Subscription(TopicFilter("a/7")), NOW)
    assert world.charged == []
    world.replays.replay(lamp, Subscription(TopicFilter("+/+/nothing")), NOW)
    world.replays.replay(lamp, Subscription(TopicFilter("a/#")), NOW)
    assert world.charged == [("lamp", 10), ("lamp", 10 + count // RETAINED_PER_MESSAGE)]
