"""Taking messages as they come: deliveries may overlap, and a server may go on with one while another is open."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.client import Peer
from tests.conformance.codec import Puback, Pubcomp, Publish, Pubrec, Pubrel


def hear(peer: Peer, count: int) -> list[Publish]:
    """Give the next messages, each acknowledged as its QoS asks for, and each delivery seen through to its end."""
    return hear_until(peer, lambda messages: len(messages) >= count)


def hear_until(peer: Peer, is_enough: Callable[[list[Publish]], bool]) -> list[Publish]:
    """Give the messages that come until they are enough, and no delivery is open any more."""
    messages: list[Publish] = []
    released: set[int] = set()
    while released or not is_enough(messages):
        packet = peer.receive()
        if isinstance(packet, Publish):
            messages.append(packet)
            if packet.qos == 1:
                peer.send_ack(Puback, packet.packet_id)
            elif packet.qos == 2:
                peer.send_ack(Pubrec, packet.packet_id)
                released.add(packet.packet_id)
        else:
            assert isinstance(packet, Pubrel), f"expected messages, got {packet}"
            assert packet.packet_id in released, f"{packet} was not to be expected"
            released.remove(packet.packet_id)
            peer.send_ack(Pubcomp, packet.packet_id)
    return messages
