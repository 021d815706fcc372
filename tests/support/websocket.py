"""The client's side of a WebSocket without a socket: what it sends, byte by byte if need be, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from lockgate.errors import LockgateError
from lockgate.net.link import Link, StreamHandler
from lockgate.net.partials import Partials
from lockgate.net.websocket import WebSocketLink, WebSocketRules
from tests.support.fakes import FakeLink, FakeLoop

URL = "wss://hub.example:8884/mqtt"


class Room(StreamHandler):
    """A door's handler that keeps what it hears, and answers only when told to."""

    def __init__(self) -> None:
        self.link: Link
        self.received = bytearray()
        self.chunks: list[bytes] = []
        self.happened: list[str] = []
        self.error: Exception | None = None

    def connection_made(self, link: Link) -> None:
        self.link = link
        self.happened.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        assert data
        self.received += data
        self.chunks.append(data)
        if data == b"close":
            self.link.close()

    def eof_received(self) -> None:
        self.happened.append("eof")
        self.link.close()

    def pause_writing(self) -> None:
        self.happened.append("pause")

    def resume_writing(self) -> None:
        self.happened.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.happened.append("lost")
        self.error = error


REFERENCE = "K7Q2-9XMD"


class WebPeer:
    """A client, the hub's end of the link, and the door behind it.

    Args:
        rules: what the hub grants.
        url: where to.
        origin: what a browser says of its page.
        subprotocols: what the client offers.
        handler: the door's; a `Room` without.
        loop: on which the link ends.
    """

    def __init__(
        self,
        rules: WebSocketRules | None = None,
        *,
        url: str = URL,
        origin: str | None = None,
        subprotocols: Sequence[str] = ("mqtt",),
        handler: StreamHandler | None = None,
        loop: FakeLoop | None = None,
        partials: Partials | None = None,
    ) -> None:
        self.refused: list[LockgateError] = []
        self.room = Room()
        self.loop = loop or FakeLoop(0.0)
        self.hub = WebSocketLink(lambda: handler or self.room, rules or WebSocketRules(), self._note, partials)
        self.wire = FakeLink(self.loop, self.hub)
        self.client = ClientProtocol(
            parse_uri(url),
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol(each) for each in subprotocols] or None,
        )
        self.request = self.client.connect()
        self.heard: list[Any] = []
        self._seen = 0
        self.hub.connection_made(self.wire)

    def opened(self) -> WebPeer:
        """Shake hands, and see that it works."""
        response = self.asks()
        assert response is not None
        assert response.status_code == 101, response
        assert self.client.state is State.OPEN
        return self

    def asks(self) -> Response | None:
        """Send the request; give the answer, None when none came."""
        self.client.send_request(self.request)
        return self.carry(b"".join(self.client.data_to_send()))

    def carry(self, data: bytes, size: int = 0) -> Response | None:
        """Bring bytes to the hub, `size` at a time (0: at once), and what it says to the client; give the response."""
        for start in range(0, len(data), size or len(data) or 1):
            self.hub.data_received(data[start : start + (size or len(data))])
        return next((each for each in self.events() if isinstance(each, Response)), None)

    def sends(self, *frames: Frame, size: int = 0) -> WebPeer:
        """Send frames, masked as a client must."""
        self.carry(b"".join(frame.serialize(mask=True) for frame in frames), size)
        return self

    def events(self) -> list[Any]:
        """Give what the hub said since the last time, as the client understands it."""
        new, self._seen = bytes(self.wire.written[self._seen :]), len(self.wire.written)
        if new:
            self.client.receive_data(new)
        found = self.client.events_received()
        self.heard += found
        return found

    @property
    def close_frame(self) -> Close | None:
        """The hub's close frame."""
        return self.client.close_rcvd

    def ends(self) -> WebPeer:
        """Let the loop do what waits: the link's end reaches the door."""
        self.loop.run()
        return self

    def _note(self, link: Link, error: LockgateError) -> str:
        assert link is self.wire
        self.refused.append(error)
        return REFERENCE


def binary(data: bytes, fin: bool = True) -> Frame:
    """Make a binary frame."""
    return Frame(Opcode.BINARY, data, fin)


def more(data: bytes, fin: bool = True) -> Frame:
    """Make a continuation frame."""
    return Frame(Opcode.CONT, data, fin)
