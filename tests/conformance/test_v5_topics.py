"""MQTT 5.0 section 4.7: topic names and topic filters."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Puback, Suback
from tests.conformance.marks import statement

REFUSED = (0x80, 0x83, 0x8F)
"""What a SUBACK may say of a filter that is none; a server may as well call the packet malformed."""


def expect_no_subscription(hub: Hub, name: str | bytes) -> None:
    """See that a filter is refused in the SUBACK, or by the end of the connection."""
    peer = hub.client("refused")
    peer.send_subscribe((name, 0))
    packet = peer.receive()
    if isinstance(packet, Suback):
        assert packet.codes[0] in REFUSED, f"{name!r} was granted: {packet}"
    elif packet is not None:
        assert isinstance(packet, codec.Disconnect)
        assert packet.code in (0x81, 0x82, 0x8F)


def expect_no_message(hub: Hub, name: str | bytes) -> None:
    """See that a topic name is refused in the PUBACK, or by the end of the connection."""
    peer = hub.client("refused")
    peer.send_publish(name, qos=1)
    packet = peer.receive()
    if isinstance(packet, Puback):
        assert packet.code in (0x80, 0x83, 0x90), f"{name!r} was taken: {packet}"
    elif packet is not None:
        assert isinstance(packet, codec.Disconnect)
        assert packet.code in (0x81, 0x82, 0x90)


@statement("5.0", "MQTT-4.7.0-1")
@pytest.mark.parametrize("wildcard", ["#", "+", "a+", "#a", "+/a"])
def test_a_topic_name_with_a_wildcard_is_refused(hub: Hub, wildcard: str) -> None:
    expect_no_message(hub, hub.topic(wildcard))


@statement("5.0", "MQTT-4.7.0-1", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
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
        ("a", ["a"], ["A", "a/", "/a", "a "]),
    ],
)
def test_wildcards_take_in_what_they_say(hub: Hub, name: str, takes_in: list[str], leaves_out: list[str]) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(name), qos=1)
    for topic in takes_in:
        publisher.publish(hub.topic(topic), qos=1)
        peer.expect_message(topic=hub.topic(topic))
    for topic in leaves_out:
        publisher.publish(hub.topic(topic), qos=1)
    peer.expect_silence(qos=1)


@statement("5.0", "MQTT-4.7.1-1")
def test_a_multi_level_wildcard_alone_takes_in_everything(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe("#", qos=1)
    hub.client("publisher").publish(hub.topic(), b"any", qos=1)
    while peer.expect_message().topic != hub.topic():
        pass  # what others keep retained on this hub


@statement("5.0", "MQTT-4.7.1-1")
@pytest.mark.parametrize("name", ["a#", "a/b#", "#/a", "a/#/b", "##", "a/##", "+#"])
def test_a_multi_level_wildcard_that_is_not_alone_in_the_last_level_is_refused(hub: Hub, name: str) -> None:
    expect_no_subscription(hub, hub.topic(name))


@statement("5.0", "MQTT-4.7.1-2")
@pytest.mark.parametrize("name", ["a+", "+a", "a/b+", "a/+b/c", "++", "#+"])
def test_a_single_level_wildcard_that_does_not_fill_its_level_is_refused(hub: Hub, name: str) -> None:
    expect_no_subscription(hub, hub.topic(name))


@statement("5.0", "MQTT-4.7.2-1")
def test_filters_that_begin_with_a_wildcard_do_not_take_in_topics_that_begin_with_a_dollar(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    rest = hub.topic()
    levels = rest.count("/") + 1
    peer.subscribe(f"+/{rest}", f"+{'/+' * levels}", "#", qos=1)
    publisher.send_publish(f"$dollar/{rest}", b"hidden", qos=1)  # a server may refuse it
    publisher.send_publish(rest, b"end", qos=1)
    while (message := peer.expect_message()).payload != b"end":
        assert not message.topic.startswith("$"), f"{message} came by a wildcard"


@statement("5.0", "MQTT-4.7.2-1")
def test_system_topics_do_not_come_by_a_wildcard(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe("#", "+/#", qos=1)
    hub.client("publisher").publish(hub.topic(), b"end", qos=1)
    while (message := peer.expect_message()).payload != b"end":
        assert not message.topic.startswith("$"), f"{message} came by a wildcard"


@statement("5.0", "MQTT-4.7.3-1")
def test_an_empty_topic_name_or_filter_is_refused(hub: Hub) -> None:
    expect_no_message(hub, "")
    expect_no_subscription(hub, "")


@statement("5.0", "MQTT-4.7.3-2")
def test_a_topic_name_or_filter_with_a_null_character_is_refused(hub: Hub) -> None:
    expect_no_message(hub, hub.topic("a\0b"))
    expect_no_subscription(hub, hub.topic("a\0b"))


@statement("5.0", "MQTT-4.7.3-3")
def test_topics_of_the_greatest_length_are_taken_or_refused_in_order(hub: Hub) -> None:
    """A longer one cannot be written down: its length has two bytes. One whose UTF-8 is too long never arrives."""
    name = hub.topic("é" * 20_000)
    name += "x" * (65_535 - len(name.encode()))
    peer = hub.client("peer")
    code = peer.expect(Suback, packet_id=peer.send_subscribe((name, 1))).codes[0]
    assert code == 1 or code in REFUSED
    if code == 1:
        hub.client("publisher").publish(name, b"long", qos=1)
        peer.expect_message(topic=name)


@statement("5.0", "MQTT-4.7.3-4")
def test_topics_are_not_normalized(hub: Hub) -> None:
    """Letters that look the same, case, spaces, empty levels, and signs that no alphabet has are all different."""
    names = ["é", "e\u0301", "É", "ﬁ", "fi", "Å", "\u212b", "a//b", "a/b", "a/./b", " a", "a ", "\U000e0001", "a\ufeff"]
    publisher = hub.client("publisher")
    for name in names:
        peer = hub.client("peer")
        peer.subscribe(hub.topic(name), qos=1)
        for other in names:
            publisher.send_publish(hub.topic(other), other.encode(), qos=1)
        for _ in names:
            publisher.expect(Puback)
        peer.expect_message(topic=hub.topic(name), payload=name.encode())
        peer.expect_silence(qos=1)


@statement("5.0", "MQTT-4.7.3-4")
def test_a_topic_goes_out_byte_for_byte_as_it_came_in(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic("#"), qos=1)
    name = hub.topic("e\u0301/é//ﬁ/\ufeff/ \u2028")
    hub.client("publisher").send_raw(codec.publish(V5, name.encode(), b"x"))
    peer.expect_message(topic=name)
