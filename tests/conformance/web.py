"""A WebSocket of one thread.

The library's own client reads in a second one, and Python's TLS sockets may lose what one thread writes while another
reads: about one handshake in two hundred never reached the server.
"""

from __future__ import annotations

from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.conformance.client import WAIT_SECONDS, Address


class WebSocket:
    """A WebSocket to /mqtt, opened.

    Args:
        address: where the hub's door is.
        offered: the subprotocols to offer.

    Raises:
        InvalidHandshake: the server refused.
    """

    def __init__(self, address: Address, offered: Sequence[str]) -> None:
        names = [Subprotocol(name) for name in offered] or None
        url = f"wss://{address.host}:{address.port}/mqtt"
        self._protocol = ClientProtocol(parse_uri(url), subprotocols=names)
        self._frames: list[Frame] = []
        self._is_open = False
        self._socket = address.open()
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while not self._is_open:
            self._read()
            if self._protocol.handshake_exc is not None:
                self.close()
                raise self._protocol.handshake_exc

    @property
    def subprotocol(self) -> str | None:
        """What the server selected."""
        return self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """What the server's close frame says; None while none has come."""
        said = self._protocol.close_rcvd
        return None if said is None else said.code

    def send(self, data: bytes | str | Sequence[bytes]) -> None:
        """Send a binary message, a text message, or the fragments of a binary message."""
        if isinstance(data, str):
            self._protocol.send_text(data.encode())
        elif isinstance(data, bytes):
            self._protocol.send_binary(data)
        else:
            for index, part in enumerate(data):
                say = self._protocol.send_continuation if index else self._protocol.send_binary
                say(part, fin=index == len(data) - 1)
        self._flush()

    def recv(self) -> bytes | str:
        """Give the next message.

        Raises:
            ConnectionClosed: there is none, and the server has closed.
        """
        while not self._frames:
            if self._protocol.close_rcvd is not None or self._protocol.close_expected():
                raise ConnectionClosed(self._protocol.close_rcvd, None)
            self._read()
        frame = self._frames.pop(0)
        assert frame.fin, "a hub has no reason to send fragments"
        data = bytes(frame.data)
        return data.decode() if frame.opcode is Opcode.TEXT else data

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _read(self) -> None:
        self._socket.settimeout(WAIT_SECONDS)
        try:
            data = self._socket.recv(65_536)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._is_open = self._protocol.handshake_exc is None
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._frames.append(event)
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)
