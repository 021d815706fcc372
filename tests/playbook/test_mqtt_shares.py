"""Shared subscriptions on the wire (section 4.8.2), for 5.0 and 3.1.1 clients alike."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Properties,
    Puback,
    Publish,
    Pubrec,
    ReasonCode,
    Suback,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from lockgate.model.topic import topic_name
from tests.support.playbook import Playbook

A = topic_name("a")
SHARE = "$share/team/a"


@pytest.mark.parametrize("version", [V5, V311])
def test_two_members_take_turns_and_unsubscribe_by_the_same_text(version: int) -> None:
    hub = Playbook()
    one, two = (hub.subscriber(name, SHARE, 1, version) for name in ("one", "two"))
    sensor = hub.client("sensor")
    for payload in (b"1", b"2", b"3"):
        sensor.publishes("a", payload)
    assert sorted(len(each.packets()) for each in (one, two)) == [1, 2]
    codes = (0,) if version == V5 else ()
    one.sends(Unsubscribe(2, (SHARE,))).gets(Unsuback(2, codes))
    sensor.publishes("a", b"4").publishes("a", b"5")
    one.gets_nothing()
    two.gets(Publish(A, b"4"), Publish(A, b"5"))


def test_no_local_on_a_share_is_a_protocol_error() -> None:
    client = Playbook().client("office")  # [MQTT-3.8.3-4]
    client.subscribes(SubscriptionRequest(SHARE, 1, no_local=True))
    client.gets(Disconnect(ReasonCode.PROTOCOL_ERROR)).is_closed()


@pytest.mark.parametrize(
    "text", ["$share//a", "$share/te+m/a", "$share/te#m/a", "$share/team", "$share/team/", "$share/"]
)
def test_a_share_without_a_proper_name_or_filter_is_refused(text: str) -> None:
    client = Playbook().client("office").subscribes(SubscriptionRequest(text))  # [MQTT-4.8.2-1] and [MQTT-4.8.2-2]
    client.gets(Suback(1, (ReasonCode.TOPIC_FILTER_INVALID,))).is_open()


def test_retained_messages_are_not_sent_on_a_share() -> None:
    hub = Playbook()
    hub.client("keeper").publishes("a", retain=True)
    hub.subscriber("office", SHARE).gets_nothing()


@pytest.mark.parametrize("qos", [1, 2])
def test_a_refused_delivery_goes_to_nobody_else(qos: int) -> None:
    hub = Playbook()  # [MQTT-4.8.2-6]
    one = hub.subscriber("one", SHARE, qos)
    hub.client("sensor").publishes("a", qos=1)
    hub.client("sensor2").publishes("a", b"y", qos=2)
    tags = [packet.packet_id for packet in one.packets() if isinstance(packet, Publish)]
    two = hub.subscriber("two", SHARE, qos)
    one.sends(Puback(tags[0], 0x80))
    one.sends(Puback(tags[1], 0x97) if qos == 1 else Pubrec(tags[1], 0x97))
    one.is_cut()
    two.gets_nothing()


def test_a_lost_member_s_delivery_goes_to_another_at_once_and_not_as_a_repetition() -> None:
    hub = Playbook()
    one = hub.subscriber("one", SHARE, 1)
    hub.client("sensor").publishes("a", qos=1)
    one.gets_publish("a", qos=1)
    two = hub.subscriber("two", SHARE, 1)
    two.gets_nothing()
    one.is_cut()
    two.gets_publish("a", qos=1)


def test_a_qos_2_delivery_is_completed_with_the_client_that_has_begun_it() -> None:
    hub = Playbook()
    words: dict[str, Any] = {"properties": Properties(session_expiry_interval=60), "clean_start": False}
    one = hub.client("one", **words).subscribes(SubscriptionRequest(SHARE, 2)).gets(Suback(1, (2,)))
    hub.client("sensor").publishes("a", qos=2)
    one.gets_publish("a", qos=2)
    two = hub.subscriber("two", SHARE, 2)
    one.is_cut()
    two.gets_nothing()
    again = hub.link().sends(Connect(V5, "one", **words))
    connack, publish = again.packets()
    assert isinstance(connack, Connack)
    assert publish == Publish(A, b"x", 2, dup=True, packet_id=1)  # [MQTT-4.8.2-4]
    again.is_cut()
    hub.passes(61)
    two.gets_nothing()  # [MQTT-4.8.2-5]
