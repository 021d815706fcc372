"""Each topic filter of a packet has its own answer, and packets that name them without end have none."""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    MqttError,
    Packet,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.adapters.mqtt.subscribing import FILTERS_PER_PACKET, Subscribing
from lockgate.errors import LockgateError
from lockgate.hub import Hub, Session
from lockgate.model.permission import Operation, Rule
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings, MqttSettings
from tests.support.fakes import FakeOutlet, FakeRules, FakeStore, principal


class World:
    def __init__(self) -> None:
        rules = FakeRules(Rule("everyone", Operation.RECEIVE, "open/#", qos=(0, 1)))
        self.hub = Hub(PolicyEngine(rules), FakeStore(), HubSettings(), lambda *_: None)
        self.replays = 0
        self.refused: list[LockgateError] = []
        self.subscribing = Subscribing(self.hub, HubSettings(), lambda: 0.0, self._replay_soon)
        self.session: Session = self.hub.open_session(principal("a"), FakeOutlet(), True, 0, None, 10, 0.0).session
        self.protocol = MqttProtocol(MqttSettings(), 0.0)
        self.protocol.version = V5

    def _replay_soon(self) -> None:
        self.replays += 1

    def noted(self, error: LockgateError) -> str:
        self.refused.append(error)
        return "no"

    def answer(self) -> Packet:
        found = wire.decode(self.protocol.data_to_send(), 0, V5, 10_000)
        assert found is not None
        return found[0]


def test_each_filter_has_its_own_code_and_retained_messages_follow() -> None:
    world = World()
    wanted = [SubscriptionRequest(text, 2) for text in ("open/a", "shut", "a/#/b")]
    world.subscribing.subscribe(world.session, Subscribe(7, tuple(wanted)), world.protocol, world.noted)
    answer = world.answer()
    assert isinstance(answer, Suback)
    assert (answer.packet_id, answer.codes) == (7, (1, ReasonCode.NOT_AUTHORIZED, ReasonCode.TOPIC_FILTER_INVALID))
    assert (list(world.session.subscriptions), len(world.refused), world.replays) == (["open/a"], 2, 1)


def test_what_was_never_subscribed_is_said_so() -> None:
    world = World()
    world.subscribing.subscribe(
        world.session, Subscribe(1, (SubscriptionRequest("open/a"),)), world.protocol, world.noted
    )
    world.answer()
    names = ("open/a", "open/b", "a/#/b")
    world.subscribing.unsubscribe(world.session, Unsubscribe(2, names), world.protocol, world.noted)
    answer = world.answer()
    assert isinstance(answer, Unsuback)
    codes = (0, ReasonCode.NO_SUBSCRIPTION_EXISTED, ReasonCode.TOPIC_FILTER_INVALID)
    assert (answer.packet_id, answer.codes, len(world.refused)) == (2, codes, 1)
    assert world.session.subscriptions == {}


def test_a_packet_that_names_too_many_is_not_looked_at() -> None:
    world = World()
    many = FILTERS_PER_PACKET + 1
    request = Subscribe(1, (SubscriptionRequest("open/a"),) * many, NO_PROPERTIES)
    with pytest.raises(MqttError) as caught:
        world.subscribing.subscribe(world.session, request, world.protocol, world.noted)
    assert caught.value.code is ReasonCode.QUOTA_EXCEEDED
    with pytest.raises(MqttError):
        world.subscribing.unsubscribe(world.session, Unsubscribe(1, ("a",) * many), world.protocol, world.noted)
    assert (world.session.subscriptions, world.protocol.data_to_send()) == ({}, b"")
