"""Packets to begin with, and ways to spoil them. All chance comes from the `random.Random` that is given."""

from __future__ import annotations

import random

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    V311,
    Auth,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    WillPacket,
)
from lockgate.model.topic import TopicName

SAID = (("unit", "°C"), ("unit", "K"))
MESSAGE = Properties(
    payload_format_indicator=1, message_expiry_interval=60, content_type="text/plain", response_topic="answers/here",
    correlation_data=b"\x00\xff", user_properties=SAID,
)  # fmt: skip
CONNECTING = Properties(
    session_expiry_interval=60, receive_maximum=20, maximum_packet_size=100_000, topic_alias_maximum=5,
    request_response_information=1, request_problem_information=1, user_properties=SAID,
)  # fmt: skip
WILL = WillPacket("wills/mine", b"gone", 1, True, Properties(will_delay_interval=5, content_type="text"))

PACKETS: tuple[Packet, ...] = (
    Publish(TopicName("a/b"), b"21.5"),
    Publish(TopicName("a/b"), b"21.5", 1, True, False, 7, MESSAGE),
    Publish(TopicName("office/meetingroom/temperature"), bytes(200), 2, False, True, 300),
    Publish(TopicName("a"), b"", properties=Properties(topic_alias=3)),
    Publish(TopicName(""), b"x", properties=Properties(topic_alias=3)),
    Puback(7, 0x10, Properties(reason_string="heard", user_properties=SAID)),
    Puback(7),
    Pubrec(300),
    Pubrec(300, 0x87),
    Pubrel(300),
    Pubrel(300, 0x92, Properties(reason_string="unknown")),
    Pubcomp(300),
    Subscribe(9, (SubscriptionRequest("a/+", 1), SubscriptionRequest("$share/g/b/#", 2, retain_handling=1))),
    Subscribe(9, (SubscriptionRequest("#", 2, True, True, 2),), Properties(subscription_identifiers=(200_000,))),
    Unsubscribe(10, ("a/+", "b"), Properties(user_properties=SAID)),
    Pingreq(),
    Disconnect(),
    Disconnect(0x04, Properties(session_expiry_interval=0, reason_string="bye")),
    Auth(0x19, Properties(authentication_method="jwt", authentication_data=b"abc")),
)
ONLY_V5 = tuple(p for p in PACKETS if isinstance(p, Auth) or (isinstance(p, Publish) and not p.topic))
CONNECTS = (
    Connect(V5, "fuzz"),
    Connect(V5, "fuzz", False, 60, "me", b"secret", WILL, CONNECTING),
    Connect(V5, "", properties=Properties(authentication_method="SCRAM-SHA-256", authentication_data=b"n,,n=x,r=y")),
    Connect(V311, "fuzz", True, 10),
    Connect(V311, "fuzz", False, 0, "me", b"secret", WILL),
)
SEEDS = {
    version: tuple(wire.encode(packet, version) for packet in PACKETS if version == V5 or packet not in ONLY_V5)
    for version in (V311, V5)
}
CONNECT_SEEDS = tuple(wire.encode(packet, packet.version) for packet in CONNECTS)
INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0B, 0x26, 0x23, 0x2B, 0x10, 0x30, 0x3F)


def mutated(seed: bytes, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    """Give `seed` spoilt in one to four ways."""
    data = bytearray(seed)
    for _ in range(1 + (chance.random() < 0.4) + (chance.random() < 0.2) + (chance.random() < 0.1)):
        at = int(chance.random() * (len(data) or 1))
        way = chance.random()
        if not data or way < 0.1:
            data[at:at] = chance.choice(others)
        elif way < 0.35:
            data[at] ^= 1 << int(chance.random() * 8)
        elif way < 0.55:
            data[at] = INTERESTING[int(chance.random() * len(INTERESTING))]
        elif way < 0.65:
            data[at:at] = bytes((int(chance.random() * 256),))
        elif way < 0.75:
            del data[at]
        elif way < 0.8:
            del data[at:]
        elif way < 0.9:
            end = at + int(chance.random() * 8)
            data[at:at] = data[at:end]
        else:  # keep the packet whole: what is wrong then is inside it
            data = _resized(data, chance)
    return bytes(data)


def _resized(data: bytearray, chance: random.Random) -> bytearray:
    """Cut or stretch the body, and make the remaining length fit."""
    body = bytes(data[2:]) if len(data) > 2 and data[1] < 0x80 else bytes(data[3:])
    size = int(chance.random() * (len(body) + 4))
    body = body[:size] + bytes(max(0, size - len(body)))
    length = len(body)
    encoded = bytes((length,)) if length < 0x80 else bytes((length & 0x7F | 0x80, length >> 7 & 0x7F))
    return bytearray(data[:1] + encoded + body)
