"""CONNECT: sections 3.1.0 to 3.1.4, but for sessions, wills and time."""

from __future__ import annotations

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V5, Will
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement

LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
UNKNOWN_METHOD = {"authentication_method": "NO-SUCH-METHOD"}
USER, PASSWORD, WILL_RETAIN, WILL_1, WILL_3, WILL, CLEAN, RESERVED = 128, 64, 32, 8, 24, 4, 2, 1


@statement("5.0", "MQTT-3.1.0-1")
def test_a_connection_that_begins_with_another_packet_is_closed(hub: Hub) -> None:
    for packet in (
        codec.frame(codec.PINGREQ, b""),
        codec.publish(V5, hub.topic(), b"x"),
        codec.subscribe(V5, 1, [(hub.topic(), 0)]),
        codec.disconnect(V5),
        codec.auth(0x18, {"authentication_method": "SCRAM-SHA-256"}),
    ):
        peer = hub.open()
        peer.send_raw(packet)
        peer.expect_end()


@statement("5.0", "MQTT-3.1.0-2")
def test_a_second_connect_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("twice")
    peer.send_connect(hub.client_id("twice"))
    peer.expect_end(0x82)


@statement("5.0", "MQTT-3.1.2-1", "MQTT-3.1.4-1")
@pytest.mark.parametrize("name", ["mqtt", "MQTTX", "MQT", "", "HTTP"])
def test_another_protocol_name_ends_the_connection(hub: Hub, name: str) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), name=name)
    peer.expect_end(0x84, 0x81, 0x82, 0x01)


@statement("5.0", "MQTT-3.1.2-2")
@pytest.mark.parametrize("level", [0, 2, 6, 127, 255])
def test_another_protocol_version_ends_the_connection(hub: Hub, level: int) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), level=level)
    peer.expect_end(0x84, 0x01)  # 1 is what 3.1.1 says


@statement("5.0", "MQTT-3.1.2-3", "MQTT-3.1.4-1")
def test_the_reserved_connect_flag_must_be_0(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), user=None, password=None, flags=CLEAN | RESERVED)
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-9")
def test_a_will_flag_without_a_will_ends_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), user=None, password=None, flags=CLEAN | WILL)
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-11")
def test_a_will_qos_without_a_will_ends_the_connection(hub: Hub) -> None:
    for flags in (WILL_1, 16, WILL_3):
        peer = hub.open()
        peer.send_connect(hub.client_id("peer"), user=None, password=None, flags=CLEAN | flags)
        peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-12")
def test_a_will_at_qos_3_ends_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), will=Will(hub.topic(), qos=3))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-13")
def test_will_retain_without_a_will_ends_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), user=None, password=None, flags=CLEAN | WILL_RETAIN)
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-16", "MQTT-3.1.2-18")
@pytest.mark.parametrize("words", [{"user": "somebody"}, {"password": b"secret"}, {"user": "a", "password": b"b"}])
def test_a_user_name_or_password_without_its_flag_ends_the_connection(hub: Hub, words: dict[str, object]) -> None:
    peer = hub.open()
    peer.send_raw(codec.connect(V5, hub.client_id("peer"), flags=CLEAN, **words))  # type: ignore[arg-type]
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.2-17", "MQTT-3.1.2-19")
@pytest.mark.parametrize("flags", [USER, PASSWORD, USER | PASSWORD])
def test_a_flag_without_its_user_name_or_password_ends_the_connection(hub: Hub, flags: int) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), user=None, password=None, flags=CLEAN | flags)
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.3-1", "MQTT-3.1.2-9", "MQTT-3.1.3-11")
def test_the_fields_of_a_connect_are_read_in_their_order(hub: Hub) -> None:
    watcher = hub.client("watcher")
    watcher.subscribe(hub.topic("will"), qos=1)
    peer = hub.client(
        "peer",
        will=Will(hub.topic("will"), b"the payload", qos=1, properties={"content_type": "the type"}),
        user=hub.address.user or "somebody",
        password=hub.address.password or "secret",
    )
    peer.disconnect(0x04)
    heard = watcher.expect_message(topic=hub.topic("will"), payload=b"the payload", qos=1)
    assert heard.properties == {"content_type": "the type"}


@statement("5.0", "MQTT-3.1.3-3")
def test_a_connect_without_a_client_id_ends_the_connection(hub: Hub) -> None:
    peer = hub.open()
    peer.send_raw(codec.frame(codec.CONNECT, codec.text("MQTT") + b"\x05\x02" + codec.two(60) + b"\0"))
    peer.expect_end(0x81, 0x82, 0x85)


@statement("5.0", "MQTT-3.1.3-5")
@pytest.mark.parametrize("part", [LETTERS[i : i + 15] for i in range(0, len(LETTERS), 15)] + ["x"])
def test_client_ids_of_23_letters_and_digits_are_allowed(hub: Hub, part: str) -> None:
    peer = hub.open()
    peer.connect((hub.prefix + part)[-23:] if len(part) > 1 else hub.prefix[0])


