"""Threat: somebody who has proven nothing makes the hub keep or do much, with handshakes and frames that never end."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from websockets.frames import CloseCode, Frame, Opcode

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connack, Connect, Pingreq
from lockgate.net.partials import Partials
from lockgate.net.websocket import WebSocketRules
from lockgate.settings import MqttSettings, Settings
from tests.support.fakes import FakeLoop
from tests.support.playbook import Playbook
from tests.support.websocket import WebPeer, binary, more

MAX_CONNECT_BYTES, MAX_PACKET_BYTES, MAX_HANDSHAKE_BYTES = 2000, 10_000, 4000
RULES = WebSocketRules(
    max_first_message_bytes=MAX_CONNECT_BYTES,
    max_message_bytes=MAX_PACKET_BYTES,
    max_handshake_bytes=MAX_HANDSHAKE_BYTES,
)
SETTINGS = Settings(mqtt=MqttSettings(max_connect_bytes=MAX_CONNECT_BYTES, max_packet_bytes=MAX_PACKET_BYTES))


def connect(hub: Playbook) -> WebPeer:
    """Open a WebSocket to the MQTT door."""
    return WebPeer(RULES, handler=hub.door.handler(), loop=hub.loop)


def let_in(hub: Playbook) -> WebPeer:
    """Connect as a device."""
    peer = connect(hub).opened().sends(binary(wire.encode(Connect(V5, "sensor"), V5)))
    hub.loop.run()
    peer.events()
    found = wire.decode(bytes(peer.heard[-1].data), 0, V5, 1000)
    assert found is not None
    assert isinstance(found[0], Connack)
    return peer


def held(peer: WebPeer) -> int:
    """Say how many bytes of the peer wait for more."""
    return len(peer.hub._protocol.reader.buffer)


def code(peer: WebPeer) -> int | None:
    return peer.close_frame.code if peer.close_frame is not None else None


def test_a_handshake_that_drips_ends_at_the_deadline_for_connect() -> None:
    hub = Playbook(SETTINGS)
    peer = connect(hub)
    for byte in b"GET /mqtt HTTP/1.1\r\nHost: h":
        peer.hub.data_received(bytes([byte]))
        hub.passes(0.3)
    assert not peer.wire.is_closed
    hub.passes(10)
    assert peer.wire.is_closed


def test_a_websocket_that_says_nothing_ends_at_the_same_deadline() -> None:
    hub = Playbook(SETTINGS)
    peer = connect(hub)
    hub.passes(9)
    peer.opened()
    peer.sends(Frame(Opcode.PING, b""))
    hub.passes(2)
    assert peer.wire.is_closed


def test_a_handshake_without_end_is_cut_at_its_limit() -> None:
    peer = connect(Playbook(SETTINGS))
    peer.hub.data_received(b"GET /mqtt HTTP/1.1\r\n")
    for number in range(1000):
        if peer.wire.is_closed:
            break
        peer.hub.data_received(b"X-%d: x\r\n" % number)
        assert held(peer) <= MAX_HANDSHAKE_BYTES
    assert peer.wire.is_closed
    assert peer.wire.written.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("is_let_in", [False, True])
@pytest.mark.parametrize("length", [MAX_PACKET_BYTES + 1, 2**31, 2**63 - 1, 2**64 - 1])
def test_a_huge_frame_is_refused_by_its_header(is_let_in: bool, length: int) -> None:
    hub = Playbook(SETTINGS)
    peer = let_in(hub) if is_let_in else connect(hub).opened()
    peer.carry(b"\x82\xff" + length.to_bytes(8, "big") + bytes(4) + bytes(1000))
    assert code(peer) == CloseCode.MESSAGE_TOO_BIG
    assert peer.wire.is_closed
    assert held(peer) == 0


def test_who_is_not_let_in_can_have_no_more_kept_than_a_connect() -> None:
    peer = connect(Playbook(SETTINGS)).opened()
    peer.carry(b"\x82\xfe" + (MAX_CONNECT_BYTES + 1).to_bytes(2, "big"))
    assert code(peer) == CloseCode.MESSAGE_TOO_BIG


def test_fragments_without_end_are_refused_when_they_are_too_much_together() -> None:
    hub = Playbook(SETTINGS)
    peer = let_in(hub).sends(binary(wire.encode(Pingreq(), V5), fin=False))
    sent = 0
    while not peer.wire.is_closed:
        peer.sends(more(wire.encode(Pingreq(), V5) * 50, fin=False))
        sent += 100
        assert sent <= MAX_PACKET_BYTES + 100
        hub.loop.run()
    assert code(peer) == CloseCode.MESSAGE_TOO_BIG


def test_empty_fragments_without_end_keep_nothing_and_do_not_prolong_the_deadline() -> None:
    hub = Playbook(SETTINGS)
    peer = connect(hub).opened().sends(binary(b"", fin=False))
    for _ in range(11):
        peer.sends(*[more(b"", fin=False)] * 100)
        assert held(peer) == 0
        hub.passes(1)
    assert peer.wire.is_closed


def test_nothing_is_ever_decompressed() -> None:
    peer = connect(Playbook(SETTINGS))
    peer.request.headers["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits"
    peer.opened()
    bomb = Frame(Opcode.BINARY, zlib.compress(bytes(1_000_000))[2:], rsv1=True)
    peer.carry(b"\xc2" + binary(bytes(bomb.data)).serialize(mask=True)[1:])
    assert code(peer) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("frame", [Frame(Opcode.TEXT, b"hello"), Frame(Opcode.TEXT, b"\xff", fin=False)])
def test_a_text_frame_ends_the_connection_of_a_device_as_well(frame: Frame) -> None:
    # [MQTT-6.0.0-1]
    hub = Playbook(SETTINGS)
    peer = let_in(hub).sends(frame)
    hub.loop.run()
    assert code(peer) == CloseCode.UNSUPPORTED_DATA
    assert peer.wire.is_closed
    assert hub.door.connections == set()


def test_an_unmasked_frame_ends_the_connection() -> None:
    # RFC 6455 section 5.1: a proxy could be made to take it for a request of its own
    peer = connect(Playbook(SETTINGS)).opened()
    peer.carry(binary(wire.encode(Connect(V5, "sensor"), V5)).serialize(mask=False))
    assert code(peer) == CloseCode.PROTOCOL_ERROR


def test_pings_of_who_does_not_read_are_not_read() -> None:
    hub = Playbook(SETTINGS)
    peer = let_in(hub)
    peer.hub.pause_writing()
    count = 0
    while peer.wire.is_reading:
        peer.sends(Frame(Opcode.PING, b"x" * 125))
        count += 1
        assert count < 10
    peer.hub.resume_writing()
    assert peer.wire.is_reading


def test_half_frames_of_all_clients_together_are_bounded_in_bytes_and_in_time() -> None:
    loop = FakeLoop(50.0)
    partials = Partials(15_000, 100, loop.time)
    rules = msgspec.structs.replace(RULES, max_first_message_bytes=MAX_PACKET_BYTES)
    peers = [WebPeer(rules, loop=loop, partials=partials).opened() for _ in range(4)]
    frame = binary(bytes(9000)).serialize(mask=True)
    for peer in peers:
        peer.carry(frame[:6000])
    for peer in peers:
        peer.events()
    assert [code(peer) for peer in peers] == [CloseCode.TRY_AGAIN_LATER] * 2 + [None] * 2
    assert [error.reason for error in peers[0].refused] == ["too many unfinished packets"]
    peers[2].carry(frame[6000:])
    loop.now += 100
    partials.handle_timer()
    assert [peer.wire.is_closed for peer in peers] == [True, True, False, True]
    loop.run()
    assert partials.bytes == 0
