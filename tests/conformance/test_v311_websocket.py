"""MQTT 3.1.1 section 6: MQTT over WebSocket. Judged at our own hub alone: `--hub` is the URL of a plain or TLS port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.conformance import codec
from tests.conformance.client import Address
from tests.conformance.codec import V311, Connack, Packet, Pingresp, Puback, Publish, Suback
from tests.conformance.conftest import Own
from tests.conformance.marks import needs_lockgate, statement
from tests.conformance.web import WebSocket

Opens = Callable[..., WebSocket]


@pytest.fixture
def opens(own: Own) -> Iterator[Opens]:
    """Open WebSockets to the hub, offering these subprotocols."""
    address = Address("localhost", own.running.websocket_port, ca=own.running.ca_path)
    with ExitStack() as stack:
        yield lambda *offered: stack.enter_context(closing(WebSocket(address, offered)))


def hello(own: Own) -> bytes:
    return codec.connect(V311, own.user, user=own.user, password=own.password)


def packets(socket: WebSocket) -> Iterator[Packet]:
    """Give the packets that come in binary frames, wherever the frames begin and end."""
    buffer = b""
    while True:
        while (found := codec.next_frame(buffer)) is None:
            data = socket.recv()
            assert isinstance(data, bytes), "MQTT came in a text frame"
            buffer += data
        kind, flags, body, size = found
        buffer = buffer[size:]
        yield codec.decode(kind, flags, body, V311)


@needs_lockgate
@statement("3.1.1", "MQTT-6.0.0-1")
@pytest.mark.parametrize("is_connected", [False, True], ids=["before CONNECT", "after CONNECT"])
def test_packets_travel_in_binary_frames_and_a_text_frame_ends_the_connection(
    own: Own, opens: Opens, is_connected: bool
) -> None:
    socket = opens("mqtt")
    if is_connected:
        socket.send(hello(own))
        assert next(packets(socket)) == Connack(0)
    socket.send("text")
    with suppress(ConnectionClosed):
        assert not socket.recv(), "3.1.1 has no word for it"
    assert socket.close_code == 1003  # RFC 6455: data of a kind that is not taken


@needs_lockgate
@statement("3.1.1", "MQTT-6.0.0-2")
def test_frames_and_packets_need_not_end_together(own: Own, opens: Opens) -> None:
    """All in one frame, a byte in each, and cuts in the middle of packets."""
    ping = codec.frame(codec.PINGREQ, b"")
    said = hello(own) + ping + codec.subscribe(V311, 1, [("kettle/frames", 0)])
    said += codec.publish(V311, "kettle/frames", b"x" * 200, qos=1, packet_id=2) + ping
    for size in (len(said), 1, 7, 100):
        socket = opens("mqtt")
        for start in range(0, len(said), size):
            socket.send(said[start : start + size])
        heard = packets(socket)
        assert next(heard) == Connack(0)
        answers = [next(heard) for _ in range(5)]
        assert answers.count(Pingresp()) == 2
        for packet in (Suback(1, (0,)), Puback(2), Publish("kettle/frames", b"x" * 200)):
            assert packet in answers


@needs_lockgate
@statement("3.1.1", "MQTT-6.0.0-4")
@pytest.mark.parametrize("offered", [("mqtt",), ("chat", "mqtt"), ("mqttv3.1", "mqtt", "MQTT")], ids=" ".join)
def test_the_subprotocol_that_is_selected_is_mqtt(opens: Opens, offered: tuple[str, ...]) -> None:
    assert opens(*offered).subprotocol == "mqtt"


@needs_lockgate
@statement("3.1.1", "MQTT-6.0.0-4")
@pytest.mark.parametrize("offered", [(), ("chat",), ("MQTT",)], ids=lambda names: " ".join(names) or "none")
def test_no_other_subprotocol_is_ever_selected(opens: Opens, offered: tuple[str, ...]) -> None:
    """A client that does not offer mqtt breaks 6.0.0-3; it may be turned away, or served without one."""
    try:
        socket = opens(*offered)
    except InvalidHandshake:
        return
    assert socket.subprotocol is None
