"""Captures: segments in any order, twice or missing become the two sides of a conversation."""

from __future__ import annotations

import random
from io import BytesIO

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings
from lockgate.lab.captures import Connection, is_capture, read_connections

CLIENT, SERVER = (b"\x7f\x00\x00\x01", 40_000), (b"\x7f\x00\x00\x01", 1883)
SYN, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK


def segment(from_client: bool, sequence: int, data: bytes = b"", flags: int = ACK, port: int = 40_000) -> bytes:
    (source, sport), (target, dport) = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
    sport, dport = (port, dport) if from_client else (sport, port)
    tcp = dpkt.tcp.TCP(sport=sport, dport=dport, seq=sequence % (1 << 32), flags=flags, data=data)
    packet = dpkt.ip.IP(src=source, dst=target, p=dpkt.ip.IP_PROTO_TCP, data=tcp)
    packet.len = len(packet)
    return bytes(dpkt.ethernet.Ethernet(src=bytes(6), dst=bytes(6), type=dpkt.ethernet.ETH_TYPE_IP, data=packet))


def capture(*frames: bytes, link: int = dpkt.pcap.DLT_EN10MB, ng: bool = False) -> bytes:
    file = BytesIO()
    writer = dpkt.pcapng.Writer(file, linktype=link) if ng else dpkt.pcap.Writer(file, linktype=link)
    for index, frame in enumerate(frames):
        writer.writepkt(frame, ts=1_800_000_000 + index)
    return file.getvalue()


def said(connection: Connection, by_client: bool) -> bytes:
    return b"".join(piece.data for piece in connection.pieces if piece.is_from_client is by_client)


def only(data: bytes) -> Connection:
    (connection,) = read_connections(data)
    return connection


@pytest.mark.parametrize("ng", [False, True])
def test_a_conversation_comes_out_in_order(ng: bool) -> None:
    data = capture(
        segment(True, 9, flags=SYN),
        segment(False, 99, flags=SYN | ACK),
        segment(True, 10, b"hello"),
        segment(False, 100, b"yes"),
        segment(True, 15, b" hub"),
        ng=ng,
    )
    assert is_capture(data)
    connection = only(data)
    assert (str(connection.client), str(connection.server)) == ("127.0.0.1:40000", "127.0.0.1:1883")
    assert [piece.data for piece in connection.pieces] == [b"hello", b"yes", b" hub"]
    assert connection.pieces[0].at == pytest.approx(1_800_000_002)
    assert connection.missing == []


@given(st.binary(min_size=1, max_size=300), st.integers(0, (1 << 32) - 1), st.randoms(use_true_random=False))
def test_segments_in_any_order_and_more_than_once_give_the_bytes_once(
    text: bytes, begin: int, chance: random.Random
) -> None:
    frames = []
    at = 0
    while at < len(text):
        size = chance.randint(1, 40)
        frames.append(segment(True, begin + 1 + at, text[at : at + size + chance.choice([0, 0, 5])]))
        at += size
    frames += chance.choices(frames, k=3)
    chance.shuffle(frames)
    connection = only(capture(segment(True, begin, flags=SYN), *frames))
    assert said(connection, True) == text
    assert connection.missing == []


def test_what_the_capture_lacks_is_said() -> None:
    connection = only(capture(segment(True, 0, flags=SYN), segment(True, 1, b"ab"), segment(True, 8, b"later")))
    assert said(connection, True) == b"ab"
    assert connection.missing == ["5 bytes of the client are not in the capture; what follows is left out"]


def test_a_capture_that_begins_in_the_middle_takes_the_lower_port_for_the_server() -> None:
    connection = only(capture(segment(False, 500, b"answer"), segment(True, 7, b"question")))
    assert connection.server.port == 1883
    assert (said(connection, True), said(connection, False)) == (b"question", b"answer")


def test_the_same_ports_used_again_are_another_connection() -> None:
    first = [segment(True, 9, flags=SYN), segment(True, 10, b"one")]
    second = [segment(True, 5000, flags=SYN), segment(True, 5001, b"two")]
    found = read_connections(capture(*first, *first, *second))
    assert [said(connection, True) for connection in found] == [b"one", b"two"]


def test_frames_that_are_no_tcp_are_passed_over() -> None:
    udp = dpkt.ip.IP(src=CLIENT[0], dst=SERVER[0], p=dpkt.ip.IP_PROTO_UDP, data=dpkt.udp.UDP(sport=1, dport=2))
    frame = bytes(dpkt.ethernet.Ethernet(src=bytes(6), dst=bytes(6), type=dpkt.ethernet.ETH_TYPE_IP, data=udp))
    assert read_connections(capture(frame, b"", bytes(14), frame[:20])) == []


@pytest.mark.parametrize(
    ("link", "head"), [(dpkt.pcap.DLT_RAW, b""), (12, b""), (dpkt.pcap.DLT_NULL, b"\x02\x00\x00\x00")]
)
def test_other_links_are_read_too(link: int, head: bytes) -> None:
    packet = segment(True, 3, b"raw")[14:]
    assert said(only(capture(head + packet, link=link)), True) == b"raw"


def test_ipv6_is_read_too() -> None:
    tcp = dpkt.tcp.TCP(sport=40_000, dport=1883, seq=1, flags=ACK, data=b"six")
    packet = dpkt.ip6.IP6(src=bytes(15) + b"\x01", dst=bytes(15) + b"\x01", nxt=6, plen=len(tcp), data=tcp)
    connection = only(capture(bytes(packet), link=dpkt.pcap.DLT_RAW))
    assert (str(connection.client), said(connection, True)) == ("[::1]:40000", b"six")


def test_what_is_no_capture_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        read_connections(b"\xd4\xc3\xb2\xa1" + bytes(3))
    with pytest.raises(InvalidSettings, match="link type 127"):
        read_connections(capture(link=127))


@given(st.binary(max_size=120), st.binary(max_size=60))
def test_broken_captures_give_nothing_or_a_clear_error(rest: bytes, frame: bytes) -> None:
    good = capture(segment(True, 9, flags=SYN), segment(True, 10, b"hello"), frame)
    for data in (good[:24] + rest, good[: 24 + len(rest)], good):
        try:
            read_connections(data)
        except InvalidSettings:
            continue
