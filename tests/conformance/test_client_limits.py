"""What a CONNECT asks of the server, and what both say about sizes: sections 3.1.2.10 to 3.1.2.11 and 3.2.2.3."""

from __future__ import annotations

import time

import pytest

from tests.conformance import codec
from tests.conformance.client import Hub, Peer
from tests.conformance.codec import V5, Ack, Connack, Puback, Publish, Suback, Unsuback, Will
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement
from tests.conformance.test_connect import UNKNOWN_METHOD


@statement("5.0", "MQTT-3.1.2-22", "MQTT-3.2.2-22")
def test_a_silent_client_is_cut_off_after_one_and_a_half_times_its_keep_alive(hub: Hub) -> None:
    watcher = hub.client("watcher")
    watcher.subscribe(hub.topic("will"))
    steady = hub.client("steady", keep_alive=0)
    peer = hub.client("peer", keep_alive=1, will=Will(hub.topic("will")))
    seconds = peer.connack.properties.get("server_keep_alive", 1)
    assert isinstance(seconds, int)
    begin = time.monotonic()
    peer.ping()
    peer.expect_end(0x8D, seconds=seconds * 1.5 + 10)  # some hubs look every few seconds only
    assert time.monotonic() - begin >= seconds
    watcher.expect_message(payload=b"gone")  # as if the network had failed
    steady.ping()


