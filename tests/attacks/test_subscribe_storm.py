"""Threat: a few bytes that ask for retained messages over and over, or for filters by the thousand, stop the hub.

A device that retains 100,000 messages asks for them with 24 bytes: that took half a second, each time.
"""

from __future__ import annotations

import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Disconnect, Publish, ReasonCode, Suback, Subscribe, SubscriptionRequest
from lockgate.hub.retained import Retained
from lockgate.model.message import Message
from lockgate.settings import HubSettings, Settings
from tests.support.playbook import Client, Playbook

TREE = "devices/sensor/#"
COUNT = 50


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each search through the retained messages."""
    found: list[str] = []
    match = Retained.match

    def noted(self: Retained, topic_filter: str, now: float) -> list[Message]:
        found.append(topic_filter)
        return match(self, topic_filter, now)

    monkeypatch.setattr(Retained, "match", noted)
    return found


def with_retained(hub: Playbook, count: int = COUNT, device: str = "sensor") -> Client:
    client = hub.client(device)
    for number in range(count):
        client.publishes(f"devices/{device}/{number}", retain=True)
    return client


def asks(client: Client, *filters: str) -> bytes:
    return b"".join(wire.encode(Subscribe(1, (SubscriptionRequest(text),)), V5) for text in filters)


def test_one_filter_asked_for_many_times_at_once_is_looked_up_once(searches: list[str]) -> None:
    sensor = with_retained(Playbook(rules=()))
    sensor.sends_bytes(asks(sensor, *[TREE] * 500))
    assert searches == [TREE]
    assert sum(isinstance(packet, Publish) for packet in sensor.packets()) == COUNT


def test_each_lookup_is_a_turn_of_its_own_and_another_client_comes_in_between(searches: list[str]) -> None:
    hub = Playbook(rules=())
    sensor, office = with_retained(hub), with_retained(hub, 1, "office")
    sensor.handler.data_received(asks(sensor, *[f"devices/sensor/+/{number}" for number in range(500)]))
    office.handler.data_received(asks(office, "devices/office/#"))
    assert searches == [], "nothing is looked up while packets are read"
    hub.loop.run()
    assert len(searches) == 501
    assert searches.index("devices/office/#") == 1
    assert [type(packet) for packet in office.packets()] == [Suback, Publish]


def test_what_finds_no_room_ends_the_lookup(searches: list[str]) -> None:
    hub = Playbook(Settings(hub=HubSettings(max_queued_messages=10)), rules=())
    sensor = with_retained(hub)
    sensor.handler.pause_writing()
    sensor.sends_bytes(asks(sensor, TREE))
    session = hub.hub.sessions["sensor"]
    assert (len(session.queue), len(searches)) == (10, 1)


def test_a_lookup_that_nobody_waits_for_any_longer_is_left_out(searches: list[str]) -> None:
    hub = Playbook(rules=())
    sensor = with_retained(hub)
    sensor.handler.data_received(asks(sensor, TREE, "devices/sensor/1"))
    hub.hub.unsubscribe(hub.hub.sessions["sensor"], "devices/sensor/1")
    hub.loop.run()
    assert searches == [TREE]
    sensor.handler.data_received(asks(sensor, TREE))
    hub.hub.end_session(hub.hub.sessions["sensor"], hub.now)
    hub.loop.run()
    assert searches == [TREE]
    assert not hub.hub.replay_next(hub.now)


def test_a_session_whose_client_left_at_once_gets_its_retained_messages_all_the_same() -> None:
    hub = Playbook()
    hub.client("sensor").publishes("a", qos=1, retain=True)
    office = hub.client("office", 4, clean_start=False)
    office.handler.data_received(wire.encode(Subscribe(1, (SubscriptionRequest("#", 1),)), 4))
    office.handler.connection_lost(None)
    hub.loop.run()
    assert [delivery.message.topic for delivery in hub.hub.sessions["office"].queue] == ["a"]


def test_more_filters_than_a_session_can_hold_in_one_packet_end_the_connection() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_subscriptions=10)))
    sensor = hub.client("sensor").subscribes(*[SubscriptionRequest("a")] * 1000)
    sensor.gets(Suback(1, (0,) * 1000)).is_open()
    sensor.subscribes(*[SubscriptionRequest("a")] * 1001)
    sensor.gets(Disconnect(ReasonCode.QUOTA_EXCEEDED)).is_closed()


def test_who_has_the_hub_look_for_retained_messages_without_end_owes_time_for_it() -> None:
    hub = Playbook(Settings(hub=HubSettings(max_messages_per_second=1000, rate_burst_seconds=1)), rules=())
    sensor = with_retained(hub, 640)
    hub.passes(10)
    sensor.handler.data_received(asks(sensor, *[f"devices/sensor/+/{number}" for number in range(150)]))
    hub.loop.run()
    assert all(isinstance(packet, Suback) for packet in sensor.packets()), "they find nothing"
    sensor.handler.data_received(asks(sensor, "devices/sensor/x"))
    assert not sensor.wire.is_reading
    hub.passes(10)
    assert sensor.wire.is_reading
