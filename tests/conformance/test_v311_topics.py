"""MQTT 3.1.1 section 4.7: topic names and topic filters."""

from __future__ import annotations

import pytest

from tests.conformance.client import Hub
from tests.conformance.codec import V5, V311, Puback, Publish, Suback
from tests.conformance.marks import needs_lockgate, statement


def expect_no_subscription(hub: Hub, name: str) -> None:
    """See that a filter is refused in the SUBACK, or by the end of the connection."""
    peer = hub.client("refused", V311)
    packet_id = peer.send_subscribe((name, 0))
    assert peer.receive() in (None, Suback(packet_id, (0x80,))), f"{name!r} was granted"


@statement("3.1.1", "MQTT-4.7.1-2", "MQTT-4.7.1-3", "MQTT-3.3.2-3")
@pytest.mark.parametrize(
    ("name", "takes_in", "leaves_out"),
    [
        ("sport/#", ["sport", "sport/", "sport/tennis", "sport/tennis/player1"], ["sports", "Sport/tennis", "/sport"]),
        ("+/tennis/#", ["sport/tennis", "/tennis/x"], ["sport/golf", "a/b/tennis"]),
        ("sport/+", ["sport/", "sport/x"], ["sport", "sport/x/y"]),
        ("+", ["a"], ["a/", "/a", "a/b"]),
        ("+/+", ["/finance", "a/b"], ["finance", "a/b/c"]),
        ("/+", ["/finance"], ["finance", "//finance"]),
        ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/d", "a/b/b/c"]),
        ("a/+/+/#", ["a/b/c", "a///x/y"], ["a/b", "a"]),
        ("a", ["a"], ["A", "a/", "/a", "a "]),
    ],
)
def test_wildcards_take_in_what_they_say(hub: Hub, name: str, takes_in: list[str], leaves_out: list[str]) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    peer.subscribe(hub.topic(name), qos=1)
    for topic in takes_in:
        publisher.publish(hub.topic(topic), qos=1)
        peer.expect_message(topic=hub.topic(topic))
    for topic in leaves_out:
        publisher.publish(hub.topic(topic), qos=1)
    peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-4.7.1-2")
@pytest.mark.parametrize("name", ["a#", "a/b#", "#/a", "a/#/b", "##", "a/##", "+#"])
def test_a_multi_level_wildcard_that_is_not_alone_in_the_last_level_is_refused(hub: Hub, name: str) -> None:
    expect_no_subscription(hub, hub.topic(name))


@statement("3.1.1", "MQTT-4.7.1-3")
@pytest.mark.parametrize("name", ["a+", "+a", "a/b+", "a/+b/c", "++", "#+"])
def test_a_single_level_wildcard_that_does_not_fill_its_level_is_refused(hub: Hub, name: str) -> None:
    expect_no_subscription(hub, hub.topic(name))


@statement("3.1.1", "MQTT-4.7.2-1")
def test_filters_that_begin_with_a_wildcard_do_not_take_in_topics_that_begin_with_a_dollar(hub: Hub) -> None:
    peer, publisher = hub.client("peer", V311), hub.client("publisher", V311)
    rest = hub.topic()
    levels = rest.count("/") + 1
    peer.subscribe(f"+/{rest}", f"+{'/+' * levels}", "#", "+/#", qos=1)
    publisher.send_publish(f"$dollar/{rest}", b"hidden", qos=1)  # a server may refuse it, or close
    publisher.receive()
    hub.client("other", V311).publish(rest, b"end", qos=1)
    while (message := peer.expect_message()).payload != b"end":
        assert not message.topic.startswith("$"), f"{message} came by a wildcard"


@statement("3.1.1", "MQTT-4.7.2-1")
def test_system_topics_come_by_their_name_and_not_by_a_wildcard(hub: Hub) -> None:
    """A server need not have any, nor show them to everybody."""
    publisher, peer, watcher = hub.client("publisher", V311), hub.client("peer", V311), hub.client("watcher", V311)
    code = watcher.expect(Suback, packet_id=watcher.send_subscribe(("$SYS/#", 0))).codes[0]
    if code == 0 and hub.is_ours:
        assert watcher.expect_message().topic.startswith("$SYS/")
    peer.subscribe("#", "+/#", "+/+/#", qos=1)
    publisher.publish(hub.topic(), b"end", qos=1)
    while (message := peer.expect_message()).payload != b"end":
        assert not message.topic.startswith("$"), f"{message} came by a wildcard"


@statement("3.1.1", "MQTT-4.7.2-1")
@statement("5.0", "MQTT-4.7.2-1")
@needs_lockgate
@pytest.mark.parametrize("version", [V311, V5])
def test_what_the_hub_tells_of_itself_does_not_come_by_a_wildcard(hub: Hub, version: int) -> None:
    """Nobody may publish below `$SYS`; so this waits until the hub does."""
    watcher, peer = hub.client("watcher", version), hub.client("peer", version)
    peer.subscribe("#", "+/#", "+/broker/#", qos=1)
    watcher.subscribe("$SYS/#")
    while watcher.expect_message().retain:
        pass
    peer.send_publish(hub.topic(), b"end", qos=1)
    while not isinstance(packet := peer.receive(), Publish) or packet.payload != b"end":
        assert not isinstance(packet, Publish) or not packet.topic.startswith("$"), f"{packet} came by a wildcard"


@statement("3.1.1", "MQTT-4.7.3-1")
def test_an_empty_topic_name_or_filter_is_refused(hub: Hub) -> None:
    peer = hub.client("refused", V311)
    peer.send_publish("", b"x", qos=1)
    peer.expect_closed()
    expect_no_subscription(hub, "")


@statement("3.1.1", "MQTT-4.7.3-3")
def test_topics_of_the_greatest_length_are_taken_or_refused_in_order(hub: Hub) -> None:
    """A longer one cannot be written down: its length has two bytes."""
    name = hub.topic("é" * 20_000)
    name += "x" * (65_535 - len(name.encode()))
    peer = hub.client("peer", V311)
    code = peer.expect(Suback, packet_id=peer.send_subscribe((name, 1))).codes[0]
    assert code in (1, 0x80)
    if code == 1:
        hub.client("publisher", V311).publish(name, b"long", qos=1)
        peer.expect_message(topic=name)


@statement("3.1.1", "MQTT-4.7.3-4")
def test_topics_are_not_normalized(hub: Hub) -> None:
    """Letters that look the same, case, spaces, empty levels, and signs that no alphabet has are all different."""
    names = ["é", "e\u0301", "É", "ﬁ", "fi", "Å", "\u212b", "a//b", "a/b", "a/./b", " a", "a ", "\U000e0001", "a\ufeff"]
    publisher = hub.client("publisher", V311)
    for name in names:
        peer = hub.client("peer", V311)
        peer.subscribe(hub.topic(name), qos=1)
        for other in names:
            publisher.send_publish(hub.topic(other), other.encode(), qos=1)
        for _ in names:
            publisher.expect(Puback)
        peer.expect_message(topic=hub.topic(name), payload=name.encode())
        peer.expect_silence(qos=1)


@statement("3.1.1", "MQTT-4.7.3-4")
def test_a_topic_goes_out_byte_for_byte_as_it_came_in(hub: Hub) -> None:
    peer = hub.client("peer", V311)
    peer.subscribe(hub.topic("#"), qos=1)
    name = hub.topic("e\u0301/é//ﬁ/\ufeff/ \u2028")
    hub.client("publisher", V311).publish(name, b"x", qos=1)
    peer.expect_message(topic=name)
