"""MQTT 5.0 section 4.8.2: shared subscriptions."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub, Peer
from tests.conformance.codec import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback
from tests.conformance.marks import statement

REFUSED = (0x80, 0x83, 0x8F)


def share(hub: Hub, name: str = "us", topic: str = "topic") -> str:
    return f"$share/{name}/{hub.topic(topic)}"


@statement("5.0", "MQTT-4.8.2-1", "MQTT-4.8.2-2")
@pytest.mark.parametrize(
    "name",
    [
        "$share/",
        "$share/us",
        "$share/us/",
        "$share//a",
        "$share//",
        "$share/u+s/a",
        "$share/+/a",
        "$share/u#s/a",
        "$share/#",
        "$share/us/a#",
        "$share/us/#/a",
    ],
)
def test_a_share_without_a_proper_name_or_filter_is_refused(hub: Hub, name: str) -> None:
    peer = hub.client("peer")
    peer.send_subscribe((name, 0))
    packet = peer.receive()
    if isinstance(packet, Suback):
        assert packet.codes[0] in REFUSED, f"{name} was granted"
    elif packet is not None:
        assert isinstance(packet, Disconnect)
        assert packet.code in (0x81, 0x82, 0x8F)


@statement("5.0", "MQTT-4.8.2-1", "MQTT-4.8.2-2")
@pytest.mark.parametrize("name", ["u", "us and them", "über", "$"])
def test_each_message_goes_to_one_member_of_each_share(hub: Hub, name: str) -> None:
    publisher = hub.client("publisher")
    members = [hub.client(f"member{number}") for number in range(2)]
    for member in members:
        member.subscribe(share(hub, name, "+"), qos=1)
    alone = hub.client("alone")
    alone.subscribe(share(hub, f"{name}2", "a"), hub.topic("b"), qos=1)
    for topic in ("a", "b"):
        publisher.publish(hub.topic(topic), topic.encode(), qos=1)
        alone.expect_message(topic=hub.topic(topic))
    assert sorted(message.payload for member in members for message in _all(hub, member)) == [b"a", b"b"]


@statement("5.0", "MQTT-4.8.2-3")
def test_each_member_receives_at_most_the_qos_that_it_was_granted(hub: Hub) -> None:
    publisher = hub.client("publisher")
    for granted in (0, 1, 2):
        member = hub.client("member")
        member.subscribe(share(hub), qos=granted)
        for qos in (0, 1, 2):
            publisher.publish(hub.topic(), qos=qos)
            member.expect_message(qos=min(qos, granted))
        member.unsubscribe(share(hub))


@statement("5.0", "MQTT-4.8.2-3")
def test_members_of_one_share_each_keep_their_own_qos(hub: Hub) -> None:
    publisher = hub.client("publisher")
    members = {qos: hub.client(f"member{qos}") for qos in (0, 2)}
    for qos, member in members.items():
        member.subscribe(share(hub), qos=qos)
    for _ in range(6):
        publisher.publish(hub.topic(), qos=2)
    heard = {granted: [message.qos for message in _all(hub, member)] for granted, member in members.items()}
    assert set(heard[0]) <= {0}
    assert set(heard[2]) <= {2}
    assert len(heard[0] + heard[2]) == 6


@statement("5.0", "MQTT-4.8.2-4")
@pytest.mark.parametrize("is_received", [False, True], ids=["before PUBREC", "after PUBREC"])
def test_a_qos_2_delivery_is_completed_with_the_member_when_it_comes_back(hub: Hub, is_received: bool) -> None:
    chosen, other = _delivering(hub, 2)
    packet_id = chosen.expect(Publish).packet_id
    other.subscribe(share(hub), qos=2)
    if is_received:
        chosen.send_ack(Pubrec, packet_id)
        chosen.expect(Pubrel)
    chosen.cut()
    hub.wait_until_gone("chosen")
    other.expect_silence(qos=2)
    chosen = hub.client("chosen", clean=False, expiry=300)
    if is_received:
        chosen.expect(Pubrel, packet_id=packet_id)
        chosen.send_ack(Pubcomp, packet_id)
    else:
        chosen.expect_message(packet_id=packet_id, dup=True, payload=b"x")
    chosen.expect_silence(qos=2)
    other.expect_silence(qos=2)


@statement("5.0", "MQTT-4.8.2-4", "MQTT-4.8.2-5")
def test_what_waits_for_a_smaller_window_and_was_sent_before_stays_with_its_member(hub: Hub) -> None:
    chosen, other = _delivering(hub, 2)
    hub.client("publisher").publish(hub.topic(), b"y", qos=2)
    sent = [chosen.expect(Publish), chosen.expect(Publish)]
    other.subscribe(share(hub), qos=2)
    chosen.cut()
    narrow = {"session_expiry_interval": 300, "receive_maximum": 1}
    chosen = hub.client("chosen", clean=False, properties=narrow)
    chosen.expect(Publish, packet_id=sent[0].packet_id)
    chosen.ping()
    chosen.cut()
    hub.wait_until_gone("chosen")
    other.expect_silence(qos=2)
    chosen = hub.client("chosen", clean=False, expiry=300)
    for message in sent:
        chosen.expect(Publish, packet_id=message.packet_id, payload=message.payload, dup=True)


@statement("5.0", "MQTT-4.8.2-5")
def test_a_qos_2_delivery_goes_to_no_other_when_the_members_session_ends(hub: Hub) -> None:
    chosen, other = _delivering(hub, 2)
    chosen.expect(Publish)
    other.subscribe(share(hub), qos=2)
    chosen.cut()
    chosen = hub.client("chosen", clean=True, expiry=0)  # which ends the session that had begun the delivery
    chosen.expect_silence(qos=2)
    other.expect_silence(qos=2)


@statement("5.0", "MQTT-4.8.2-6")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_a_member_refuses_goes_to_no_other(hub: Hub, qos: int) -> None:
    chosen, other = _delivering(hub, qos)
    packet_id = chosen.expect(Publish).packet_id
    other.subscribe(share(hub), qos=qos)
    chosen.send_ack(Puback if qos == 1 else Pubrec, packet_id, 0x83)
    chosen.ping()
    other.expect_silence(qos=qos)
    chosen.cut()
    hub.client("chosen", clean=False, expiry=300).expect_silence(qos=qos)
    other.expect_silence(qos=qos)


def _delivering(hub: Hub, qos: int) -> tuple[Peer, Peer]:
    """Give the one member of a share, to whom a message is on its way, and a client that is no member yet."""
    chosen = hub.client("chosen", expiry=300)
    chosen.subscribe(share(hub), qos=qos)
    hub.client("publisher").publish(hub.topic(), b"x", qos=qos)
    return chosen, hub.client("other")


def _all(hub: Hub, peer: Peer) -> list[Publish]:
    """Give the messages that are on their way to a peer."""
    end = hub.topic("end")
    peer.send_subscribe((end, 1))
    messages: list[Publish] = []
    while not isinstance(packet := peer.receive(), Suback):
        assert isinstance(packet, Publish)
        messages.append(packet)
    hub.client("ender").publish(end, b"end", qos=1)
    while (message := peer.expect(Publish)).topic != end:
        messages.append(message)
    return messages
