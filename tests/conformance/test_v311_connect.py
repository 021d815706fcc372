"""MQTT 3.1.1 sections 3.1 and 3.2: CONNECT and CONNACK, but for sessions and wills."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub
from tests.conformance.codec import V311, Connack, Will
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement

LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
USER, PASSWORD, WILL_RETAIN, WILL_3, WILL_2, WILL_1, WILL, CLEAN, RESERVED = 128, 64, 32, 24, 16, 8, 4, 2, 1


def expect_refusal(hub: Hub, **words: Any) -> None:
    """See a CONNECT closed without a CONNACK."""
    peer = hub.open(V311)
    peer.send_raw(codec.connect(V311, hub.client_id("peer"), **words))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.0-1")
def test_a_connection_that_begins_with_another_packet_is_closed(hub: Hub) -> None:
    for packet in (
        codec.frame(codec.PINGREQ, b""),
        codec.publish(V311, hub.topic(), b"x"),
        codec.subscribe(V311, 1, [(hub.topic(), 0)]),
        codec.disconnect(V311),
    ):
        peer = hub.open(V311)
        peer.send_raw(packet, codec.connect(V311, hub.client_id("peer")))
        peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.0-2")
def test_a_second_connect_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("twice", V311)
    peer.send_connect(hub.client_id("twice"))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.0-2", "MQTT-3.1.2-8")
def test_a_second_connect_is_no_goodbye(hub: Hub) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("will"))
    peer = hub.client("twice", V311, will=Will(hub.topic("will")))
    peer.send_connect(hub.client_id("twice"))
    peer.expect_closed()
    watcher.expect_message(payload=b"gone")


@statement("3.1.1", "MQTT-3.1.2-1")
@pytest.mark.parametrize("name", ["mqtt", "MQTTX", "MQT", "", "HTTP", "MQIsdp"])
def test_another_protocol_name_is_not_served(hub: Hub, name: str) -> None:
    peer = hub.open(V311)
    peer.send_connect(hub.client_id("peer"), name=name)
    peer.expect_end(1)


@statement("3.1.1", "MQTT-3.1.2-2", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
@pytest.mark.parametrize("level", [0, 1, 2, 6, 127, 255])
def test_another_protocol_level_is_refused_with_code_1(hub: Hub, level: int) -> None:
    peer = hub.open(V311)
    peer.send_connect(hub.client_id("peer"), level=level)
    peer.expect_connack(1, session_present=False)
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.2-3", "MQTT-3.1.4-1", "MQTT-3.2.2-6")
def test_the_reserved_connect_flag_must_be_0(hub: Hub) -> None:
    expect_refusal(hub, flags=CLEAN | RESERVED)


@statement("3.1.1", "MQTT-3.1.2-9", "MQTT-3.1.4-1")
@pytest.mark.parametrize("payload", [b"", codec.text("topic")], ids=["nothing", "topic only"])
def test_a_will_flag_without_a_whole_will_ends_the_connection(hub: Hub, payload: bytes) -> None:
    peer = hub.open(V311)
    head = codec.text("MQTT") + bytes([V311, CLEAN | WILL]) + codec.two(60)
    peer.send_raw(codec.frame(codec.CONNECT, head + codec.text(hub.client_id("peer")) + payload))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.2-11")
def test_a_will_without_its_flag_ends_the_connection(hub: Hub) -> None:
    expect_refusal(hub, will=Will(hub.topic()), flags=CLEAN)


@statement("3.1.1", "MQTT-3.1.2-13", "MQTT-3.1.2-11")
@pytest.mark.parametrize("qos", [WILL_1, WILL_2, WILL_3])
def test_a_will_qos_without_a_will_ends_the_connection(hub: Hub, qos: int) -> None:
    expect_refusal(hub, flags=CLEAN | qos)


@statement("3.1.1", "MQTT-3.1.2-14")
def test_a_will_at_qos_3_ends_the_connection(hub: Hub) -> None:
    expect_refusal(hub, will=Will(hub.topic(), qos=3))


@statement("3.1.1", "MQTT-3.1.2-15", "MQTT-3.1.2-11")
def test_a_will_retain_flag_without_a_will_ends_the_connection(hub: Hub) -> None:
    expect_refusal(hub, flags=CLEAN | WILL_RETAIN)


@statement("3.1.1", "MQTT-3.1.2-18", "MQTT-3.1.2-20")
@pytest.mark.parametrize(
    ("words", "flags"),
    [({"user": "a"}, CLEAN), ({"password": b"b"}, CLEAN), ({"user": "a", "password": b"b"}, CLEAN | USER)],
    ids=["user name", "password", "password behind a user name"],
)
def test_a_user_name_or_password_without_its_flag_ends_the_connection(
    hub: Hub, words: dict[str, Any], flags: int
) -> None:
    expect_refusal(hub, flags=flags, **words)


@statement("3.1.1", "MQTT-3.1.2-19", "MQTT-3.1.2-21")
@pytest.mark.parametrize(
    ("words", "flags"),
    [({}, USER), ({"user": "a"}, USER | PASSWORD)],
    ids=["user name", "password"],
)
def test_a_flag_without_its_user_name_or_password_ends_the_connection(
    hub: Hub, words: dict[str, Any], flags: int
) -> None:
    expect_refusal(hub, flags=CLEAN | flags, **words)


@statement("3.1.1", "MQTT-3.1.2-22")
def test_a_password_without_a_user_name_ends_the_connection(hub: Hub) -> None:
    expect_refusal(hub, password=b"secret")


@statement("3.1.1", "MQTT-3.1.2-24", "MQTT-3.1.2-8")
def test_a_silent_client_is_disconnected_as_if_the_network_had_failed(hub: Hub) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("will"))
    peer = hub.client("peer", V311, keep_alive=1, will=Will(hub.topic("will"), b"silent"))
    peer.expect_closed(seconds=10)  # some hubs look every few seconds only
    watcher.expect_message(payload=b"silent")


@statement("3.1.1", "MQTT-3.1.3-1", "MQTT-3.1.2-9")
def test_the_fields_of_a_connect_are_read_in_their_order(hub: Hub) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("will"), qos=1)
    peer = hub.client(
        "peer",
        V311,
        will=Will(hub.topic("will"), b"the payload", qos=1),
        user=hub.address.user or "somebody",
        password=hub.address.password or "secret",
    )
    hub.client("peer", V311)  # it was the first field that was the client id
    peer.expect_closed()
    watcher.expect_message(topic=hub.topic("will"), payload=b"the payload", qos=1)


@statement("3.1.1", "MQTT-3.1.3-1")
@needs_lockgate
def test_user_name_and_password_come_last(own: Own) -> None:
    with Hub(own.address) as hub:
        peer = hub.open(V311)
        peer.connect(own.user, user=own.user, password=own.password, will=Will("kettle/gone", own.user.encode()))


@statement("3.1.1", "MQTT-3.1.3-3", "MQTT-3.1.4-1")
def test_a_connect_without_a_client_id_ends_the_connection(hub: Hub) -> None:
    peer = hub.open(V311)
    peer.send_raw(codec.frame(codec.CONNECT, codec.text("MQTT") + bytes([V311, CLEAN]) + codec.two(60)))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.3-5")
@pytest.mark.parametrize("part", [LETTERS[i : i + 15] for i in range(0, len(LETTERS), 15)] + ["x"])
def test_client_ids_of_23_letters_and_digits_are_allowed(hub: Hub, part: str) -> None:
    hub.open(V311).connect((hub.prefix + part)[-23:] if len(part) > 1 else hub.prefix[0])


@statement("3.1.1", "MQTT-3.1.3-6")
def test_clients_without_a_name_do_not_get_in_each_others_way(hub: Hub) -> None:
    peers = [hub.open(V311) for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.connect("")
        peer.subscribe(hub.topic(str(number)), qos=1)
    for number, peer in enumerate(peers):
        peers[0].publish(hub.topic("other"), qos=1)
        hub.client("publisher", V311).publish(hub.topic(str(number)), b"%d" % number, qos=1)
        peer.expect_message(payload=b"%d" % number)


@statement("3.1.1", "MQTT-3.1.3-8", "MQTT-3.1.3-9", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
def test_no_name_and_no_clean_session_is_refused_with_code_2(hub: Hub) -> None:
    peer = hub.open(V311)
    peer.send_connect("", clean=False)
    peer.expect_connack(2, session_present=False)
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.3-9")
@pytest.mark.parametrize("name", ["x" * 60_000, "a/b", "a+b", "a#b", " ", "é" * 300, "\ufeff", "$SYS"])
def test_an_unusual_client_id_is_allowed_or_refused_with_code_2(hub: Hub, name: str) -> None:
    peer = hub.open(V311)
    peer.send_connect(hub.prefix + name)
    if code := peer.expect(Connack).code:
        assert code == 2
        peer.expect_closed()
    else:
        peer.ping()


@statement("3.1.1", "MQTT-3.1.4-1", "MQTT-3.2.2-6")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\4MQTT",
        b"\0\4MQTT\4",
        b"\0\4MQTT\4\2",
        b"\0\4MQTT\4\2\0",
        b"\0\4MQTT\4\2\0\x3c\0",
        b"\0\4MQTT\4\2\0\x3c\0\5ab",
        b"\0\4MQTT\4\2\0\x3c\0\2ab\0",
        b"\0\4MQTT\4\6\0\x3c\0\2ab\0\1t\0\4go",
        b"\0\x40MQTT\4\2\0\x3c\0\2ab",
    ],
    ids=lambda body: body.hex() or "nothing",
)
def test_a_connect_that_is_malformed_gets_no_connack(hub: Hub, body: bytes) -> None:
    peer = hub.open(V311)
    peer.send_raw(codec.frame(codec.CONNECT, body))
    peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.4-1", "MQTT-4.7.1-1", "MQTT-4.7.3-1")
@pytest.mark.parametrize("topic", ["a/#", "+", ""])
def test_a_will_that_could_not_be_published_gets_no_connack(hub: Hub, topic: str) -> None:
    expect_refusal(hub, will=Will(topic), user=hub.address.user, password=hub.address.password)


@statement("3.1.1", "MQTT-3.1.4-2", "MQTT-3.1.3-2")
def test_the_older_connection_of_a_client_is_closed(hub: Hub) -> None:
    older = hub.client("same", V311)
    newer = hub.client("same", V311)
    older.expect_closed()
    newer.ping()
    hub.client("Same", V311)  # another letter, another client
    newer.ping()


@statement("3.1.1", "MQTT-3.1.4-4", "MQTT-3.2.0-1")
@pytest.mark.parametrize("clean", [True, False])
def test_the_first_answer_is_a_connack_whatever_follows_the_connect(hub: Hub, clean: bool) -> None:
    hub.client("publisher", V311).publish(hub.topic(), b"kept", retain=True)
    for _ in range(2):
        peer = hub.open(V311)
        peer.send_raw(
            codec.connect(
                V311, hub.client_id("peer"), clean=clean, user=hub.address.user, password=hub.address.password
            ),
            codec.subscribe(V311, 1, [(hub.topic(), 1)]),
            codec.publish(V311, hub.topic(), b"at once", qos=1, packet_id=2),
        )
        peer.expect_connack(0)
        while not isinstance(packet := peer.receive(), codec.Suback):  # messages may come before it
            assert isinstance(packet, codec.Publish)
        peer.cut()


@statement("3.1.1", "MQTT-3.1.4-5")
def test_nothing_that_follows_a_refused_connect_is_looked_at(hub: Hub) -> None:
    watcher = hub.client("watcher", V311)
    watcher.subscribe(hub.topic("#"))
    name = hub.client_id("peer")
    for refused in (
        codec.connect(V311, "", clean=False),
        codec.connect(V311, name, level=9),
        codec.connect(V311, name, flags=CLEAN | RESERVED),
        codec.connect(V311, name, will=Will("a/#")),
    ):
        peer = hub.open(V311)
        peer.send_raw(refused, codec.publish(V311, hub.topic(), b"not to be heard"))
        peer.expect_end()
    watcher.expect_silence()


@statement("3.1.1", "MQTT-3.1.4-5", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
@needs_lockgate
def test_a_wrong_password_is_refused_with_a_code_and_then_closed(own: Own) -> None:
    with Hub(own.address) as hub:
        for user, password in ((own.user, "wrong"), ("nobody", own.password), (own.user, None), (None, None)):
            peer = hub.open(V311)
            peer.send_connect(own.user, user=user, password=password, clean=False)
            assert peer.expect(Connack, session_present=False).code in (4, 5)
            peer.expect_closed()


@statement("3.1.1", "MQTT-3.1.3-9")
@needs_lockgate
def test_the_client_id_of_another_is_refused(own: Own) -> None:
    """Refused for its name with code 2, or as not authorized with code 5."""
    with Hub(own.address) as hub:
        peer = hub.open(V311)
        peer.send_connect("another-device", user=own.user, password=own.password)
        assert peer.expect(Connack, session_present=False).code in (2, 5)
        peer.expect_closed()
