"""MQTT 5.0 section 4.9: flow control by the receive maximum."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub
from tests.conformance.codec import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.marks import statement


@statement("5.0", "MQTT-4.9.0-1", "MQTT-4.9.0-2")
@pytest.mark.parametrize("window", [1, 3])
def test_the_server_sends_as_many_as_the_receive_maximum_and_the_next_when_one_is_settled(
    hub: Hub, window: int
) -> None:
    peer, publisher = hub.client("peer", properties={"receive_maximum": window}), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    for number in range(window + 4):
        publisher.publish(hub.topic(), b"%d" % number, qos=1 + number % 2)
    waiting = [peer.expect(Publish, payload=b"%d" % number) for number in range(window)]
    peer.ping()
    for number in range(window, window + 4):
        first = waiting.pop(0)
        if first.qos == 1:
            peer.send_ack(Puback, first.packet_id)
        else:
            peer.send_ack(Pubrec, first.packet_id)
            peer.expect(Pubrel, packet_id=first.packet_id)
            peer.ping()  # a PUBREC alone gives nothing back to the quota
            peer.send_ack(Pubcomp, first.packet_id)
        waiting.append(peer.expect(Publish, payload=b"%d" % number))
        peer.ping()


@statement("5.0", "MQTT-4.9.0-2")
def test_a_pubrec_that_refuses_gives_its_place_back(hub: Hub) -> None:
    peer, publisher = hub.client("peer", properties={"receive_maximum": 1}), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    for payload in (b"one", b"two"):
        publisher.publish(hub.topic(), payload, qos=2)
    peer.send_ack(Pubrec, peer.expect(Publish, payload=b"one").packet_id, 0x97)
    peer.expect(Publish, payload=b"two")


@statement("5.0", "MQTT-4.9.0-3")
def test_everything_else_is_answered_while_the_quota_is_used_up(hub: Hub) -> None:
    peer, publisher = hub.client("peer", properties={"receive_maximum": 1}), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    for payload in (b"one", b"two"):
        publisher.publish(hub.topic(), payload, qos=1)
    packet_id = peer.expect(Publish, payload=b"one").packet_id
    peer.ping()
    peer.subscribe(hub.topic("other"))
    peer.unsubscribe(hub.topic("other"))
    for qos in (1, 2):
        peer.publish(hub.topic("nobody"), qos=qos)
    peer.send_ack(Puback, packet_id)
    peer.expect_message(payload=b"two")
