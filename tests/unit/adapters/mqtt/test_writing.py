"""What goes to many receivers is written once, and always says what the delivery says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.adapters.mqtt import mapping, wire
from lockgate.adapters.mqtt.packets import V5, V311, Publish
from lockgate.adapters.mqtt.writing import Writing
from lockgate.model.message import Message, MessageProperties
from lockgate.model.session import Delivery
from lockgate.model.topic import TopicName
from tests.support.fakes import principal

NOW = 1_800_000_000.0
A = TopicName("a/b")


def read(data: bytes, version: int) -> Publish:
    """Give the PUBLISH that `data` is."""
    found = wire.decode(data, 0, version, 1 << 20)
    assert found is not None
    assert found[1] == len(data)
    assert isinstance(found[0], Publish)
    return found[0]


messages = st.builds(
    Message,
    st.just(A),
    st.binary(max_size=200),
    st.integers(0, 2),
    st.booleans(),
    st.none() | st.just(MessageProperties(content_type="text/plain")),
    st.none() | st.just(NOW + 9),
)
deliveries = st.tuples(
    st.integers(0, 1), st.integers(0, 2), st.booleans(), st.sampled_from([(), (7,)]), st.sampled_from([V311, V5])
)


@given(st.lists(messages, min_size=2, max_size=2), st.lists(deliveries, min_size=1, max_size=12))
def test_each_packet_says_what_its_delivery_says_whatever_was_written_before(
    two: list[Message], asked: list[tuple[int, int, bool, tuple[int, ...], int]]
) -> None:
    writing = Writing()
    for tag, (index, qos, is_retained, identifiers, version) in enumerate(asked, 1):
        delivery = Delivery(two[index], qos, is_retained, identifiers, tag if qos else 0)
        data = writing.packet(two[index], qos, is_retained, identifiers, delivery.tag, version, NOW)
        assert data == wire.encode(mapping.to_publish(delivery, NOW), version)


@pytest.mark.parametrize("version", [V311, V5])
def test_what_goes_out_as_it_came_is_not_written_anew(version: int) -> None:
    came = wire.encode(Publish(A, b"x"), version)
    message = mapping.to_message(read(came, version), principal("sensor"), NOW)
    writing, other = Writing(), V311 if version == V5 else V5
    assert writing.packet(message, 0, False, (), 0, version, NOW) is message.packet
    assert message.packet == came
    assert message.content is None, "nobody has asked for the payload"
    assert read(writing.packet(message, 0, False, (), 0, other, NOW), other) == Publish(A, b"x")
    assert read(writing.packet(message, 0, True, (), 0, version, NOW), version).retain
    named = read(writing.packet(message, 0, False, (7,), 0, version, NOW), version)
    assert named.properties.subscription_identifiers == ((7,) if version == V5 else ())


@pytest.mark.parametrize("version", [V311, V5])
def test_a_retained_message_goes_to_its_subscribers_without_the_flag(version: int) -> None:
    message = mapping.to_message(
        read(wire.encode(Publish(A, b"x", 0, True), version), version), principal("sensor"), NOW
    )
    assert not read(Writing().packet(message, 0, False, (), 0, version, NOW), version).retain


def test_what_is_left_of_the_expiry_is_written_each_time() -> None:
    writing, message = Writing(), Message(A, b"x", expires_at=NOW + 10)
    for now, left in ((NOW, 10), (NOW + 4, 6)):
        sent = read(writing.packet(message, 0, False, (), 0, V5, now), V5)
        assert sent.properties.message_expiry_interval == left
