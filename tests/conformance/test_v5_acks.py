"""MQTT 5.0 sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement

PUBACK_CODES = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
PUBREC_CODES = PUBACK_CODES
RELEASE_CODES = {0x00, 0x92}
LIMIT = 60
"""A Maximum Packet Size that a bare acknowledgement fits in, and one with a reason string hardly does."""


@statement("5.0", "MQTT-3.4.2-1")
def test_puback_has_a_listed_code_with_and_without_subscribers(hub: Hub) -> None:
    publisher, subscriber = hub.client("publisher"), hub.client("subscriber")
    publisher.send_publish(hub.topic(), qos=1)
    assert publisher.expect(Puback).code in PUBACK_CODES
    subscriber.subscribe(hub.topic())
    publisher.send_publish(hub.topic(), qos=1)
    assert publisher.expect(Puback).code == 0x00


@statement("5.0", "MQTT-3.5.2-1")
def test_pubrec_has_a_listed_code_with_and_without_subscribers(hub: Hub) -> None:
    publisher, subscriber = hub.client("publisher"), hub.client("subscriber")
    publisher.send_publish(hub.topic(), qos=2)
    assert publisher.expect(Pubrec).code in PUBREC_CODES
    subscriber.subscribe(hub.topic())
    publisher.send_publish(hub.topic(), qos=2)
    assert publisher.expect(Pubrec).code == 0x00


@statement("5.0", "MQTT-3.6.1-1")
@pytest.mark.parametrize("flags", [0b0000, 0b0001, 0b0011, 0b0110, 0b1010])
def test_pubrel_with_other_flags_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.client("peer")
    packet_id = peer.send_publish(hub.topic(), qos=2)
    peer.expect(Pubrec)
    peer.send_ack(Pubrel, packet_id, flags=flags)
    peer.expect_end(0x81)


@statement("5.0", "MQTT-3.6.2-1")
def test_pubrel_has_a_listed_code_for_known_and_unknown_identifiers(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher").publish(hub.topic(), qos=2)
    packet_id = peer.expect(Publish).packet_id
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, code=0x00)
    peer.send_ack(Pubrec, packet_id + 1)
    assert peer.expect(Pubrel).code in RELEASE_CODES


@statement("5.0", "MQTT-3.7.2-1")
def test_pubcomp_has_a_listed_code_for_known_and_unknown_identifiers(hub: Hub) -> None:
    peer = hub.client("peer")
    packet_id = peer.send_publish(hub.topic(), qos=2)
    peer.expect(Pubrec)
    peer.send_ack(Pubrel, packet_id)
    peer.expect(Pubcomp, code=0x00)
    peer.send_ack(Pubrel, packet_id + 1)
    assert peer.expect(Pubcomp).code in RELEASE_CODES


@statement(
    "5.0",
    "MQTT-3.4.2-2",
    "MQTT-3.4.2-3",
    "MQTT-3.5.2-2",
    "MQTT-3.5.2-3",
    "MQTT-3.6.2-2",
    "MQTT-3.6.2-3",
    "MQTT-3.7.2-2",
    "MQTT-3.7.2-3",
)
def test_no_acknowledgement_is_larger_than_the_client_takes(hub: Hub) -> None:
    peer = hub.client("peer", properties={"maximum_packet_size": LIMIT})
    publisher = hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), qos=2)
    packet_id = peer.expect(Publish).packet_id
    peer.send_publish(hub.topic("other"), qos=1, packet_id=1)
    peer.send_publish(hub.topic("other"), qos=2, packet_id=2)
    peer.send_ack(Pubrec, packet_id)
    for unknown in (2, 999):
        peer.send_ack(Pubrel, unknown)
    peer.send_raw(codec.frame(codec.PINGREQ, b""))
    kinds = set()
    while not isinstance(packet := peer.receive(), Pingresp):  # the peer judges each packet's size
        kinds.add(type(packet))
    assert kinds <= {Puback, Pubrec, Pubrel, Pubcomp}
    assert kinds


@needs_lockgate
@statement("5.0", "MQTT-3.4.2-2", "MQTT-3.5.2-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_reason_string_is_left_out_when_it_does_not_fit(hub: Hub, own: Own, qos: int) -> None:
    """A refusal has to be provoked; here by a topic that the device may not use."""
    kind = Puback if qos == 1 else Pubrec
    for limit in (LIMIT * 100, LIMIT):
        peer = hub.open(address=own.address)
        properties = {"maximum_packet_size": limit}
        peer.connect(own.user, user=own.user, password=own.password, properties=properties)
        peer.send_publish("forbidden", qos=qos)
        answer = peer.expect(kind, code=0x87)
        assert ("reason_string" in answer.properties) == (limit > LIMIT)
