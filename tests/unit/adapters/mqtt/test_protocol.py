"""The MQTT state machine by itself: every way through it, with time and commits in the test's hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    NO_PROPERTIES,
    V5,
    V311,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from lockgate.adapters.mqtt.protocol import MqttProtocol, State
from lockgate.hub import Session
from lockgate.model.message import Message
from lockgate.model.topic import TopicName, topic_name
from lockgate.settings import MqttSettings
from tests.support.fakes import FakeOutlet, FakeStore, principal

A = topic_name("a")
LIMITS = MqttSettings(connect_deadline_seconds=5.0, receive_maximum=2, max_packet_bytes=1024, max_connect_bytes=1024)


def new_session(store: FakeStore | None = None) -> Session:
    store = store or FakeStore()
    session = Session(principal("sensor"), 60.0, store, 100, 10_000, 10)
    store.save_session(session.record())
    session.attach(FakeOutlet(), 10)
    return session


def data(*packets: Packet, version: int = V5) -> bytes:
    return b"".join(wire.encode(packet, version) for packet in packets)


def sent(protocol: MqttProtocol) -> list[Packet]:
    written, position, packets = protocol.data_to_send(), 0, []
    while found := wire.decode(written, position, protocol.version or V311, 1_000_000):
        packet, position = found
        packets.append(packet)
    assert position == len(written)
    return packets


def connected(
    version: int = V5,
    session: Session | None = None,
    keep_alive_seconds: int = 0,
    properties: Properties = NO_PROPERTIES,
) -> tuple[MqttProtocol, Session]:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(version, "sensor", properties=properties)), 0.0)
    session = session or new_session()
    protocol.accept(session, False, NO_PROPERTIES, keep_alive_seconds)
    assert sent(protocol) == [Connack(0)]
    return protocol, session


def code_of(protocol: MqttProtocol) -> ReasonCode | None:
    return None if protocol.failure is None else protocol.failure.code


# From AWAITING_CONNECT to a verdict


@pytest.mark.parametrize("version", [V5, V311])
def test_connect_is_handed_over_and_nothing_behind_it_is_read_before_the_verdict(version: int) -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    connect = Connect(version, "sensor")
    assert protocol.receive_data(data(connect, Pingreq(), version=version), 1.0) == [connect]
    assert (protocol.state, protocol.version) == (State.AWAITING_VERDICT, version)
    assert protocol.receive_data(data(Pingreq()), 1.0) == []
    assert protocol.data_to_send() == b""
    protocol.accept(new_session(), True, NO_PROPERTIES, 0)
    assert protocol.receive_data(b"", 1.0) == []
    assert sent(protocol) == [Connack(0, True), Pingresp(), Pingresp()]


def test_a_refusal_closes() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(V5, "sensor"), Pingreq()), 0.0)
    protocol.refuse(ReasonCode.BANNED)
    assert sent(protocol) == [Connack(ReasonCode.BANNED)]
    assert protocol.state is State.CLOSED
    assert protocol.receive_data(data(Pingreq()), 0.0) == []


@pytest.mark.parametrize("first", [Pingreq(), Publish(A, b""), Publish(A, b"", 1, packet_id=1), Disconnect()])
def test_any_other_first_packet_is_a_protocol_error(first: Packet) -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    assert protocol.receive_data(data(first, version=V311), 0.0) == []
    assert (code_of(protocol), protocol.state) == (ReasonCode.PROTOCOL_ERROR, State.CLOSED)
    assert protocol.data_to_send() == b"", "who said no CONNECT gets no answer"


@pytest.mark.parametrize("level", [0, 3, 6, 0x84])
def test_an_unknown_version_is_refused_in_words_that_every_version_knows(level: int) -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(b"\x10\x0d\x00\x04MQTT" + bytes([level]) + b"\x02\x00\x00\x00\x01a", 0.0)
    assert code_of(protocol) is ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    assert protocol.data_to_send() == b"\x20\x02\x00\x01"
    assert protocol.state is State.CLOSED


def test_3_1_1_without_client_id_must_ask_for_a_clean_session() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(V311, "", clean_start=False)), 0.0)
    assert sent(protocol) == [Connack(2)]
    assert protocol.state is State.CLOSED


def test_any_other_failure_before_the_verdict_is_silent_in_3_1_1() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(V311, "sensor")), 0.0)
    protocol.fail(MqttError(ReasonCode.PROTOCOL_ERROR, "x"))
    assert (protocol.state, protocol.data_to_send()) == (State.CLOSED, b"")


# Enhanced authentication

SCRAM = Properties(authentication_method="S", authentication_data=b"one")
ASKED = Connect(V5, "sensor", properties=SCRAM)


def answer(code: int = 0x18, method: str | None = "S", words: bytes | None = b"two") -> Auth:
    return Auth(code, Properties(authentication_method=method, authentication_data=words))


def challenged() -> MqttProtocol:
    protocol = MqttProtocol(LIMITS, 0.0)
    assert protocol.receive_data(data(ASKED), 0.0) == [ASKED]
    protocol.challenge(b"why")
    assert sent(protocol) == [answer(words=b"why")]
    assert protocol.state is State.AWAITING_AUTH
    return protocol


def authenticated() -> MqttProtocol:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(ASKED), 0.0)
    protocol.last_word = b"yes"
    protocol.accept(new_session(), False, NO_PROPERTIES, 0)
    assert sent(protocol) == [Connack(0, False, Properties(authentication_method="S", authentication_data=b"yes"))]
    return protocol


def test_an_authentication_goes_in_turns_and_the_connack_names_its_method() -> None:
    protocol = challenged()
    assert protocol.receive_data(data(answer()), 1.0) == [answer()]
    assert protocol.state is State.AWAITING_VERDICT
    protocol.challenge(b"")
    assert sent(protocol) == [answer(words=None)]
    assert protocol.receive_data(data(answer()), 1.0) == [answer()]
    protocol.accept(new_session(), False, NO_PROPERTIES, 0)
    assert sent(protocol) == [Connack(0, False, Properties(authentication_method="S"))]


@pytest.mark.parametrize(
    "packet",
    [Pingreq(), Publish(A, b""), Subscribe(1, (SubscriptionRequest("a"),)), ASKED, Puback(1)],
)
def test_nothing_but_auth_and_disconnect_comes_before_the_connack(packet: Packet) -> None:
    protocol = challenged()
    assert protocol.receive_data(data(packet), 1.0) == []
    (refusal,) = sent(protocol)
    assert isinstance(refusal, Connack)
    assert (refusal.code, protocol.state) == (ReasonCode.PROTOCOL_ERROR, State.CLOSED)


def test_a_challenge_that_the_client_cannot_take_ends_its_authentication_and_not_in_silence() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    narrow = msgspec.structs.replace(ASKED.properties, maximum_packet_size=20)
    protocol.receive_data(data(msgspec.structs.replace(ASKED, properties=narrow)), 0.0)
    protocol.challenge(b"why" * 10)
    assert (code_of(protocol), protocol.state) == (ReasonCode.PACKET_TOO_LARGE, State.CLOSED)
    assert sent(protocol) == [Connack(ReasonCode.PACKET_TOO_LARGE)]
    protocol = authenticated()
    protocol.receive_data(data(answer(0x19)), 1.0)
    protocol.max_send_bytes = 20
    protocol.challenge(b"why" * 10)
    assert sent(protocol) == [Disconnect(ReasonCode.PACKET_TOO_LARGE)]


def test_who_gives_up_an_authentication_may_say_goodbye() -> None:
    assert challenged().receive_data(data(Disconnect(), Pingreq()), 1.0) == [Disconnect()]


def test_what_came_before_its_turn_ends_an_authentication() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    assert protocol.receive_data(data(ASKED, answer()), 0.0) == [ASKED]
    protocol.challenge(b"why")
    assert (code_of(protocol), protocol.state) == (ReasonCode.PROTOCOL_ERROR, State.CLOSED)
    assert [type(packet) for packet in sent(protocol)] == [Connack]


@pytest.mark.parametrize(
    "wrong", [answer(method="T"), answer(method=None, words=None), answer(0), answer(0x19), Auth()]
)
def test_an_auth_that_does_not_go_on_with_the_authentication_is_a_protocol_error(wrong: Auth) -> None:
    protocol = challenged()
    assert protocol.receive_data(data(wrong), 1.0) == []
    assert code_of(protocol) is ReasonCode.PROTOCOL_ERROR
    assert [type(packet) for packet in sent(protocol)] == [Connack]


def test_an_authentication_has_the_time_of_a_connect() -> None:
    protocol = challenged()
    assert protocol.receive_data(data(answer()), 4.0) == [answer()]
    assert protocol.next_timer() == 9.0, "it is the hub's turn"
    protocol.challenge(b"why")
    assert protocol.next_timer() == 5.0
    protocol.handle_timer(4.9)
    assert protocol.failure is None
    protocol.handle_timer(5.0)
    assert code_of(protocol) is ReasonCode.NOT_AUTHORIZED
    assert [type(packet) for packet in sent(protocol)] == [Auth, Connack]


def test_a_reauthentication_goes_in_turns_while_the_session_goes_on() -> None:
    protocol = authenticated()
    first = answer(0x19)
    assert protocol.receive_data(data(Pingreq(), first, Pingreq()), 1.0) == [first]
    protocol.challenge(b"why")
    assert protocol.state is State.CONNECTED
    assert protocol.receive_data(data(Pingreq(), answer()), 1.0) == [answer()]
    protocol.reauthenticated(b"yes")
    expected = [Pingresp(), Pingresp(), answer(words=b"why"), Pingresp(), answer(0, words=b"yes")]
    assert sent(protocol) == expected
    assert protocol.receive_data(data(first), 1.0) == [first], "and again"


@pytest.mark.parametrize(
    "packets",
    [
        (answer(),),
        (answer(0),),
        (answer(0x19, "T"),),
        (answer(0x19, None, None),),
        (answer(0x19), answer(0x19)),
        (answer(0x19), answer()),
    ],
)
def test_an_auth_out_of_turn_ends_the_connection(packets: tuple[Auth, ...]) -> None:
    protocol = authenticated()
    assert protocol.receive_data(data(*packets), 1.0) == list(packets[:-1])
    (goodbye,) = sent(protocol)
    assert isinstance(goodbye, Disconnect)
    assert goodbye.code == ReasonCode.PROTOCOL_ERROR


def test_who_connected_without_a_method_sends_no_auth() -> None:
    protocol, _ = connected()
    assert protocol.receive_data(data(answer(0x19)), 0.0) == []
    assert code_of(protocol) is ReasonCode.PROTOCOL_ERROR


# Bytes


def test_a_packet_in_pieces_is_taken_when_it_is_whole() -> None:
    protocol, _ = connected()
    whole = Publish(A, bytes(range(200)))
    for byte in data(whole)[:-1]:
        assert protocol.receive_data(bytes([byte]), 0.0) == []
    assert protocol.receive_data(data(whole)[-1:] + data(Pingreq())[:1], 0.0) == [whole]
    assert protocol.receive_data(data(Pingreq())[1:], 0.0) == []
    assert sent(protocol) == [Pingresp()]


def test_a_packet_above_the_limit_ends_the_connection() -> None:
    protocol, _ = connected()
    protocol.receive_data(b"\x30\x80\x20", 0.0)
    assert code_of(protocol) is ReasonCode.PACKET_TOO_LARGE
    (goodbye,) = sent(protocol)
    assert isinstance(goodbye, Disconnect)
    assert goodbye.code == ReasonCode.PACKET_TOO_LARGE


def test_packets_before_a_broken_one_are_still_handed_over_and_nothing_follows_the_goodbye() -> None:
    protocol, session = connected()
    publish = Publish(A, b"", 1, packet_id=1)
    assert protocol.receive_data(data(publish) + b"\xf1\x00", 0.0) == [publish]
    protocol.acknowledge(publish, 0, 0)
    assert [type(packet) for packet in sent(protocol)] == [Disconnect]
    assert session.incoming == set()


def test_after_the_peers_end_nothing_is_read() -> None:
    protocol, _ = connected()
    protocol.receive_eof()
    assert protocol.receive_data(data(Pingreq()), 0.0) == []
    assert protocol.state is State.CLOSED


# CONNECTED: what it answers itself, and what it hands over


def test_requests_are_handed_over_in_their_order_and_nothing_is_read_behind_disconnect() -> None:
    protocol, _ = connected()
    packets: list[Packet] = [
        Subscribe(1, (SubscriptionRequest("a"),)),
        Publish(A, b""),
        Unsubscribe(2, ("a",)),
        Disconnect(),
    ]
    assert protocol.receive_data(data(*packets, Pingreq()), 0.0) == packets
    assert protocol.data_to_send() == b""


@pytest.mark.parametrize(
    "packet", [Connect(V5, "x"), Connack(0), Suback(1, (0,)), Unsuback(1, (0,)), Pingresp(), Auth()]
)
def test_what_a_client_does_not_send_is_a_protocol_error(packet: Packet) -> None:
    protocol, _ = connected()
    assert protocol.receive_data(data(packet), 0.0) == []
    assert code_of(protocol) is ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        (Properties(topic_alias=1), None),
        (Properties(topic_alias=33), ReasonCode.TOPIC_ALIAS_INVALID),
        (Properties(subscription_identifiers=(1,)), ReasonCode.PROTOCOL_ERROR),
        (Properties(content_type="x"), None),
    ],
)
def test_a_publish_is_checked_for_properties_that_a_client_may_not_use(
    properties: Properties, code: ReasonCode | None
) -> None:
    protocol, _ = connected()
    protocol.receive_data(data(Publish(A, b"", properties=properties)), 0.0)
    assert code_of(protocol) is code


# QoS towards the hub


def test_qos_0_is_never_answered() -> None:
    protocol, _ = connected()
    protocol.acknowledge(Publish(A, b""), ReasonCode.NOT_AUTHORIZED, 0)
    assert protocol.data_to_send() == b""


def test_qos_1_is_answered_each_time() -> None:
    protocol, _ = connected()
    publish = Publish(A, b"", 1, packet_id=9)
    assert protocol.receive_data(data(publish, publish), 0.0) == [publish, publish]
    protocol.acknowledge(publish, 0, 0)
    protocol.acknowledge(publish, ReasonCode.NOT_AUTHORIZED, 0)
    assert sent(protocol) == [Puback(9), Puback(9, ReasonCode.NOT_AUTHORIZED)]


def test_qos_2_is_handed_over_once_until_it_is_released() -> None:
    protocol, session = connected()
    publish = Publish(A, b"", 2, packet_id=9)
    assert protocol.receive_data(data(publish, publish), 0.0) == [publish]
    protocol.acknowledge(publish, ReasonCode.NO_MATCHING_SUBSCRIBERS, 0)
    assert session.incoming == {9}
    assert protocol.receive_data(data(publish), 0.0) == []
    protocol.receive_data(data(Pubrel(9)), 0.0)
    assert sent(protocol) == [Pubrec(9, ReasonCode.NO_MATCHING_SUBSCRIBERS), Pubrec(9), Pubcomp(9)]
    assert session.incoming == set()
    assert protocol.receive_data(data(publish), 0.0) == [publish]


def test_a_refused_qos_2_message_is_over_with_its_pubrec() -> None:
    protocol, session = connected()
    publish = Publish(A, b"", 2, packet_id=9)
    protocol.receive_data(data(publish), 0.0)
    protocol.acknowledge(publish, ReasonCode.NOT_AUTHORIZED, 0)
    assert session.incoming == set()
    assert protocol.receive_data(data(publish), 0.0) == [publish]


@pytest.mark.parametrize(("version", "code"), [(V5, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), (V311, 0)])
def test_releasing_an_unknown_packet_id_is_answered(version: int, code: int) -> None:
    protocol, _ = connected(version)
    protocol.receive_data(data(Pubrel(3), Pubrec(4), version=version), 0.0)
    packets = sent(protocol)
    reason = Properties(reason_string="no message is known under this packet identifier") if code else NO_PROPERTIES
    assert packets == [Pubcomp(3, code, reason), Pubrel(4, code, reason)]


def test_the_receive_maximum_counts_what_is_not_settled_and_binds_5_0_only() -> None:
    for version, code in ((V5, ReasonCode.RECEIVE_MAXIMUM_EXCEEDED), (V311, None)):
        protocol, _ = connected(version)
        first, second, third = (Publish(A, b"", qos, packet_id=tag) for tag, qos in ((1, 2), (2, 1), (3, 1)))
        protocol.receive_data(data(first, second, version=version), 0.0)
        protocol.acknowledge(first, 0, 0)
        protocol.acknowledge(second, 0, 0)
        protocol.receive_data(data(second, version=version), 0.0)
        assert protocol.failure is None, "PUBACK made room"
        protocol.receive_data(data(third, version=version), 0.0)
        assert code_of(protocol) is code


def test_a_packet_id_under_way_twice_counts_once_in_the_receive_maximum() -> None:
    protocol, session = connected()
    session.receive(1)
    protocol.receive_data(data(Publish(A, b"", 1, packet_id=1), Publish(A, b"", 1, packet_id=2)), 0.0)
    assert protocol.failure is None


# QoS towards the client


def test_qos_1_is_settled_by_puback_and_qos_2_in_two_steps() -> None:
    protocol, session = connected()
    for qos in (1, 2, 2):
        session.deliver(Message(A, b"x"), qos, False, ())
        session.take(0.0, 0)
    protocol.receive_data(data(Puback(1), Pubrec(2), Pubrec(2), Pubrec(3, ReasonCode.QUOTA_EXCEEDED)), 0.0)
    assert sent(protocol) == [Pubrel(2), Pubrel(2)]
    assert set(session.unsettled) == session.released == {2}
    protocol.receive_data(data(Pubcomp(2)), 0.0)
    assert not session.unsettled


def test_what_was_unsettled_is_sent_again_and_what_was_received_is_released_again() -> None:
    protocol, session = connected()
    for _ in range(2):
        session.deliver(Message(A, b"x"), 2, False, ())
        session.take(0.0, 0)
    session.release(1)
    first, second = (Publish(A, b"x", 2, dup=True, packet_id=tag) for tag in (1, 2))
    assert protocol.resend(first)
    assert protocol.resend(second)
    assert sent(protocol) == [Pubrel(1), second]


def test_before_the_verdict_nothing_is_known_of_a_session() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    publish = Publish(A, b"x", 1, dup=True, packet_id=1)
    assert protocol.resend(publish)
    protocol.acknowledge(Publish(A, b"", 2, packet_id=1), 0, 0)
    assert sent(protocol) == [publish]


# Maximum packet size


def test_a_packet_that_the_client_does_not_take_is_not_sent() -> None:
    protocol, _ = connected(properties=Properties(maximum_packet_size=20))
    assert not protocol.send(Publish(A, bytes(20)))
    assert protocol.send(Publish(A, bytes(10)))
    assert sent(protocol) == [Publish(A, bytes(10))]


@pytest.mark.parametrize("packet", [Puback(1, 0x87), Pubrec(1, 0x87), Suback(1, (0x87,))])
def test_a_reason_string_goes_first_when_room_is_short(packet: Puback | Pubrec | Suback) -> None:
    protocol, _ = connected(properties=Properties(maximum_packet_size=20))
    reason = Properties(reason_string="a reason of some length")
    if isinstance(packet, Suback):
        protocol.answer(Suback(packet.packet_id, packet.codes, reason), 0)
    else:
        protocol.answer(type(packet)(packet.packet_id, packet.code, reason), 0)
    assert sent(protocol) == [packet]


def test_an_answer_that_does_not_fit_counts_as_sent() -> None:
    protocol, _ = connected(properties=Properties(maximum_packet_size=20))
    protocol.answer(Suback(1, (0,) * 30), 0)
    protocol.answer(Pubcomp(1), 0)
    assert sent(protocol) == [Pubcomp(1)]


def test_a_client_that_wants_no_reasons_gets_them_only_where_the_standard_lets_us() -> None:
    protocol, _ = connected(properties=Properties(request_problem_information=0))
    reason = Properties(reason_string="because")
    protocol.answer(Puback(1, 0x87, reason), 0)
    protocol.answer(Puback(2, 0x87), 0)
    protocol.answer(Pubcomp(3), 0)
    protocol.answer(Pubcomp(4, 0x92, reason), 0)
    protocol.answer(Unsuback(5, (0x8F,), reason), 0)
    protocol.disconnect(0x87, reason)
    bare = [Puback(1, 0x87), Puback(2, 0x87), Pubcomp(3), Pubcomp(4, 0x92), Unsuback(5, (0x8F,))]
    assert sent(protocol) == [*bare, Disconnect(0x87, reason)]


def test_a_client_that_takes_no_connack_as_large_as_it_must_be_is_refused() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(V5, "", properties=Properties(maximum_packet_size=20))), 0.0)
    protocol.accept(new_session(), False, Properties(assigned_client_identifier="x" * 20), 0)
    assert sent(protocol) == [Connack(ReasonCode.PACKET_TOO_LARGE)]
    assert (protocol.state, code_of(protocol)) == (State.CLOSED, ReasonCode.PACKET_TOO_LARGE)


def test_a_goodbye_too_large_for_the_client_loses_its_reason_and_nothing_else() -> None:
    protocol, _ = connected(properties=Properties(maximum_packet_size=30))
    protocol.disconnect(0x9C, Properties(reason_string="x" * 30, server_reference="other:8883"))
    assert sent(protocol) == [Disconnect(0x9C, Properties(server_reference="other:8883"))]


def test_bytes_that_never_become_a_packet_do_not_keep_a_connection_alive() -> None:
    protocol, _ = connected(keep_alive_seconds=10)
    whole = data(Publish(A, b"x" * 30))
    for second, byte in enumerate(whole[:20]):
        protocol.receive_data(bytes([byte]), float(second))
        protocol.handle_timer(float(second))
    assert code_of(protocol) is ReasonCode.KEEP_ALIVE_TIMEOUT


def test_the_time_that_the_verdict_took_is_not_the_clients_silence() -> None:
    protocol = MqttProtocol(LIMITS, 0.0)
    protocol.receive_data(data(Connect(V5, "sensor")), 0.0)
    protocol.accept(new_session(), False, NO_PROPERTIES, 10)
    protocol.receive_data(b"", 8.0)
    assert protocol.next_timer() == 23.0


# Topic aliases


def with_alias(topic: str, alias: int, payload: bytes = b"", **words: Any) -> Publish:
    return Publish(TopicName(topic), payload, properties=Properties(topic_alias=alias), **words)


def test_the_driver_sees_whole_topics() -> None:
    protocol, _ = connected()
    assert protocol.receive_data(data(with_alias("a", 32), with_alias("", 32)), 0.0) == [Publish(A, b"")] * 2


def test_a_repeated_qos_2_message_may_still_tell_an_alias() -> None:
    protocol, _ = connected()
    protocol.receive_data(data(Publish(A, b"", 2, packet_id=1)), 0.0)
    known = with_alias("b", 1, qos=2, packet_id=1, dup=True)
    assert protocol.receive_data(data(known, with_alias("", 1)), 0.0) == [Publish(TopicName("b"), b"")]


def test_an_alias_is_known_to_the_client_only_when_its_packet_was_sent() -> None:
    protocol, _ = connected(properties=Properties(topic_alias_maximum=5, maximum_packet_size=30))
    long = TopicName("t" * 20)
    assert not protocol.send(Publish(long, b"x" * 20))
    assert protocol.send(Publish(long, b"x" * 5)), "with a new alias it would be too large"
    assert protocol.send(Publish(long, b""))
    assert not protocol.send(Publish(long, b"x" * 30))
    assert protocol.send(Publish(long, b"x" * 20)), "without its topic it fits"
    assert sent(protocol) == [
        Publish(long, b"x" * 5),
        with_alias(long, 1),
        with_alias("", 1, b"x" * 20),
    ]


def test_the_hub_makes_no_more_aliases_than_its_own_limit() -> None:
    protocol = MqttProtocol(MqttSettings(topic_alias_maximum=1), 0.0)
    protocol.receive_data(data(Connect(V5, "sensor", properties=Properties(topic_alias_maximum=65_535))), 0.0)
    protocol.accept(new_session(), False, NO_PROPERTIES, 0)
    for topic in ("topic/one", "topic/two"):
        protocol.send(Publish(TopicName(topic), b""))
    assert sent(protocol)[1:] == [with_alias("topic/one", 1), Publish(TopicName("topic/two"), b"")]


def test_more_user_properties_than_the_hub_takes_end_the_connection() -> None:
    protocol, _ = connected()
    users = (("a", "b"),) * 65
    protocol.receive_data(data(Publish(A, b"", properties=Properties(user_properties=users[:64]))), 0.0)
    assert protocol.failure is None
    protocol.receive_data(data(Publish(A, b"", properties=Properties(user_properties=users))), 0.0)
    assert code_of(protocol) is ReasonCode.QUOTA_EXCEEDED


# Commits


def test_answers_wait_for_their_commit_and_for_those_before_them() -> None:
    protocol, session = connected()
    publish = Publish(A, b"", 1, packet_id=1)
    protocol.receive_data(data(publish), 0.0)
    protocol.acknowledge(publish, 0, 2)
    protocol.answer(Suback(2, (0,)), 0)
    protocol.answer(Unsuback(3, (0,)), 3)
    assert (sent(protocol), protocol.waiting_answers) == ([], 3)
    protocol.committed(1, 0.0)
    assert sent(protocol) == []
    protocol.committed(2, 0.0)
    assert (sent(protocol), protocol.waiting_answers) == ([Puback(1), Suback(2, (0,))], 1)
    protocol.committed(3, 0.0)
    protocol.answer(Puback(4), 3)
    assert sent(protocol) == [Unsuback(3, (0,)), Puback(4)]
    assert session.incoming == set()


def test_a_pubrec_waits_for_the_note_that_the_message_came() -> None:
    store = FakeStore(holds=True)
    protocol, _ = connected(session=new_session(store))
    publish = Publish(A, b"", 2, packet_id=1)
    protocol.receive_data(data(publish), 0.0)
    protocol.acknowledge(publish, 0, 0)
    assert protocol.waiting_answers == 1
    protocol.committed(store.commit(), 0.0)
    protocol.receive_data(data(Pubrel(1)), 0.0)
    assert sent(protocol) == [Pubrec(1)]
    protocol.committed(store.commit(), 0.0)
    assert sent(protocol) == [Pubcomp(1)]


# Endings and time


@pytest.mark.parametrize(("version", "said"), [(V5, [Disconnect(0x8B)]), (V311, [])])
def test_only_5_0_has_a_word_for_goodbye(version: int, said: list[Packet]) -> None:
    protocol, _ = connected(version)
    protocol.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    protocol.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert sent(protocol) == said


def test_connect_has_a_deadline() -> None:
    protocol = MqttProtocol(LIMITS, 100.0)
    assert protocol.next_timer() == 105.0
    protocol.handle_timer(104.9)
    assert protocol.state is State.AWAITING_CONNECT
    protocol.handle_timer(105.0)
    assert str(protocol.failure) == "no CONNECT came within 5 s"
    assert (protocol.state, protocol.data_to_send()) == (State.CLOSED, b"")


def test_the_keep_alive_runs_from_the_last_bytes_and_ends_at_one_and_a_half() -> None:
    protocol, _ = connected(keep_alive_seconds=10)
    assert protocol.next_timer() == 15.0
    protocol.receive_data(data(Pingreq()), 8.0)
    assert protocol.next_timer() == 23.0
    protocol.handle_timer(22.9)
    assert protocol.state is State.CONNECTED
    protocol.handle_timer(23.0)
    assert code_of(protocol) is ReasonCode.KEEP_ALIVE_TIMEOUT
    assert protocol.next_timer() is None


def test_waiting_for_the_disk_is_no_silence_of_the_client() -> None:
    protocol, _ = connected(keep_alive_seconds=10)
    protocol.committed(1, 5.0)
    assert protocol.next_timer() == 15.0
    protocol.answer(Puback(1), 2)
    protocol.committed(2, 9.0)
    assert protocol.next_timer() == 24.0


def test_without_keep_alive_no_time_runs_but_the_verdict_has_its_deadline() -> None:
    protocol, _ = connected(keep_alive_seconds=0)
    assert protocol.next_timer() is None
    protocol.handle_timer(1e9)
    assert protocol.state is State.CONNECTED
    waiting = MqttProtocol(LIMITS, 0.0)
    waiting.receive_data(data(Connect(V5, "sensor")), 1.0)
    assert waiting.next_timer() == 6.0
    waiting.handle_timer(6.0)
    assert code_of(waiting) is ReasonCode.SERVER_BUSY


def test_nothing_is_sent_behind_a_goodbye() -> None:
    protocol, _ = connected()
    protocol.disconnect(0)
    protocol.data_to_send()
    assert protocol.put(wire.encode(Publish(A, b"x"), V5)), "it counts as sent"
    assert protocol.data_to_send() == b""
