"""Who is asked to take what a lost member held, and how often."""

from __future__ import annotations

from lockgate.hub.handover import MAX_TRIES, HandOver
from lockgate.hub.session import Session
from lockgate.hub.trie import Trie
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import Denied, Grant, PolicyEngine
from tests.support.fakes import EVERYTHING, FakeOutlet, FakeRules, FakeStore, principal

SHARE = "$share/team/a"


class CountingPolicy(PolicyEngine):
    """Counts the questions."""

    asked = 0

    def authorize(
        self,
        principal: Principal,
        operation: Operation,
        topic: str,
        qos: int = 0,
        retain: bool = False,
        payload_bytes: int = 0,
    ) -> Grant | Denied:
        self.asked += 1
        return super().authorize(principal, operation, topic, qos, retain, payload_bytes)


class World:
    def __init__(self, *rules: Rule, expiry: float = 60.0) -> None:
        self.trie, self.store = Trie(), FakeStore()
        self.policy = CountingPolicy(FakeRules(*(rules or EVERYTHING)))
        self.expiry = expiry
        self.leaving = self.member("leaving", is_connected=False)

    def member(
        self, name: str, is_connected: bool = True, room: int = 100, qos: int = 1, identifier: int = 0
    ) -> Session:
        session = Session(principal(name), self.expiry, self.store, room, 10_000, 10)
        if is_connected:
            session.attach(FakeOutlet(), 10)
        self.store.save_session(session.record())
        self.trie.insert(session, Subscription(TopicFilter("a"), 1, identifier=identifier, share="team"))
        return session

    def placed(self, count: int = 1, is_over: bool = False, qos: int = 1, share: str = SHARE) -> int:
        others = HandOver(self.trie, self.policy, self.leaving, is_over)
        sent = Delivery(Message(TopicName("a"), b"x", qos), qos, tag=7, share=share)
        found = 0
        for _ in range(count):
            target = others.find(sent)
            if target is not None:
                found += target.session.deliver(sent.message, min(qos, target.qos), False, target.identifiers) >= 0
        return found


def test_connected_members_take_turns() -> None:
    world = World()
    members = [world.member(name, identifier=5) for name in ("one", "two", "three")]
    world.trie.match_shares("a")[0].turn = 1
    assert world.placed(4) == 4
    assert [len(each.queue) for each in members] == [1, 2, 1]
    assert members[0].queue[0].identifiers == (5,)


def test_absent_members_take_something_only_from_a_session_that_is_over() -> None:
    world = World()
    absent = world.member("absent", is_connected=False)
    assert world.placed() == 0
    assert (world.placed(2, is_over=True), len(absent.queue)) == (2, 2)
    assert world.placed(qos=0, is_over=True) == 0
    connected = world.member("connected", room=1)
    assert world.placed(2, is_over=True) == 2
    assert (len(connected.queue), len(absent.queue)) == (1, 3), "who waits takes what finds no room elsewhere"


def test_a_share_that_nobody_else_is_in_takes_nothing() -> None:
    world = World()
    assert world.placed(is_over=True) == 0
    assert world.placed(share="$share/other/a") == 0
    assert world.placed(share="$share/team/x/y") == 0
    assert len(world.leaving.queue) == 0


def test_members_that_are_full_are_asked_once() -> None:
    world = World()
    full = [world.member(f"full-{number}", room=1) for number in range(5)]
    assert world.placed(100) == 5
    assert world.policy.asked == 5
    assert all(each.dropped == 0 for each in full)


def test_each_delivery_is_authorized_and_the_questions_are_bounded() -> None:
    world = World(*EVERYTHING, Rule("device:spy", Operation.RECEIVE, "a", Effect.DENY))
    for _ in range(2 * MAX_TRIES):
        spy = world.member("spy")
        assert len(spy.queue) == 0
    assert world.placed(3) == 0
    assert world.policy.asked == 2 * MAX_TRIES, "three times so many tries, and nobody is asked twice"
    office = world.member("office")
    assert world.placed(3) >= 1
    assert len(office.queue) >= 1
