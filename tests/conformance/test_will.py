"""Wills: sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2."""

from __future__ import annotations

import time

import pytest

from tests.conformance.client import Hub, Peer
from tests.conformance.codec import Publish, Will
from tests.conformance.marks import statement

LATER = 300


def watcher(hub: Hub) -> Peer:
    peer = hub.client("watcher")
    peer.subscribe(hub.topic("will"), qos=2)
    return peer


@statement("5.0", "MQTT-3.1.2-7", "MQTT-3.1.2-8")
@pytest.mark.requirement("Q6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_published_when_the_connection_is_cut(hub: Hub, qos: int) -> None:
    watching = watcher(hub)
    hub.client("peer", will=Will(hub.topic("will"), b"gone", qos=qos)).cut()
    watching.expect_message(topic=hub.topic("will"), payload=b"gone", qos=qos)


@statement("5.0", "MQTT-3.1.2-8", "MQTT-3.1.2-10")
@pytest.mark.requirement("Q6")
def test_a_goodbye_takes_the_will_away(hub: Hub) -> None:
    watching = watcher(hub)
    peer = hub.client("peer", will=Will(hub.topic("will")), expiry=LATER)
    peer.disconnect(0x00)
    watching.expect_silence(qos=2)
    hub.client("peer", clean=False).cut()  # and it is not kept with the session
    hub.client("peer", clean=True).disconnect()
    watching.expect_silence(qos=2)


@statement("5.0", "MQTT-3.1.2-8")
def test_a_goodbye_may_ask_for_the_will(hub: Hub) -> None:
    watching = watcher(hub)
    hub.client("peer", will=Will(hub.topic("will"))).disconnect(0x04)
    watching.expect_message(payload=b"gone")


@statement("5.0", "MQTT-3.1.2-8")
@pytest.mark.requirement("Q6")
def test_a_broken_protocol_publishes_the_will(hub: Hub) -> None:
    watching = watcher(hub)
    peer = hub.client("peer", will=Will(hub.topic("will")))
    peer.send_raw(b"\xf1\0")
    peer.expect_end()
    watching.expect_message(payload=b"gone")


@statement("5.0", "MQTT-3.1.2-8")
def test_the_end_of_the_session_ends_the_will_delay(hub: Hub) -> None:
    watching = watcher(hub)
    will = Will(hub.topic("will"), properties={"will_delay_interval": LATER})
    hub.client("peer", will=will).cut()  # its session ends with the connection
    watching.expect_message(payload=b"gone")
    hub.client("peer", will=will, expiry=LATER).cut()
    watching.expect_silence(qos=2)
    hub.client("peer", clean=True).disconnect()
    # A clean start ends the session that waits, and it is a new connection of the client: the statement has a word
    # for either. Ours goes by section 3.1.4: it was the session that ended.
    expected = ([b"gone"],) if hub.is_ours else ([b"gone"], [])
    assert [message.payload for message in watching.gather(qos=2)] in expected


@statement("5.0", "MQTT-3.1.2-8")
def test_a_takeover_with_a_clean_start_publishes_the_will(hub: Hub) -> None:
    watching = watcher(hub)
    hub.client("peer", will=Will(hub.topic("will")))
    hub.client("peer", clean=True)
    watching.expect_message(payload=b"gone")


@statement("5.0", "MQTT-3.1.2-8", "MQTT-3.1.2-10")
@pytest.mark.requirement("Q6")
def test_a_will_comes_when_its_delay_is_over_and_once(hub: Hub) -> None:
    watching = watcher(hub)
    will = Will(hub.topic("will"), properties={"will_delay_interval": 1})
    peer = hub.client("peer", will=will, expiry=LATER)
    begin = time.monotonic()
    peer.cut()
    watching.expect(Publish, payload=b"gone")
    assert time.monotonic() - begin >= 1.0
    hub.client("peer", clean=False).disconnect(0x04)
    hub.client("peer", clean=True).disconnect(0x04)
    watching.expect_silence(qos=2)


@statement("5.0", "MQTT-3.1.3-9", "MQTT-3.1.2-8")
def test_a_client_that_is_back_within_the_delay_has_no_will_sent(hub: Hub) -> None:
    watching = watcher(hub)
    will = Will(hub.topic("will"), properties={"will_delay_interval": 1})
    hub.client("peer", will=will, expiry=LATER).cut()
    back = hub.client("peer", clean=False, expiry=LATER)
    time.sleep(2.2)  # the delay passes: the statement is about time
    watching.expect_silence(qos=2)
    back.cut()
    watching.expect_silence(qos=2)


@statement("5.0", "MQTT-3.1.2-14")
def test_a_will_that_is_not_retained_is_not_kept(hub: Hub) -> None:
    watching = hub.client("watcher")
    watching.subscribe(hub.topic("will"), options=0x08)
    hub.client("peer", will=Will(hub.topic("will"), retain=False)).disconnect(0x04)
    watching.expect_message(payload=b"gone", retain=False)
    late = hub.client("late")
    late.subscribe(hub.topic("will"))
    late.expect_silence()


@statement("5.0", "MQTT-3.1.2-15", "MQTT-3.1.2-9")
def test_a_will_that_is_retained_is_kept(hub: Hub) -> None:
    watching = hub.client("watcher")
    watching.subscribe(hub.topic("will"), options=0x08)  # Retain As Published
    hub.retained.add(hub.topic("will"))
    hub.client("peer", will=Will(hub.topic("will"), qos=1, retain=True)).disconnect(0x04)
    watching.expect_message(payload=b"gone", retain=True)
    late = hub.client("late")
    late.subscribe(hub.topic("will"), qos=2)
    late.expect_message(payload=b"gone", retain=True, qos=1)


@statement("5.0", "MQTT-3.1.3-10")
def test_the_user_properties_of_a_will_keep_their_order(hub: Hub) -> None:
    watching = watcher(hub)
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("c", ""), ("a", "3")]
    will = Will(hub.topic("will"), properties={"user_property": pairs, "response_topic": "x/y", "content_type": "t"})
    hub.client("peer", will=will).cut()
    heard = watching.expect_message(payload=b"gone")
    assert heard.properties == {"user_property": pairs, "response_topic": "x/y", "content_type": "t"}
