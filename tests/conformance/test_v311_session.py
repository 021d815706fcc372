"""MQTT 3.1.1 sections 3.1.2.4 to 3.1.2.7, 3.2.2.2, 4.1 and 4.4: sessions, and wills."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub, Peer
from tests.conformance.codec import V311, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from tests.conformance.hearing import hear
from tests.conformance.marks import statement


def watcher(hub: Hub, qos: int = 2) -> Peer:
    peer = hub.client("watcher", V311)
    peer.subscribe(hub.topic("will"), qos=qos)
    return peer


def back(hub: Hub, name: str = "peer") -> Peer:
    return hub.client(name, V311, clean=False)


@statement("3.1.1", "MQTT-3.1.2-4", "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-3.1.4-3", "MQTT-3.1.3-2")
@pytest.mark.parametrize("ends", ["goodbye", "cut"])
def test_a_session_is_begun_kept_and_resumed(hub: Hub, ends: str) -> None:
    peer = back(hub)
    assert not peer.connack.session_present
    peer.subscribe(hub.topic(), qos=1)
    for _ in range(2):
        peer.disconnect() if ends == "goodbye" else peer.cut()
        peer = back(hub)
        assert peer.connack.session_present
        hub.client("publisher", V311).publish(hub.topic(), qos=1)
        peer.expect_message(topic=hub.topic())
    assert not back(hub, "other").connack.session_present


@statement("3.1.1", "MQTT-3.1.2-5", "MQTT-4.5.0-1")
def test_messages_at_qos_1_and_2_wait_for_a_client_that_is_away(hub: Hub) -> None:
    peer, publisher = back(hub), hub.client("publisher", V311)
    peer.subscribe(hub.topic("one"), qos=1)
    peer.subscribe(hub.topic("two/#"), qos=2)
    peer.disconnect()
    sent = [("one", 1), ("two/a", 2), ("two/a", 1), ("one", 2), ("other", 2)]
    for number, (name, qos) in enumerate(sent):
        publisher.publish(hub.topic(name), b"%d" % number, qos=qos)
    peer = back(hub)
    assert sorted((message.payload, message.qos, message.dup) for message in hear(peer, 4)) == [
        (b"0", 1, False),
        (b"1", 2, False),
        (b"2", 1, False),
        (b"3", 1, False),
    ]
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.1.2-6", "MQTT-3.2.2-1", "MQTT-3.1.4-3")
def test_a_clean_session_discards_what_was_before_it(hub: Hub) -> None:
    peer, publisher = back(hub), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), b"unacknowledged", qos=2)
    peer.expect(Publish)
    peer.cut()
    hub.wait_until_gone("peer", V311)
    publisher.publish(hub.topic(), b"waits", qos=1)
    peer = hub.client("peer", V311)
    assert not peer.connack.session_present
    publisher.publish(hub.topic(), b"no subscription", qos=1)
    peer.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.1.2-6", "MQTT-3.2.2-1", "MQTT-3.2.2-3")
@pytest.mark.parametrize("ends", ["goodbye", "cut"])
def test_a_clean_session_ends_with_its_connection(hub: Hub, ends: str) -> None:
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic(), qos=1)
    peer.disconnect() if ends == "goodbye" else peer.cut()
    hub.client("publisher", V311).publish(hub.topic(), b"meanwhile", qos=1)
    for clean in (True, False):
        peer = hub.client("peer", V311, clean=clean)
        assert not peer.connack.session_present
        hub.client("publisher", V311).publish(hub.topic(), b"later", qos=1)
        peer.expect_silence(qos=1)
        peer.disconnect()


@statement("3.1.1", "MQTT-3.1.2-7")
@pytest.mark.parametrize("clean", [True, False])
def test_retained_messages_stay_when_the_session_ends(hub: Hub, clean: bool) -> None:
    peer = hub.client("peer", V311, clean=clean)
    peer.publish(hub.topic(), b"kept", qos=1, retain=True)
    peer.disconnect()
    hub.client("peer", V311).disconnect()
    late = hub.client("late", V311)
    late.subscribe(hub.topic(), qos=1)
    late.expect_message(payload=b"kept", retain=True)


@statement("3.1.1", "MQTT-4.1.0-1", "MQTT-4.1.0-2")
@pytest.mark.parametrize("clean", [True, False])
def test_session_state_is_kept_while_the_connection_is_open(hub: Hub, clean: bool) -> None:
    peer, publisher = hub.client("peer", V311, clean=clean), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    publisher.publish(hub.topic(), b"one", qos=2)
    packet_id = peer.expect(Publish).packet_id
    for number in range(20):
        publisher.publish(hub.topic("other"), b"%d" % number, qos=1)
    publisher.publish(hub.topic(), b"two", qos=1)
    assert peer.expect(Publish, payload=b"two").packet_id != packet_id
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)


@statement("3.1.1", "MQTT-4.1.0-1", "MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-2.3.1-4", "MQTT-4.3.2-1")
def test_what_is_unacknowledged_comes_again_with_dup_and_its_identifiers(hub: Hub) -> None:
    peer, publisher = back(hub), hub.client("publisher", V311)
    peer.subscribe(hub.topic(), qos=2)
    sent: list[Publish] = []
    for qos in (1, 2, 2, 1):
        publisher.publish(hub.topic(), b"%d" % len(sent), qos=qos)
        sent.append(peer.expect(Publish))
    peer.send_ack(Pubrec, sent[2].packet_id)
    peer.expect(Pubrel)
    peer.send_ack(Puback, sent[3].packet_id)
    peer.ping()
    for _ in range(2):
        peer.cut()
        peer = back(hub)
        again = [peer.receive() for _ in range(3)]
        assert [(one.payload, one.packet_id, one.qos, one.dup) for one in again if isinstance(one, Publish)] == [
            (one.payload, one.packet_id, one.qos, True) for one in sent[:2]
        ]
        assert [one.packet_id for one in again if isinstance(one, Pubrel)] == [sent[2].packet_id]
        peer.ping()


@statement("3.1.1", "MQTT-4.1.0-1", "MQTT-4.3.3-2")
def test_what_a_client_has_begun_at_qos_2_it_can_end_after_a_reconnect(hub: Hub) -> None:
    listener, peer = hub.client("listener", V311), back(hub)
    listener.subscribe(hub.topic(), qos=2)
    peer.send_publish(hub.topic(), b"once", qos=2, packet_id=9)
    peer.expect(Pubrec, packet_id=9)
    peer.cut()
    peer = back(hub)
    peer.send_publish(hub.topic(), b"once", qos=2, packet_id=9, dup=True)
    peer.expect(Pubrec, packet_id=9)
    peer.cut()
    peer = back(hub)
    peer.send_ack(Pubrel, 9)
    peer.expect(Pubcomp, packet_id=9)
    listener.expect_message(payload=b"once")
    listener.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.1.2-8", "MQTT-3.1.2-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("clean", [True, False])
def test_a_will_is_published_with_its_qos_when_the_connection_is_cut(hub: Hub, qos: int, clean: bool) -> None:
    watching = watcher(hub)
    hub.client("peer", V311, clean=clean, will=Will(hub.topic("will"), b"", qos=qos)).cut()
    watching.expect_message(topic=hub.topic("will"), payload=b"", qos=qos)


@statement("3.1.1", "MQTT-3.1.2-8")
def test_a_broken_protocol_publishes_the_will(hub: Hub) -> None:
    watching = watcher(hub)
    peer = hub.client("peer", V311, will=Will(hub.topic("will"), b"broken"))
    peer.send_raw(b"\xf1\0")
    peer.expect_closed()
    watching.expect_message(payload=b"broken")


@statement("3.1.1", "MQTT-3.1.2-8", "MQTT-3.1.4-2")
@pytest.mark.parametrize("new", ["clean", "kept"])
@pytest.mark.parametrize("old", ["clean", "kept"])
def test_a_takeover_publishes_the_will_of_the_connection_that_it_ends(hub: Hub, old: str, new: str) -> None:
    watching = watcher(hub)
    older = hub.client("peer", V311, clean=old == "clean", will=Will(hub.topic("will"), b"taken over"))
    hub.client("peer", V311, clean=new == "clean")
    older.expect_closed()
    watching.expect_message(payload=b"taken over")


@statement("3.1.1", "MQTT-3.1.2-10")
def test_a_will_that_was_published_is_gone(hub: Hub) -> None:
    watching = watcher(hub)
    hub.client("peer", V311, clean=False, will=Will(hub.topic("will"))).cut()
    watching.expect_message(payload=b"gone")
    back(hub).cut()
    hub.wait_until_gone("peer", V311)
    hub.client("peer", V311).disconnect()
    watching.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.1.2-12")
def test_without_a_will_none_is_published(hub: Hub) -> None:
    everything = hub.client("watcher", V311)
    everything.subscribe(hub.topic("#"), qos=2)
    hub.client("peer", V311, clean=False).cut()
    hub.wait_until_gone("peer", V311)
    everything.expect_silence(qos=2)


@statement("3.1.1", "MQTT-3.1.2-16", "MQTT-3.1.2-17", "MQTT-3.1.2-9")
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_is_retained_if_it_says_so(hub: Hub, retain: bool) -> None:
    watching, late = watcher(hub), hub.client("late", V311)
    hub.retained.add(hub.topic("will"))
    hub.client("peer", V311, will=Will(hub.topic("will"), b"gone", qos=1, retain=retain)).cut()
    watching.expect_message(payload=b"gone", qos=1, retain=False)
    late.subscribe(hub.topic("will"), qos=2)
    if retain:
        late.expect_message(payload=b"gone", qos=1, retain=True)
    late.expect_silence(qos=2)
