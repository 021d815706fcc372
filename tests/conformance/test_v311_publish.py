"""MQTT 3.1.1 section 3.3: PUBLISH, and retained messages."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V311, Puback, Pubcomp, Pubrec, Pubrel
from tests.conformance.conftest import Own
from tests.conformance.hearing import hear_until
from tests.conformance.marks import needs_lockgate, statement


@statement("3.1.1", "MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_of_what_came_is_not_passed_on(hub: Hub, qos: int) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=qos)
    publisher.publish(hub.topic(), b"first here", qos=qos, dup=True)
    peer.expect_message(payload=b"first here", dup=False)


@statement("3.1.1", "MQTT-3.3.1-4")
@pytest.mark.parametrize("flags", [0b0110, 0b0111, 0b1110, 0b1111])
def test_a_publish_at_qos_3_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.frame(codec.PUBLISH, codec.text(hub.topic()) + codec.two(1), flags))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.3.1-5", "MQTT-3.3.1-6", "MQTT-3.3.1-8")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_retained_message_is_kept_with_its_qos_for_later_subscribers(hub: Hub, qos: int) -> None:
    publisher = hub.client("publisher", V311)
    for payload in (b"before", b"last"):
        publisher.publish(hub.topic(), payload, qos=qos, retain=True)
    publisher.disconnect()
    for index, granted in enumerate((0, 1, 2)):
        peer = hub.client(f"peer{index}", V311)
        peer.subscribe(hub.topic(), qos=granted)
        peer.expect_message(payload=b"last", qos=min(qos, granted), retain=True, dup=False)
        peer.expect_silence(qos=granted)


@statement("3.1.1", "MQTT-3.3.1-6", "MQTT-3.3.1-8")
def test_a_new_subscription_gets_the_retained_message_of_each_topic_that_it_matches(hub: Hub) -> None:
    publisher, peer = hub.client("publisher", V311), hub.client("peer", V311)
    for name in ("a", "a/b", "a/b/c", "b"):
        publisher.publish(hub.topic(name), name.encode(), qos=1, retain=True)
    peer.subscribe(hub.topic("a/#"), qos=1)
    messages = [peer.expect_message(retain=True) for _ in range(3)]
    assert sorted(message.payload for message in messages) == [b"a", b"a/b", b"a/b/c"]
    peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-3.3.1-7")
def test_a_retained_message_at_qos_0_takes_the_place_of_the_one_before(hub: Hub) -> None:
    """It should be kept, and may be discarded at any time; the one before must not come back."""
    publisher, peer = hub.client("publisher", V311), hub.client("peer", V311)
    publisher.publish(hub.topic(), b"before", qos=2, retain=True)
    publisher.publish(hub.topic(), b"at qos 0", qos=0, retain=True)
    peer.subscribe(hub.topic(), qos=2)
    if hub.is_ours:
        peer.expect_message(payload=b"at qos 0", qos=0, retain=True)
    else:
        publisher.publish(hub.topic(), b"fence", qos=1)
        while (message := peer.expect_message()).payload != b"fence":
            assert message.payload == b"at qos 0"
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.3.1-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_for_an_established_subscription_has_no_retain_flag(hub: Hub, qos: int) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), b"now", qos=qos, retain=True)
    peer.expect_message(payload=b"now", qos=qos, retain=False)


@statement("3.1.1", "MQTT-3.3.1-9")
def test_that_holds_also_for_messages_that_waited_for_their_client(hub: Hub) -> None:
    peer = hub.client("peer", V311, clean=False)
    peer.subscribe(hub.topic(), qos=1)
    peer.disconnect()
    hub.client("publisher", V311).publish(hub.topic(), b"meanwhile", qos=1, retain=True)
    hub.client("peer", V311, clean=False).expect_message(payload=b"meanwhile", retain=False)


@statement("3.1.1", "MQTT-3.3.1-10", "MQTT-3.3.1-11")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message_is_passed_on_and_empties_the_place(hub: Hub, qos: int) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    publisher.publish(hub.topic(), b"kept", qos=1, retain=True)
    peer.subscribe(hub.topic(), qos=2)
    peer.expect_message(payload=b"kept", retain=True)
    for _ in range(2):  # the second time there is nothing to remove
        publisher.publish(hub.topic(), b"", qos=qos, retain=True)
        peer.expect_message(payload=b"", qos=qos, retain=False)
        late = hub.client("late", V311)
        late.subscribe(hub.topic(), qos=2)
        late.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.3.1-12")
@pytest.mark.parametrize("payload", [b"other", b""])
def test_a_message_without_retain_is_not_kept_and_removes_nothing(hub: Hub, payload: bytes) -> None:
    publisher, peer = hub.client("publisher", V311), hub.client("peer", V311)
    publisher.publish(hub.topic("kept"), b"kept", qos=1, retain=True)
    for name in ("kept", "none"):
        publisher.publish(hub.topic(name), payload, qos=1)
    peer.subscribe(hub.topic("+"), qos=1)
    peer.expect_message(topic=hub.topic("kept"), payload=b"kept")
    peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-3.3.2-1")
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\3ab", b"\xff\xff"], ids=["none", "half", "cut", "no bytes"])
def test_a_publish_without_a_whole_topic_name_ends_the_connection(hub: Hub, body: bytes) -> None:
    peer = hub.client("peer", V311)
    peer.send_raw(codec.frame(codec.PUBLISH, body))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.3.2-2", "MQTT-4.7.1-1")
@pytest.mark.parametrize("name", ["#", "+", "a+", "#a", "+/a", "a/#/b"])
def test_a_topic_name_with_wildcards_goes_to_nobody_and_ends_the_connection(hub: Hub, name: str) -> None:
    watcher, peer = hub.client("watcher", V311), hub.client("peer", V311)
    watcher.subscribe(hub.topic("#"), qos=1)
    peer.send_publish(hub.topic(name), b"wrong", qos=1)
    peer.expect_closed()
    watcher.expect_silence(qos=1)


@statement("3.1.1", "MQTT-3.3.4-1", "MQTT-2.3.1-6")
def test_each_publish_is_answered_as_its_qos_says(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    for retain in (False, True):
        peer.send_publish(hub.topic(), b"0", retain=retain)
        peer.ping()
        for number in (1, 77, 65_535):
            peer.send_publish(hub.topic(), b"1", qos=1, packet_id=number, retain=retain)
            peer.expect(Puback, packet_id=number)
            peer.send_publish(hub.topic(), b"2", qos=2, packet_id=number, retain=retain)
            peer.expect(Pubrec, packet_id=number)
            peer.send_ack(Pubrel, number)
            peer.expect(Pubcomp, packet_id=number)


@statement("3.1.1", "MQTT-3.3.5-1", "MQTT-3.3.2-3")
def test_overlapping_subscriptions_deliver_at_the_highest_of_their_qos(hub: Hub) -> None:
    """A server may send one copy or one for each subscription; the highest QoS must be among them."""
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    for name, qos in (("#", 0), ("a/+", 2), ("a/b", 1)):
        peer.subscribe(hub.topic(name), qos=qos)
    publisher.publish(hub.topic("a/b"), b"many", qos=2)
    publisher.publish(hub.topic("end"), b"end")
    heard = hear_until(peer, lambda messages: bool(messages) and messages[-1].payload == b"end")
    copies = [message.qos for message in heard if message.payload == b"many"]
    assert max(copies) == 2
    assert len(copies) == 1 or sorted(copies) == [0, 1, 2]


@statement("3.1.1", "MQTT-3.3.5-2")
@needs_lockgate
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_that_is_not_permitted_is_acknowledged_or_ends_the_connection(own: Own, hub: Hub, qos: int) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic(), qos=2)
    with Hub(own.address) as secured:
        peer = secured.open(V311)
        peer.connect(own.user, user=own.user, password=own.password)
        peer.send_publish(hub.topic(), b"not permitted", qos=qos, packet_id=5 if qos else None)
        expected = {0: None, 1: Puback(5), 2: Pubrec(5)}[qos]
        peer.send_raw(codec.frame(codec.PINGREQ, b""))
        assert peer.receive() in (None, expected, codec.Pingresp())
    watcher.expect_silence(qos=2)