@statement("5.0", "MQTT-3.1.2-24", "MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_too_large_for_its_receiver_counts_as_sent(hub: Hub, qos: int) -> None:
    properties = {"maximum_packet_size": 200, "receive_maximum": 1, "session_expiry_interval": 300}
    reader = hub.client("reader", properties=properties)
    reader.subscribe(hub.topic(), qos=qos)
    writer = hub.client("writer")
    spare = 200 - len(codec.publish(V5, hub.topic(), packet_id=1 if qos else None)) - 1  # the length takes two bytes
    for size in (spare, spare + 1, 5000, 10):
        writer.publish(hub.topic(), b"x" * size, qos=qos)
    assert len(reader.expect_message().payload) == spare
    assert len(reader.expect_message().payload) == 10  # what was dropped holds no place of the one in flight
    reader.disconnect()
    again = hub.client("reader", clean=False)
    again.expect_silence(qos)


@statement("5.0", "MQTT-3.1.2-24", "MQTT-3.2.2-19", "MQTT-3.2.2-20")
@pytest.mark.parametrize("size", [1, 5, 12, 20, 40, 60])
def test_no_connack_is_larger_than_the_client_takes(hub: Hub, size: int) -> None:
    for more in ({}, UNKNOWN_METHOD):
        peer = hub.open()
        peer.send_connect(hub.client_id("peer"), properties={"maximum_packet_size": size, **more})
        raw = peer.receive_raw()
        assert len(raw) <= size, raw.hex()
        if not raw or more:
            peer.expect_closed()  # a client that cannot be told has no connection


@statement("5.0", "MQTT-3.1.2-24")
def test_no_answer_is_larger_than_the_client_takes(hub: Hub) -> None:
    peer = hub.client("peer", properties={"maximum_packet_size": 40})
    peer.send_subscribe(*((hub.topic(f"{number}"), 0) for number in range(60)))
    peer.send_raw(codec.frame(codec.PINGREQ, b""))
    while raw := peer.receive_raw():  # to the end of the connection, or the answer to the ping
        assert len(raw) <= 40
        if raw[0] >> 4 == codec.PINGRESP:
            break


@statement("5.0", "MQTT-3.1.2-26", "MQTT-3.3.2-11")
@pytest.mark.parametrize("most", [1, 2, 10])
def test_aliases_stay_within_what_the_client_takes(hub: Hub, most: int) -> None:
    reader = hub.client("reader", properties={"topic_alias_maximum": most})
    reader.subscribe(hub.topic("#"), qos=1)
    writer = hub.client("writer")
    known: dict[object, str] = {}
    for number in range(20):
        topic = hub.topic(f"{number % 5}")
        writer.publish(topic, b"x", qos=number % 2)
        heard = reader.expect_message()
        alias = heard.properties.get("topic_alias")
        if alias is not None:
            assert isinstance(alias, int)
            assert 1 <= alias <= most
            if heard.topic:
                known[alias] = heard.topic
        assert (heard.topic or known[alias]) == topic


@statement("5.0", "MQTT-3.1.2-27")
def test_a_client_that_takes_no_aliases_gets_none(hub: Hub) -> None:
    for properties in ({}, {"topic_alias_maximum": 0}):
        reader = hub.client("reader", properties=properties)
        reader.subscribe(hub.topic(), qos=1)
        writer = hub.client("writer")
        for _ in range(4):
            writer.publish(hub.topic(), b"x", qos=1)
            heard = reader.expect_message(topic=hub.topic())
            assert "topic_alias" not in heard.properties


@statement("5.0", "MQTT-3.1.2-28")
def test_response_information_comes_only_when_asked_for(hub: Hub) -> None:
    for properties in ({}, {"request_response_information": 0}):
        assert "response_information" not in hub.client("peer", properties=properties).connack.properties
    hub.client("peer", properties={"request_response_information": 1})


@statement("5.0", "MQTT-3.1.2-29")
def test_reasons_that_were_not_asked_for_do_not_come(hub: Hub) -> None:
    peer = hub.client("peer", properties={"request_problem_information": 0})
    peer.send_publish(hub.topic("nobody"), b"x", qos=1)
    packets: list[Suback | Unsuback | Ack] = [peer.expect(Puback)]
    packets.append(
        peer.unsubscribe(
            hub.topic("never"),
        )
    )
    peer.send_subscribe((hub.topic("a"), 0), ("$share/group/" + hub.topic("b"), 0))
    packets.append(peer.expect(Suback))
    for packet in packets:
        assert not {"reason_string", "user_property"} & set(packet.properties)


@statement("5.0", "MQTT-3.1.2-29")
@needs_lockgate
@pytest.mark.parametrize("asked", [0, 1])
def test_the_reason_of_a_refusal_comes_only_if_asked_for(own: Own, asked: int) -> None:
    with Hub(own.address) as hub:
        peer = hub.open()
        peer.connect(own.user, user=own.user, password=own.password, properties={"request_problem_information": asked})
        peer.send_publish("elsewhere", b"x", qos=1)
        assert ("reason_string" in peer.expect(Puback, code=0x87).properties) == bool(asked)
        peer.send_subscribe(("elsewhere", 0))
        assert ("reason_string" in peer.expect(Suback, codes=(0x87,)).properties) == bool(asked)


@statement("5.0", "MQTT-3.2.2-15")
def test_a_packet_larger_than_the_server_takes_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    most = peer.connack.properties.get("maximum_packet_size")
    if most is None:
        assert not hub.is_ours
        return
    assert isinstance(most, int)
    topic = hub.topic()
    spare = most - len(codec.publish(V5, topic)) - (len(codec.varint(most)) - 1)
    peer.subscribe(topic)
    assert len(peer.publish_and_hear(topic, b"x" * spare).payload) == spare
    # Its header is enough: a server need not wait for what it will not take.
    body = codec.text(topic) + b"\0" + b"x" * (spare + 1)
    peer.send_raw(codec.frame(codec.PUBLISH, body)[:100])
    peer.expect_end(0x95)


@statement("5.0", "MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-3.3.2-9")
def test_an_alias_above_what_the_server_takes_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    most = alias_maximum(peer)
    if most < 0xFFFF:
        peer.send_publish(hub.topic(), b"x", properties={"topic_alias": most + 1})
        peer.expect_end(0x94)


@statement("5.0", "MQTT-3.3.2-8")
def test_an_alias_of_0_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.send_publish(hub.topic(), b"x", properties={"topic_alias": 0})
    peer.expect_end(0x81, 0x82, 0x94)


@statement("5.0", "MQTT-3.3.2-12")
def test_every_alias_that_the_server_offered_is_taken(hub: Hub) -> None:
    reader, peer = hub.client("reader"), hub.client("peer")
    most = alias_maximum(peer)
    assert most or not hub.is_ours, "the hub offers no aliases"
    reader.subscribe(hub.topic("#"), qos=1)
    for alias in {1, max(1, most // 2), most} - {0}:
        name = hub.topic(f"{alias}")
        peer.publish(name, b"first", qos=1, properties={"topic_alias": alias})
        peer.publish("", b"second", qos=1, properties={"topic_alias": alias})
        reader.expect_message(topic=name, payload=b"first")
        assert "topic_alias" not in reader.expect_message(topic=name, payload=b"second").properties
        peer.publish(hub.topic("new"), b"third", qos=1, properties={"topic_alias": alias})  # it may mean another
        peer.publish("", b"fourth", qos=1, properties={"topic_alias": alias})
        reader.expect_message(topic=hub.topic("new"), payload=b"third")
        reader.expect_message(topic=hub.topic("new"), payload=b"fourth")


@statement("5.0", "MQTT-3.3.2-7")
def test_an_alias_ends_with_its_connection(hub: Hub) -> None:
    first = hub.client("peer", expiry=300)
    if alias_maximum(first) == 0:
        assert not hub.is_ours, "the hub offers no aliases"
        return
    first.publish(hub.topic(), b"x", qos=1, properties={"topic_alias": 1})
    first.disconnect()
    second = hub.client("peer", clean=False, expiry=300)
    assert second.connack.session_present
    second.send_publish("", b"x", qos=1, properties={"topic_alias": 1})
    second.expect_end(0x82, 0x94)


@statement("5.0", "MQTT-3.3.2-7")
def test_the_servers_aliases_end_with_their_connection(hub: Hub) -> None:
    words = {"topic_alias_maximum": 5}
    first = hub.client("reader", properties=words, expiry=300)
    first.subscribe(hub.topic(), qos=1)
    writer = hub.client("writer")
    for _ in range(3):
        writer.publish(hub.topic(), b"x", qos=1)
        first.expect_message()
    first.disconnect()
    writer.publish(hub.topic(), b"later", qos=1)
    second = hub.client("reader", clean=False, properties=words)
    second.expect_message(topic=hub.topic(), payload=b"later")  # by its name: no alias is known yet


def alias_maximum(peer: Peer) -> int:
    most = peer.connack.properties.get("topic_alias_maximum", 0)
    assert isinstance(most, int)
    return most


@statement("5.0", "MQTT-3.3.4-9", "MQTT-3.3.4-10")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("most", [1, 3])
def test_no_more_than_the_receive_maximum_is_in_flight_and_the_rest_goes_on(hub: Hub, qos: int, most: int) -> None:
    reader = hub.client("reader", properties={"receive_maximum": most})
    reader.subscribe(hub.topic(), qos=qos)
    writer = hub.client("writer")
    for number in range(most + 3):
        writer.publish(hub.topic(), b"%d" % number, qos=qos)
    flying = [reader.expect(Publish, payload=b"%d" % number) for number in range(most)]
    # Nothing else is held back, and no further message comes in between.
    reader.ping()
    reader.subscribe(hub.topic("other"))
    reader.unsubscribe(hub.topic("other"))
    reader.publish(hub.topic("nobody"), b"x", qos=1)
    reader.publish(hub.topic("nobody"), b"x", qos=2)
    for number in range(most, most + 3):
        settle(reader, flying.pop(0), refused=number == most)
        flying.append(reader.expect(Publish, payload=b"%d" % number))
        reader.ping()


def settle(reader: Peer, packet: Publish, refused: bool) -> None:
    """End a delivery; a PUBREC that refuses ends it as well as a PUBCOMP does, one that does not is no end."""
    if packet.qos == 1:
        reader.send_ack(Puback, packet.packet_id)
    elif refused:
        reader.send_ack(codec.Pubrec, packet.packet_id, 0x80)
    else:
        reader.send_ack(codec.Pubrec, packet.packet_id)
        reader.expect(codec.Pubrel, packet_id=packet.packet_id)
        reader.ping()
        reader.send_ack(codec.Pubcomp, packet.packet_id)


@statement("5.0", "MQTT-3.3.4-7")
def test_more_than_the_servers_receive_maximum_ends_the_connection(hub: Hub) -> None:
    peer = hub.client("peer")
    most = peer.connack.properties.get("receive_maximum", 65_535)
    assert isinstance(most, int)
    if most > 5000:
        assert not hub.is_ours
        return
    topic = hub.topic("nobody")
    for number in range(most):
        peer.send_publish(topic, qos=2, packet_id=number + 1)
        peer.expect(codec.Pubrec, packet_id=number + 1)
    peer.send_publish(topic, qos=2, packet_id=most + 1)
    peer.expect_end(0x93)


@statement("5.0", "MQTT-3.2.2-8")
def test_a_connection_that_is_taken_gets_the_code_0(hub: Hub) -> None:
    peer = hub.open()
    peer.send_connect(hub.client_id("peer"))
    peer.expect(Connack, code=0)
