"""MQTT's words to the house's and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Connect,
    MqttError,
    PacketType,
    Properties,
    Publish,
    ReasonCode,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    RateExceeded,
    Step,
    TopicFilterInvalid,
    TopicNameInvalid,
)
from lockgate.model.message import Message, MessageProperties
from lockgate.model.session import Delivery, Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from tests.support.fakes import principal

NOW = 1000.0
SENSOR = principal("sensor", "sensor/1")

topics = st.text(st.characters(codec="utf-8", exclude_characters="+#\0"), min_size=1, max_size=20).map(TopicName)
texts = st.none() | st.text(max_size=5)
said = st.builds(
    Properties,
    payload_format_indicator=st.sampled_from([None, 0, 1]),
    message_expiry_interval=st.none() | st.integers(1, 0xFFFF_FFFF),
    content_type=texts,
    response_topic=texts,
    correlation_data=st.none() | st.binary(max_size=5),
    user_properties=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3).map(tuple),
)
publishes = st.builds(
    Publish,
    topic=topics,
    payload=st.text(max_size=20).map(str.encode),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    properties=said,
)


@given(publishes)
def test_a_publish_comes_out_as_it_went_in(publish: Publish) -> None:
    message = mapping.to_message(publish, SENSOR, NOW)
    assert message.publisher == "sensor"
    again = mapping.to_publish(Delivery(message, publish.qos, publish.retain), NOW)
    assert again == publish


@given(publishes, st.integers(1, 65_535), st.lists(st.integers(1, 268_435_455), max_size=3), st.booleans())
def test_a_delivery_adds_what_is_its_own(publish: Publish, tag: int, identifiers: list[int], again: bool) -> None:
    message = mapping.to_message(publish, SENSOR, NOW)
    delivery = Delivery(message, 1, True, tuple(identifiers), tag, is_repeated=again)
    sent = mapping.to_publish(delivery, NOW)
    assert (sent.qos, sent.retain, sent.dup, sent.packet_id) == (1, True, again, tag)
    assert sent.properties.subscription_identifiers == tuple(identifiers)
    assert sent.properties.user_properties == publish.properties.user_properties


def test_a_publish_without_properties_makes_a_message_without_any() -> None:
    assert mapping.to_message(Publish(TopicName("a"), b"x"), SENSOR, NOW) == Message(
        TopicName("a"), b"x", publisher="sensor"
    )
    sent = mapping.to_publish(Delivery(Message(TopicName("a"), b"x")), NOW)
    assert sent.properties is NO_PROPERTIES


def test_the_expiry_that_goes_out_is_what_is_left_and_at_least_a_second() -> None:
    message = Message(TopicName("a"), b"x", expires_at=NOW + 10)
    for now, left in ((NOW, 10), (NOW + 4, 6), (NOW + 9.9, 1)):
        assert mapping.to_publish(Delivery(message), now).properties.message_expiry_interval == left


def test_a_will_is_a_message_with_a_delay_and_a_life() -> None:
    packet = WillPacket("gone", b"w", 1, True, Properties(will_delay_interval=5, message_expiry_interval=9))
    message = Message(TopicName("gone"), b"w", 1, True, MessageProperties(), None, "sensor")
    assert mapping.to_will(packet, SENSOR) == Will(message, 5.0, 9.0)
    assert mapping.to_will(WillPacket("gone", b""), SENSOR) == Will(
        Message(TopicName("gone"), b"", publisher="sensor"), 0.0, None
    )
    with pytest.raises(TopicNameInvalid):
        mapping.to_will(WillPacket("a/#", b""), SENSOR)


def test_a_subscription_request_keeps_its_options() -> None:
    request = SubscriptionRequest("a/#", 1, True, True, 2)
    assert mapping.to_subscription(request, 7) == Subscription(TopicFilter("a/#"), 1, True, True, 2, 7)
    shared = mapping.to_subscription(SubscriptionRequest("$share/team/a/#", 1), 0)
    assert shared == Subscription(TopicFilter("a/#"), 1, share="team")
    with pytest.raises(TopicFilterInvalid):
        mapping.to_subscription(SubscriptionRequest("a/#/b"), 0)


@pytest.mark.parametrize(
    ("version", "clean_start", "interval", "seconds"),
    [
        (V311, True, None, 0.0),
        (V311, False, None, 100.0),
        (V5, True, None, 0.0),
        (V5, False, None, 0.0),
        (V5, True, 60, 60.0),
        (V5, True, 101, 100.0),
        (V5, True, mapping.NEVER, 100.0),
    ],
)
def test_a_session_waits_as_long_as_its_connect_says_within_the_limit(
    version: int, clean_start: bool, interval: int | None, seconds: float
) -> None:
    connect = Connect(version, "x", clean_start, properties=Properties(session_expiry_interval=interval))
    assert mapping.session_expiry(connect, 100.0) == seconds


def test_without_a_limit_never_means_never() -> None:
    assert mapping.granted_expiry(mapping.NEVER, math.inf) == math.inf


@pytest.mark.parametrize(
    ("error", "packet", "code"),
    [
        (AuthenticationFailed(), PacketType.CONNACK, 0x86),
        (AuthenticationFailed(), PacketType.DISCONNECT, 0x87),
        (RateExceeded(), PacketType.DISCONNECT, 0x96),
        (RateExceeded(step=Step.CREDENTIAL), PacketType.CONNACK, 0x89),
        (LockgateError(), PacketType.PUBACK, 0x80),
        (MqttError(ReasonCode.TOPIC_ALIAS_INVALID, ""), PacketType.DISCONNECT, 0x94),
        (MqttError(ReasonCode.TOPIC_ALIAS_INVALID, ""), PacketType.PUBACK, 0x80),
    ],
)
def test_a_code_that_is_illegal_in_its_packet_gives_way_to_the_nearest(
    error: LockgateError, packet: PacketType, code: int
) -> None:
    assert mapping.reason_code(error, packet) == code


def test_a_kind_of_a_known_error_gets_its_parents_code() -> None:
    class Forbidden(NotAuthorized):
        pass

    assert mapping.reason_code(Forbidden(), PacketType.PUBACK) == 0x87
    assert mapping.connack_code(Forbidden(), V311) == 5
    assert mapping.suback_code(Forbidden(), V5) == 0x87
    assert mapping.suback_code(Forbidden(), V311) == 0x80


def test_one_reason_string_tells_of_the_filters_that_were_refused() -> None:
    assert mapping.reasons({}, 3) is NO_PROPERTIES
    assert mapping.reasons({0: "no"}, 1) == Properties(reason_string="no")
    assert mapping.reasons({0: "no", 2: "never"}, 3) == Properties(reason_string="filter 1: no; filter 3: never")
    many = mapping.reasons(dict.fromkeys(range(12), "no"), 12).reason_string
    assert many is not None
    assert many.endswith("filter 10: no; and 2 more")


def test_each_filter_gets_its_code_and_the_latest_commit_counts() -> None:
    def decide(wanted: str) -> tuple[int, int]:
        if wanted == "bad":
            raise NotAuthorized("no")
        return len(wanted), 10 * len(wanted)

    found = mapping.decide_each(["a", "bad", "bb", "bad"], decide, lambda error: (0x87, str(error)))
    assert found == ((1, 0x87, 2, 0x87), Properties(reason_string="filter 2: no; filter 4: no"), 20)
    assert mapping.decide_each(["a"], decide, lambda error: (0, "")) == ((1,), NO_PROPERTIES, 10)


@pytest.mark.parametrize(("heard_by", "version", "code"), [(0, V5, 0x10), (1, V5, 0), (0, V311, 0), (1, V311, 0)])
def test_a_message_that_nobody_hears_is_acknowledged_as_that_in_5_0(heard_by: int, version: int, code: int) -> None:
    assert mapping.heard_code(heard_by, version) == code
