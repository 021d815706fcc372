"""The two packets are what the hub's own wire reads."""

from __future__ import annotations

from lockgate.scan.packets import connect_packet, subscribe_packet


def test_a_connect_without_and_with_credentials() -> None:
    assert connect_packet() == b"\x10\x19\x00\x04MQTT\x04\x02\x00\x1e\x00\x0dlockgate-scan"
    packet = connect_packet("u", "p")
    assert packet[9] == 0xC2
    assert packet.endswith(b"\x00\x01u\x00\x01p")
    assert packet[1] == len(packet) - 2


def test_a_subscribe() -> None:
    assert subscribe_packet("$SYS/#") == b"\x82\x0b\x00\x01\x00\x06$SYS/#\x00"
