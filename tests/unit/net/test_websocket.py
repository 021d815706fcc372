"""The WebSocket between a link and a door: bytes in, bytes out."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode

from lockgate.net.upgrade import UpgradeRules
from lockgate.net.websocket import WebSocketRules
from tests.support.certificates import Authority
from tests.support.websocket import WebPeer, binary, more

CONNACK = b"\x20\x03\x00\x00\x00"
SMALL = WebSocketRules(max_message_bytes=1000, max_first_message_bytes=100, max_handshake_bytes=2000)


def code(peer: WebPeer) -> int | None:
    return peer.close_frame.code if peer.close_frame is not None else None


# The handshake


def test_the_door_begins_with_tls_so_that_its_deadline_counts_the_handshake() -> None:
    peer = WebPeer()
    assert peer.room.happened == ["made"]
    peer.room.link.write(b"too early")
    assert not peer.wire.written
    peer.room.link.close()
    peer.ends()
    assert (peer.wire.is_closed, bytes(peer.wire.written)) == (True, b"")
    assert peer.room.happened == ["made", "lost"]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_handshake_in_pieces_opens(size: int) -> None:
    peer = WebPeer()
    peer.client.send_request(peer.request)
    response = peer.carry(b"".join(peer.client.data_to_send()), size)
    assert response is not None
    assert (response.status_code, response.headers["Sec-WebSocket-Protocol"]) == (101, "mqtt")
    assert peer.refused == []


def test_a_refused_handshake_is_answered_noted_and_closed() -> None:
    peer = WebPeer(origin="https://evil.example")
    response = peer.asks()
    assert response is not None
    assert response.status_code == 403
    assert peer.wire.is_closed
    assert [error.reason for error in peer.refused] == ["origin not allowed"]
    peer.hub.data_received(b"more")
    peer.ends()
    assert peer.room.error is peer.refused[0]
    assert not peer.room.received


def test_an_origin_of_the_setting_opens() -> None:
    rules = WebSocketRules(upgrade=UpgradeRules(origins=("https://app.example",)))
    assert WebPeer(rules, origin="https://app.example").opened()


@pytest.mark.parametrize("size", [0, 1])
def test_a_handshake_larger_than_the_limit_is_refused(size: int) -> None:
    peer = WebPeer(SMALL)
    peer.request.headers["Cookie"] = "x" * 2000
    peer.client.send_request(peer.request)
    response = peer.carry(b"".join(peer.client.data_to_send()), size)
    assert response is not None
    assert response.status_code == 431
    assert [error.reason for error in peer.refused] == ["WebSocket handshake too large"]


@pytest.mark.parametrize("line", [b"GET /" + b"x" * 9000, b"GET / HTTP/1.1\r\nCookie: " + b"x" * 9000])
def test_a_line_that_is_too_long_for_the_library_is_refused(line: bytes) -> None:
    peer = WebPeer()
    peer.hub.data_received(line)
    assert peer.wire.written.startswith(b"HTTP/1.1 431 ")
    assert peer.wire.is_closed


@pytest.mark.parametrize(
    "rubbish",
    [b"\x10\x10\x00\x04MQTT\x05\x02\n\r\n", b"\r\n", b"GET\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"],
)
def test_what_is_no_handshake_is_refused(rubbish: bytes) -> None:
    peer = WebPeer()
    peer.hub.data_received(rubbish)
    assert peer.wire.written.startswith(b"HTTP/1.1 400 ")
    assert [error.reason for error in peer.refused] == ["not a WebSocket"]
    assert peer.wire.is_closed


@pytest.mark.parametrize(
    "early", [binary(b"early"), Frame(Opcode.PING, b""), Frame(Opcode.CLOSE, b""), Frame(Opcode.TEXT, b"x" * 200)]
)
def test_frames_before_the_answer_are_refused(early: Frame) -> None:
    peer = WebPeer(SMALL)
    peer.client.send_request(peer.request)
    peer.hub.data_received(b"".join(peer.client.data_to_send()) + early.serialize(mask=True))
    assert peer.wire.written.startswith(b"HTTP/1.1 400 ")
    assert peer.wire.is_closed
    assert not peer.room.received


# Frames in


@pytest.mark.parametrize("size", [0, 1, 3])
def test_frames_are_a_stream_whatever_their_borders(size: int) -> None:
    # [MQTT-6.0.0-2]
    peer = WebPeer().opened()
    peer.sends(binary(b"ab"), binary(b"c", fin=False), more(b"", fin=False), more(b"de"), binary(b""), size=size)
    assert peer.room.received == b"abcde"


def test_what_comes_together_is_handed_over_together() -> None:
    peer = WebPeer().opened().sends(binary(b"ab"), binary(b"cd"))
    assert peer.room.chunks == [b"abcd"]


def test_a_fragment_is_handed_over_before_the_message_ends() -> None:
    peer = WebPeer().opened().sends(binary(b"ab", fin=False))
    assert peer.room.received == b"ab"


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=12), st.integers(1, 400))
def test_any_splitting_into_messages_frames_and_chunks_gives_the_same_stream(
    parts: list[tuple[bytes, bool]], size: int
) -> None:
    frames = []
    is_first = True
    for data, fin in parts:
        frames.append(binary(data, fin) if is_first else more(data, fin))
        is_first = fin
    peer = WebPeer().opened().sends(*frames, size=size)
    assert peer.room.received == b"".join(data for data, _ in parts)
    assert not peer.wire.is_closed


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_bytes_do_anything_but_be_taken_or_refused(data: bytes, size: int) -> None:
    peer = WebPeer(SMALL).opened()
    for start in range(0, len(data), size):
        peer.hub.data_received(data[start : start + size])
    peer.ends()
    assert peer.wire.is_closed == ("lost" in peer.room.happened)


def test_a_text_frame_closes_the_connection_after_what_came_before_it() -> None:
    # [MQTT-6.0.0-1]
    peer = WebPeer().opened().sends(binary(b"ab"), Frame(Opcode.TEXT, b"text"), binary(b"cd")).ends()
    assert peer.room.received == b"ab"
    assert code(peer) == CloseCode.UNSUPPORTED_DATA
    assert peer.wire.is_closed
    assert peer.room.error is peer.refused[0]
    assert "binary" in str(peer.refused[0])


@pytest.mark.parametrize(
    "wrong",
    [
        binary(b"x").serialize(mask=False),
        b"\xc2\x80" + bytes(4),
        b"\x83\x80" + bytes(4),
        b"\x09\x80" + bytes(4),
        b"\x80\x80" + bytes(4),
        b"\x88\x82" + bytes(4) + b"\x03\xed",
    ],
    ids=["unmasked", "reserved bit", "unknown opcode", "ping in fragments", "continues nothing", "close code 1005"],
)
def test_wrong_frames_close_the_connection_as_a_protocol_error(wrong: bytes) -> None:
    peer = WebPeer().opened()
    peer.carry(wrong)
    assert code(peer) == CloseCode.PROTOCOL_ERROR
    assert peer.wire.is_closed
    assert [error.reason for error in peer.refused] == ["WebSocket protocol error"]


# Limits


def test_a_frame_is_refused_by_its_length_before_it_is_gathered() -> None:
    peer = WebPeer(SMALL).opened()
    peer.carry(b"\x82\xff" + (2**40).to_bytes(8, "big"))
    assert code(peer) == CloseCode.MESSAGE_TOO_BIG
    assert [error.reason for error in peer.refused] == ["WebSocket message too large"]
    assert "mqtt.max_packet_bytes" in peer.refused[0].fix


def test_fragments_are_counted_together() -> None:
    peer = WebPeer(SMALL).opened().sends(binary(b"x" * 60, fin=False))
    assert not peer.wire.is_closed
    peer.sends(more(b"x" * 60, fin=False))
    assert code(peer) == CloseCode.MESSAGE_TOO_BIG


def test_who_is_let_in_may_send_larger_messages() -> None:
    peer = WebPeer(SMALL).opened()
    peer.room.link.write(b"\xf0\x00")  # not yet: an AUTH
    peer.room.link.write(CONNACK)
    peer.sends(binary(b"x" * 1000))
    assert len(peer.room.received) == 1000
    assert code(peer.sends(binary(b"x" * 1001))) == CloseCode.MESSAGE_TOO_BIG


def test_another_answer_than_that_lets_nobody_in() -> None:
    peer = WebPeer(SMALL).opened()
    peer.room.link.write(b"\xf0\x00")
    assert code(peer.sends(binary(b"x" * 101))) == CloseCode.MESSAGE_TOO_BIG


def test_pings_are_answered_but_not_without_end_for_who_does_not_read() -> None:
    peer = WebPeer().opened().sends(Frame(Opcode.PING, b"hello"))
    peer.events()
    assert [(e.opcode, e.data) for e in peer.heard[1:]] == [(Opcode.PONG, b"hello")]
    peer.hub.pause_writing()
    peer.sends(binary(b"still read"))
    assert peer.wire.is_reading
    peer.sends(Frame(Opcode.PING, b""))
    assert not peer.wire.is_reading
    peer.hub.resume_writing()
    assert peer.wire.is_reading
    assert peer.room.happened == ["made", "pause", "resume"]


def test_reading_goes_on_when_neither_door_nor_pongs_hold_it() -> None:
    peer = WebPeer().opened()
    link = peer.room.link
    link.pause_reading()
    link.pause_reading()
    peer.hub.pause_writing()
    peer.sends(Frame(Opcode.PING, b""))
    peer.hub.resume_writing()
    assert not peer.wire.is_reading
    link.resume_reading()
    assert peer.wire.is_reading


# Frames out, and the end


@pytest.mark.parametrize("length", [1, 125, 126, 65_535, 65_536, 300_000])
def test_each_write_is_one_binary_frame(length: int) -> None:
    peer = WebPeer().opened()
    peer.room.link.write(b"x" * length)
    peer.room.link.write(b"y")
    peer.events()
    assert [(e.opcode, e.fin, len(e.data)) for e in peer.heard[1:]] == [
        (Opcode.BINARY, True, length), (Opcode.BINARY, True, 1),
    ]  # fmt: skip


def test_the_doors_goodbye_is_a_close_frame_before_the_link_ends() -> None:
    peer = WebPeer().opened()
    peer.room.link.write(b"\xe0\x00")
    peer.room.link.close()
    peer.room.link.close()
    peer.room.link.write(b"too late")
    peer.events()
    assert [e.opcode for e in peer.heard[1:]] == [Opcode.BINARY, Opcode.CLOSE]
    assert code(peer) == CloseCode.NORMAL_CLOSURE
    peer.ends()
    assert (peer.room.happened, peer.room.error) == (["made", "lost"], None)


def test_a_door_that_closes_while_it_reads_hears_no_more() -> None:
    peer = WebPeer().opened().sends(binary(b"close")).sends(binary(b"more")).ends()
    assert peer.room.received == b"close"
    assert code(peer) == CloseCode.NORMAL_CLOSURE


@pytest.mark.parametrize("data", [b"", b"\x03\xe8", b"\x03\xe9bye"])
def test_the_clients_close_frame_is_answered_with_its_code(data: bytes) -> None:
    peer = WebPeer().opened().sends(binary(b"last"), Frame(Opcode.CLOSE, data)).ends()
    assert peer.room.received == b"last"
    assert peer.room.happened == ["made", "eof", "lost"]
    assert peer.heard[-1].data == data
    assert peer.wire.is_closed
    assert peer.refused == []


def test_the_clients_end_without_a_close_frame_reaches_the_door() -> None:
    peer = WebPeer().opened()
    peer.hub.eof_received()
    peer.hub.eof_received()
    peer.ends()
    assert peer.room.happened == ["made", "eof", "lost"]


def test_a_cut_wire_reaches_the_door() -> None:
    peer = WebPeer().opened()
    peer.wire.lose()
    peer.ends()
    assert isinstance(peer.room.error, ConnectionResetError)


def test_abort_ends_at_once() -> None:
    peer = WebPeer().opened()
    sent = bytes(peer.wire.written)
    peer.room.link.abort()
    assert (peer.wire.is_aborted, bytes(peer.wire.written)) == (True, sent)


def test_the_door_sees_the_link_below() -> None:
    peer = WebPeer()
    certificate: x509.Certificate = Authority("CA").certificate
    peer.wire.peer_certificate = certificate
    peer.wire.server_name, peer.wire.is_name_covered, peer.wire.unsent_bytes = "hub", False, 7
    link = peer.room.link
    assert (link.peer, link.protection, link.peer_certificate) == (peer.wire.peer, peer.wire.protection, certificate)
    assert (link.server_name, link.is_name_covered, link.write_buffer_bytes()) == ("hub", False, 7)


def test_a_close_frame_says_why_and_keeps_the_reference_when_it_is_short_of_room() -> None:
    peer = WebPeer().opened()
    peer.room.link.close("x" * 200 + " (reference K7Q2-9XMD)")
    peer.events()
    frame = peer.close_frame
    assert frame is not None
    assert frame.code == CloseCode.NORMAL_CLOSURE
    assert len(frame.reason) == 123
    assert frame.reason.endswith("xx (reference K7Q2-9XMD)")


def test_a_refused_frame_is_answered_with_the_reference() -> None:
    peer = WebPeer().opened().sends(Frame(Opcode.TEXT, b"hello"))
    peer.events()
    assert peer.close_frame is not None
    assert peer.close_frame.reason == "a text frame came: MQTT needs binary frames (reference K7Q2-9XMD)"
