"""MQTT 5.0 section 4.3: the delivery protocols of QoS 0, 1 and 2."""

from __future__ import annotations

import time

from tests.conformance.client import Hub
from tests.conformance.codec import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement

EXPIRY_SECONDS = 1


@statement("5.0", "MQTT-4.3.1-1")
def test_a_qos_0_delivery_has_no_dup_flag_and_no_identifier(hub: Hub) -> None:
    peer = hub.client("peer")
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher").publish(hub.topic())
    peer.expect(Publish, qos=0, dup=False, packet_id=0)


@statement("5.0", "MQTT-4.3.2-1", "MQTT-4.3.2-2", "MQTT-4.3.3-1", "MQTT-4.3.3-2")
def test_each_new_message_has_an_unused_identifier_and_no_dup_flag(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    messages = []
    for number in range(10):
        publisher.publish(hub.topic(), qos=1 + number % 2)
        messages.append(peer.expect(Publish, qos=1 + number % 2, dup=False))
    assert len({message.packet_id for message in messages} - {0}) == 10
    for message in messages[:3]:  # what is settled may be used again; what is not, may not
        peer.send_ack(Puback if message.qos == 1 else Pubrec, message.packet_id)
        if message.qos == 2:
            peer.expect(Pubrel, packet_id=message.packet_id)
            peer.send_ack(Pubcomp, message.packet_id)
    publisher.publish(hub.topic(), qos=1)
    assert peer.expect(Publish).packet_id not in {message.packet_id for message in messages[3:]}


@statement("5.0", "MQTT-4.3.2-3")
def test_a_qos_1_delivery_comes_again_without_puback_and_not_with_it(hub: Hub) -> None:
    peer, publisher = hub.client("peer", expiry=300), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    for payload in (b"acknowledged", b"not acknowledged"):
        publisher.publish(hub.topic(), payload, qos=1)
    first, second = peer.expect(Publish), peer.expect(Publish)
    peer.send_ack(Puback, first.packet_id)
    peer.ping()
    peer.cut()
    peer = hub.client("peer", clean=False, expiry=300)
    peer.expect_message(payload=b"not acknowledged", packet_id=second.packet_id, dup=True)
    peer.expect_silence(qos=1)


@statement("5.0", "MQTT-4.3.2-4")
def test_each_qos_1_publish_is_answered_by_a_puback_with_its_identifier(hub: Hub) -> None:
    peer = hub.client("peer")
    for packet_id in (1, 256, 65_535):
        peer.send_publish(hub.topic(), qos=1, packet_id=packet_id)
        peer.expect(Puback, packet_id=packet_id)


@statement("5.0", "MQTT-4.3.2-5")
def test_after_puback_the_same_identifier_is_a_new_message_even_with_dup(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=1)
    for payload, dup in ((b"one", False), (b"two", False), (b"three", True)):
        publisher.publish(hub.topic(), payload, qos=1, packet_id=7, dup=dup)
        peer.expect_message(payload=payload)


@statement("5.0", "MQTT-4.3.3-3")
def test_a_qos_2_delivery_without_pubrec_comes_again(hub: Hub) -> None:
    peer = hub.client("peer", expiry=300)
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher").publish(hub.topic(), b"not received", qos=2)
    packet_id = peer.expect(Publish).packet_id
    peer.cut()
    peer = hub.client("peer", clean=False, expiry=300)
    peer.expect_message(payload=b"not received", packet_id=packet_id, dup=True)


@statement("5.0", "MQTT-4.3.3-4")
def test_each_pubrec_is_answered_by_a_pubrel_with_its_identifier(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    for _ in range(3):
        publisher.publish(hub.topic(), qos=2)
    identifiers = [peer.expect(Publish).packet_id for _ in range(3)]
    for packet_id, code in zip(reversed(identifiers), (None, 0x00, 0x10), strict=True):
        peer.send_ack(Pubrec, packet_id, code)
        peer.expect(Pubrel, packet_id=packet_id)


@statement("5.0", "MQTT-4.3.3-5", "MQTT-4.3.3-6")
def test_a_pubrel_without_pubcomp_comes_again_and_its_publish_does_not(hub: Hub) -> None:
    peer = hub.client("peer", expiry=300)
    peer.subscribe(hub.topic(), qos=2)
    hub.client("publisher").publish(hub.topic(), qos=2)
    packet_id = peer.expect(Publish).packet_id
    peer.send_ack(Pubrec, packet_id)
    peer.expect(Pubrel, packet_id=packet_id)
    for _ in range(2):
        peer.cut()
        peer = hub.client("peer", clean=False, expiry=300)
        peer.expect(Pubrel, packet_id=packet_id)
        peer.ping()
    peer.send_ack(Pubcomp, packet_id)
    peer.ping()
    peer.cut()
    hub.client("peer", clean=False, expiry=300).expect_silence(qos=2)


@statement("5.0", "MQTT-4.3.3-7")
def test_messages_that_were_sent_do_not_expire(hub: Hub) -> None:
    """The number speaks of QoS 2; section 4.3.2 says the same of QoS 1 without one."""
    publisher = hub.client("publisher")
    sent: dict[int, list[Publish]] = {}
    for qos in (1, 2):
        peer = hub.client(f"peer{qos}", expiry=300)
        peer.subscribe(hub.topic(f"{qos}"), qos=qos)
        for payload in (b"one", b"two"):
            properties = {"message_expiry_interval": EXPIRY_SECONDS}
            publisher.publish(hub.topic(f"{qos}"), payload, qos=qos, properties=properties)
        sent[qos] = [peer.expect(Publish) for _ in range(2)]
        peer.cut()
    time.sleep(EXPIRY_SECONDS + 0.2)
    # With a window of one the second has to wait; it has been sent for all that.
    narrow = {"session_expiry_interval": 300, "receive_maximum": 1}
    for qos, messages in sent.items():
        peer = hub.client(f"peer{qos}", clean=False, properties=narrow)
        for message in messages:
            peer.expect_message(payload=message.payload, packet_id=message.packet_id, dup=True)


@statement("5.0", "MQTT-4.3.3-8", "MQTT-4.3.3-11")
def test_publish_gets_its_pubrec_and_pubrel_its_pubcomp(hub: Hub) -> None:
    peer = hub.client("peer")
    identifiers = (1, 256, 65_535)
    for packet_id in identifiers:
        peer.send_publish(hub.topic(), qos=2, packet_id=packet_id)
        peer.expect(Pubrec, packet_id=packet_id)
    for packet_id in reversed(identifiers):
        peer.send_ack(Pubrel, packet_id)
        peer.expect(Pubcomp, packet_id=packet_id)


@needs_lockgate
@statement("5.0", "MQTT-4.3.3-9")
def test_after_a_pubrec_that_refuses_the_same_identifier_is_a_new_message(hub: Hub, own: Own) -> None:
    """A refusal has to be provoked; here by a topic that the device may not use."""
    peer = hub.open(address=own.address)
    peer.connect(own.user, user=own.user, password=own.password)
    peer.subscribe("kettle/#", qos=2)
    peer.send_publish("forbidden", qos=2, packet_id=7)
    peer.expect(Pubrec, packet_id=7, code=0x87)
    peer.send_publish("kettle/new", b"new", qos=2, packet_id=7)
    answers = [peer.receive(), peer.receive()]
    assert Pubrec(7) in answers
    assert [packet.payload for packet in answers if isinstance(packet, Publish)] == [b"new"]


@statement("5.0", "MQTT-4.3.3-10")
def test_a_qos_2_publish_that_is_repeated_before_its_pubrel_is_delivered_once(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher", expiry=300)
    peer.subscribe(hub.topic(), qos=2)
    for dup in (False, True):
        publisher.send_publish(hub.topic(), b"once", qos=2, packet_id=7, dup=dup)
        publisher.expect(Pubrec, packet_id=7)
    publisher.cut()
    publisher = hub.client("publisher", clean=False, expiry=300)
    publisher.send_publish(hub.topic(), b"once", qos=2, packet_id=7, dup=True)
    publisher.expect(Pubrec, packet_id=7)
    publisher.send_ack(Pubrel, 7)
    publisher.expect(Pubcomp, packet_id=7)
    peer.expect_message(payload=b"once")
    peer.expect_silence(qos=2)


@statement("5.0", "MQTT-4.3.3-12")
def test_after_pubcomp_the_same_identifier_is_a_new_message(hub: Hub) -> None:
    peer, publisher = hub.client("peer"), hub.client("publisher")
    peer.subscribe(hub.topic(), qos=2)
    for payload, dup in ((b"one", False), (b"two", False), (b"three", True)):
        publisher.publish(hub.topic(), payload, qos=2, packet_id=7, dup=dup)
        peer.expect_message(payload=payload)


@statement("5.0", "MQTT-4.3.3-13")
def test_the_handshake_is_completed_although_the_message_has_expired(hub: Hub) -> None:
    waiting = hub.client("waiting", expiry=300)
    waiting.subscribe(hub.topic(), qos=2)
    waiting.disconnect()
    publisher = hub.client("publisher")
    packet_id = publisher.send_publish(
        hub.topic(), b"short lived", qos=2, properties={"message_expiry_interval": EXPIRY_SECONDS}
    )
    publisher.expect(Pubrec, packet_id=packet_id)
    time.sleep(EXPIRY_SECONDS + 0.2)
    publisher.send_ack(Pubrel, packet_id)
    publisher.expect(Pubcomp, packet_id=packet_id, code=0x00)
