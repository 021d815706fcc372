"""The two MQTT packets that a stranger needs: they are sent to a hub that is not trusted, by a room beside the doors.

Source: MQTT 3.1.1 sections 3.1 (CONNECT) and 3.8 (SUBSCRIBE).
"""

from __future__ import annotations

CLIENT_ID = "lockgate-scan"


def connect_packet(user: str | None = None, password: str | None = None) -> bytes:
    """Give an MQTT 3.1.1 CONNECT with a clean session."""
    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    payload = b"".join(_text(each) for each in (CLIENT_ID, user, password) if each is not None)
    return _packet(0x10, _text("MQTT") + bytes((4, flags, 0, 30)) + payload)


def subscribe_packet(topic_filter: str) -> bytes:
    """Give a SUBSCRIBE to one filter at QoS 0."""
    return _packet(0x82, b"\x00\x01" + _text(topic_filter) + b"\x00")


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128  # one byte of length is enough for all that is sent here
    return bytes((kind, len(body))) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
