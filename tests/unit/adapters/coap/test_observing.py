"""Observations share subscriptions, settle deliveries, and end without leaving anything behind."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.blocks import Blocks, BodyBudget
from lockgate.adapters.coap.messages import CoapMessage, Type
from lockgate.adapters.coap.observing import LOOKED_AHEAD, Observer, Observers
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.errors import LockgateError, NotAuthorized, QuotaExceeded, TopicFilterInvalid
from lockgate.hub import Hub
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.topic import TopicFilter, topic_name
from lockgate.policy import PolicyEngine
from lockgate.registry.journal import Journal
from lockgate.settings import CoapSettings, HubSettings
from tests.support.fakes import EVERYTHING, FakeLoop, FakeRules, FakeStore, principal

NOW = 1000.0


class World:
    def __init__(self, nstart: int = 1, max_waiting: int = 256) -> None:
        self.settings = CoapSettings(nstart=nstart, max_waiting_notifications=max_waiting, max_observations=5)
        self.rules = FakeRules(*EVERYTHING)
        self.store = FakeStore()
        self.loop = FakeLoop(50.0)
        self.journal = Journal(10, lambda: NOW)
        self.hub = Hub(PolicyEngine(self.rules), self.store, HubSettings(), lambda *_: None)
        self.observers = Observers(
            self.hub, self.store, self.journal, self.settings, self.loop.time, lambda: NOW, self.loop.call_soon
        )
        self.protocol = CoapProtocol(self.settings, 50.0, 1, lambda: 0.0)
        self.sent: list[CoapMessage] = []
        self.ended: list[LockgateError] = []
        self.errors = 0
        blocks = Blocks(self.settings, BodyBudget(1_000_000))
        self.observer = Observer(self.observers, self.protocol, blocks, self.flush, self.ended.append, self.fail)
        opened = self.hub.open_session(principal("lamp"), self.observer, True, 0.0, None, nstart, NOW)
        self.session = opened.session
        self.observer.begin(self.session)

    def flush(self) -> None:
        self.sent += [wire.decode(data) for data in self.protocol.datagrams_to_send()]

    def fail(self) -> None:
        self.errors += 1

    def observes(self, text: str, token: bytes = b"1", is_confirmable: bool = True) -> None:
        request = CoapMessage(Type.CON, 1, 1, token)
        self.observer.observe(request, TopicFilter(text), is_confirmable, NOW)

    def says(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.hub.publish(principal("pen"), Message(topic_name(topic), payload, qos, retain), NOW)
        self.loop.run()

    def acknowledges(self, message: CoapMessage) -> None:
        for event in self.protocol.receive_datagram(wire.empty(Type.ACK, message.message_id), 50.0):
            self.observer.acknowledged(event.key)  # type: ignore[attr-defined]
        self.loop.run()
        self.flush()

    def takes(self) -> list[bytes]:
        """Acknowledge all that comes, and what comes then; give the payloads."""
        seen = []
        while self.sent:
            message = self.sent.pop(0)
            seen.append(message.payload)
            if message.type == Type.CON:
                self.acknowledges(message)
        return seen


def test_observations_of_one_filter_share_one_subscription() -> None:
    world = World()
    world.observes("a", b"1", is_confirmable=False)
    world.observes("a", b"2")
    assert (len(world.observer), world.hub.subscription_count) == (2, 1)
    assert world.session.subscriptions["a"].qos == 1
    assert world.observer.forget(b"1")
    assert world.hub.subscription_count == 1
    assert world.observer.forget(b"2")
    assert not world.observer.forget(b"2")
    assert (len(world.observer), world.hub.subscription_count) == (0, 0)


def test_a_token_that_observes_anew_is_the_same_observation_or_another() -> None:
    world = World()
    world.observes("a")
    world.observes("a")
    assert len(world.observer) == 1
    world.observes("a", is_confirmable=False)
    world.observes("b")
    assert (len(world.observer), list(world.session.subscriptions)) == (1, ["b"])


def test_what_is_refused_leaves_nothing_behind() -> None:
    world = World()
    for number in range(5):
        world.observes(f"a/{number}", bytes([number]))
    with pytest.raises(QuotaExceeded):
        world.observes("b", b"x")
    world.observer.forget(b"\0")
    world.rules.change(Rule("everyone", Operation.RECEIVE, "b", Effect.DENY))
    with pytest.raises(NotAuthorized):
        world.observes("b", b"x")
    with pytest.raises(TopicFilterInvalid):
        world.observes("/".join("a" * 33), b"x")
    assert (len(world.observer), world.hub.subscription_count) == (4, 4)


def test_a_delivery_is_settled_when_all_its_notifications_are() -> None:
    world = World(nstart=4)
    world.observes("a", b"1")
    world.observes("+", b"2")
    world.says("a", b"x")
    first, second = world.sent
    assert len(world.session.unsettled) == 1
    world.acknowledges(first)
    assert len(world.session.unsettled) == 1
    world.acknowledges(second)
    assert not world.session.unsettled


def test_an_observation_that_ends_holds_up_no_delivery() -> None:
    world = World()
    world.observes("a", b"1")
    world.observes("a", b"2")
    world.says("a", b"x")
    world.observer.forget(b"1")
    world.flush()
    assert len(world.session.unsettled) == 1
    world.observer.rejected(2, b"2")
    assert not world.session.unsettled


def test_of_waiting_states_the_newest_goes_as_far_ahead_as_is_looked() -> None:
    world = World()
    world.observes("+")
    for number in range(LOOKED_AHEAD + 10):
        world.says("a", b"%d" % number, retain=True)
        world.says("b", b"%d" % number)
    seen = world.takes()
    assert seen.count(b"0") == 2
    assert seen[-2:] == [b"%d" % (LOOKED_AHEAD + 9)] * 2
    assert len(seen) == 2 + LOOKED_AHEAD + 10


def test_what_finds_no_room_gives_way_and_is_settled() -> None:
    world = World(max_waiting=1)
    for token in (b"1", b"2", b"3"):
        world.observes("a", token)
    world.says("a", b"x")
    assert world.journal.dropped_by_reason == {"newer notifications took its place": 1}
    world.takes()
    assert not world.session.unsettled


def test_nothing_goes_that_may_not_be_received_any_longer() -> None:
    world = World()
    world.observes("a")
    for payload in (b"1", b"2", b"3"):
        world.says("a", payload)
    world.rules.change()
    assert world.takes() == [b"1"]
    assert not world.session.queue


def test_goodbye_goes_to_each_and_ends_it() -> None:
    world = World()
    world.observes("a", b"1")
    world.observes("b", b"2")
    world.observer.say_goodbye(131, "why")
    world.flush()
    assert [(m.type, m.code, m.token, m.payload) for m in world.sent] == [
        (Type.NON, 131, b"1", b"why"), (Type.NON, 131, b"2", b"why"),
    ]  # fmt: skip
    assert world.hub.subscription_count == 0
    assert world.observer.part() is world.session
    world.observer.drain()
    assert world.errors == 0


def test_what_goes_wrong_in_one_connection_does_not_reach_the_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.observes("a", is_confirmable=False)
    monkeypatch.setattr(world.observers, "wall_clock", lambda: 1 / 0)
    world.says("a", b"x", qos=0)
    assert world.errors >= 1
    world.observer.end(LockgateError("x"))
    assert len(world.ended) == 1