@statement("5.0", "MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
def test_a_client_without_a_name_is_given_one_of_its_own(hub: Hub) -> None:
    peers = [hub.open() for _ in range(4)]
    names = {str(peer.connect("").properties["assigned_client_identifier"]) for peer in peers}
    assert len(names) == 4
    assert "" not in names
    for peer in peers:
        peer.ping()  # none has taken another's session over


@statement("5.0", "MQTT-3.1.3-7", "MQTT-3.1.3-2")
def test_a_name_that_was_given_counts_as_if_the_client_had_said_it(hub: Hub) -> None:
    peer = hub.open()
    name = str(peer.connect("", properties={"session_expiry_interval": 60}).properties["assigned_client_identifier"])
    peer.subscribe(hub.topic())
    peer.disconnect()
    again = hub.open()
    again.connect(name, clean=False)
    assert again.connack.session_present
    again.publish_and_hear(hub.topic(), b"x")


@statement("5.0", "MQTT-3.1.3-8")
@needs_lockgate
def test_a_client_id_that_is_refused_ends_the_connection(own: Own) -> None:
    with Hub(own.address) as hub:
        peer = hub.open()
        peer.send_connect("another-device", user=own.user, password=own.password)
        assert peer.expect_end(0x85, 0x87) is not None


@statement("5.0", "MQTT-3.1.4-1")
@pytest.mark.parametrize(
    "properties",
    [
        b"\x05\x11\0\0\0",  # cut short
        b"\x0a\x11\0\0\0\1\x11\0\0\0\1",  # one twice
        b"\x02\x7f\0",  # one that there is not
        b"\x02\x23\0",  # a will's property or a topic alias: not here
        b"\x02\x19\x02",  # a flag that is 2
        b"\x03\x21\0\0",  # Receive Maximum 0
        b"\x05\x27\0\0\0\0",  # Maximum Packet Size 0
        b"\x03\x16\0\0",  # authentication data without a method
        b"\x80\x80\x80\x80\1",  # a length of five bytes
    ],
)
def test_properties_that_are_wrong_end_the_connection(hub: Hub, properties: bytes) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), properties=properties)
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.4-1")
def test_bytes_after_the_last_field_end_the_connection(hub: Hub) -> None:
    peer = hub.open()
    packet = codec.connect(V5, hub.client_id("peer"))
    peer.send_raw(codec.frame(codec.CONNECT, packet[2:] + b"more"))
    peer.expect_end(0x81, 0x82)


@statement("5.0", "MQTT-3.1.4-2")
@pytest.mark.parametrize("topic", ["a/#", "+", ""])
def test_a_will_that_could_not_be_published_ends_the_connection(hub: Hub, topic: str) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"), will=Will(topic))
    peer.expect_end(0x81, 0x82, 0x90)


@statement("5.0", "MQTT-3.1.4-2")
@needs_lockgate
def test_a_wrong_password_ends_the_connection(own: Own) -> None:
    with Hub(own.address) as hub:
        for user, password in ((own.user, "wrong"), ("nobody", own.password), (own.user, None), (None, None)):
            peer = hub.open()
            peer.send_connect(own.user, user=user, password=password)
            assert peer.expect_end(0x86, 0x87) is not None
        hub.open().connect(own.user, user=own.user, password=own.password)


@statement("5.0", "MQTT-3.1.4-2")
@needs_lockgate
def test_a_will_that_the_client_may_not_publish_ends_the_connection(own: Own) -> None:
    with Hub(own.address) as hub:
        peer = hub.open()
        peer.send_connect(own.user, user=own.user, password=own.password, will=Will("elsewhere/state"))
        assert peer.expect_end(0x87) is not None


@statement("5.0", "MQTT-3.1.4-3")
def test_the_older_connection_of_a_client_is_told_and_closed(hub: Hub) -> None:
    older = hub.client("same")
    newer = hub.client("same")
    older.expect_end(0x8E)
    newer.ping()


@statement("5.0", "MQTT-3.1.4-6")
def test_nothing_that_follows_a_refused_connect_is_looked_at(hub: Hub) -> None:
    watcher = hub.client("watcher")
    watcher.subscribe(hub.topic("#"))
    for refused in (
        codec.connect(V5, hub.client_id("peer"), properties=UNKNOWN_METHOD),
        codec.connect(V5, hub.client_id("peer"), level=9),
        codec.connect(V5, hub.client_id("peer"), will=Will("a/#")),
    ):
        peer = hub.open()
        peer.send_raw(refused, codec.publish(V5, hub.topic(), b"not to be heard"))
        peer.expect_end()
    watcher.expect_silence()


@statement("5.0", "MQTT-3.1.4-6")
@needs_lockgate
def test_nothing_that_follows_a_wrong_password_is_looked_at(own: Own) -> None:
    with Hub(own.address) as hub:
        watcher = hub.open()
        watcher.connect(own.user, user=own.user, password=own.password)
        watcher.subscribe("kettle/#")
        peer = hub.open()
        peer.send_raw(
            codec.connect(V5, f"{own.user}/other", user=own.user, password="wrong"),
            codec.publish(V5, "kettle/state", b"not to be heard"),
        )
        peer.expect_end(0x86)
        watcher.publish_and_hear("kettle/state", b"the first to be heard")
