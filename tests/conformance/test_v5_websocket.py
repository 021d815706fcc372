"""MQTT 5.0 section 6: MQTT over WebSocket. Judged at our own hub alone: `--hub` is the URL of a plain or TLS port."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.conformance import codec
from tests.conformance.client import Address
from tests.conformance.codec import V5, Connack, Packet, Pingresp, Puback, Publish, Suback
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
    return codec.connect(V5, own.user, user=own.user, password=own.password)


class Heard:
    """The packets that come in binary frames, wherever the frames begin and end."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._buffer = b""

    def next(self) -> Packet:
        while (found := codec.next_frame(self._buffer)) is None:
            data = self._socket.recv()
            assert isinstance(data, bytes), "MQTT came in a text frame"
            self._buffer += data
        kind, flags, body, size = found
        self._buffer = self._buffer[size:]
        return codec.decode(kind, flags, body, V5)


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-1")
def test_packets_travel_in_binary_frames(own: Own, opens: Opens) -> None:
    socket = opens("mqtt")
    socket.send(hello(own))
    heard = Heard(socket)
    first = heard.next()
    assert isinstance(first, Connack)
    assert first.code == 0
    socket.send(codec.frame(codec.PINGREQ, b""))
    assert heard.next() == Pingresp()


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-1")
@pytest.mark.parametrize("is_connected", [False, True], ids=["before CONNECT", "after CONNECT"])
def test_a_text_frame_ends_the_connection(own: Own, opens: Opens, is_connected: bool) -> None:
    socket = opens("mqtt")
    if is_connected:
        socket.send(hello(own))
        assert isinstance(Heard(socket).next(), Connack)
    socket.send("text" if is_connected else hello(own).decode("latin-1"))
    with suppress(ConnectionClosed):
        while isinstance(socket.recv(), bytes):
            pass  # a DISCONNECT may come first
    assert socket.close_code == 1003  # RFC 6455: data of a kind that is not taken


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-2")
def test_a_frame_may_hold_several_packets(own: Own, opens: Opens) -> None:
    socket = opens("mqtt")
    ping = codec.frame(codec.PINGREQ, b"")
    socket.send(hello(own) + ping + codec.subscribe(V5, 1, [("kettle/#", 0)]) + ping)
    heard = Heard(socket)
    assert isinstance(heard.next(), Connack)
    assert Counter(type(heard.next()) for _ in range(3)) == {Pingresp: 2, Suback: 1}


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-2")
def test_a_packet_may_be_spread_over_frames_of_any_size(own: Own, opens: Opens) -> None:
    socket = opens("mqtt")
    said = hello(own) + codec.subscribe(V5, 1, [("kettle/spread", 1)])
    said += codec.publish(V5, "kettle/spread", b"x" * 300, qos=1, packet_id=2)
    for index in range(0, 40):
        socket.send(said[index : index + 1])
    socket.send(b"")  # an empty frame holds no packet
    for start in range(40, len(said), 7):
        socket.send(said[start : start + 7])
    heard = Heard(socket)
    assert isinstance(heard.next(), Connack)
    assert isinstance(heard.next(), Suback)
    last = [heard.next(), heard.next()]
    assert {type(packet) for packet in last} == {Puback, Publish}
    assert [packet.payload for packet in last if isinstance(packet, Publish)] == [b"x" * 300]


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-2")
def test_a_message_may_be_sent_in_fragments(own: Own, opens: Opens) -> None:
    socket = opens("mqtt")
    said = hello(own) + codec.frame(codec.PINGREQ, b"")
    socket.send([said[:5], said[5:20], said[20:]])
    heard = Heard(socket)
    assert [type(heard.next()) for _ in range(2)] == [Connack, Pingresp]


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-4")
@pytest.mark.parametrize("offered", [["mqtt"], ["other", "mqtt"], ["mqtt", "mqttv3.1", "other"]])
def test_the_server_selects_mqtt(opens: Opens, offered: list[str]) -> None:
    assert opens(*offered).subprotocol == "mqtt"


@needs_lockgate
@statement("5.0", "MQTT-6.0.0-4")
@pytest.mark.parametrize("offered", [[], ["other"], ["mqttv3.1"], ["MQTT"]])
def test_without_mqtt_among_the_offered_the_server_selects_nothing(opens: Opens, offered: list[str]) -> None:
    with pytest.raises(InvalidHandshake):
        opens(*offered)
