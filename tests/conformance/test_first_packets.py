"""What comes first: sections 3.1.0 and 3.2.0."""

from __future__ import annotations

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5
from tests.conformance.marks import statement


@statement("5.0", "MQTT-3.1.0-1")
def test_a_connection_that_begins_with_another_packet_is_closed(hub: Hub) -> None:
    for packet in (
        codec.frame(codec.PINGREQ, b""),
        codec.publish(V5, hub.topic(), b"x"),
        codec.subscribe(V5, 1, [(hub.topic(), 0)]),
        codec.disconnect(V5),
    ):
        peer = hub.open()
        peer.send_raw(packet)
        peer.expect_end()


@statement("5.0", "MQTT-3.1.0-2")
def test_a_second_connect_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("twice")
    peer.send_connect(hub.client_id("twice"))
    peer.expect_end(0x82)
