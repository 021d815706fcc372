"""Conversations with the CoAP door as a readable list: a `CoapBook` is a `Playbook` whose hub has a CoAP door as well.

    hub = CoapBook()
    lamp = hub.device("lamp")
    lamp.asks(Code.PUT, "a/b", b"21").code
    lamp.observes("a/b")

A `Device` is one link; `asks` gives the response, `messages` everything that came since the last time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography import x509

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.server import CoapConnection, CoapDoor
from lockgate.net.datagrams import DatagramLink
from lockgate.net.link import Address
from lockgate.net.tls import Protection
from tests.support.playbook import Playbook


class FakeDatagramLink(DatagramLink):
    """One peer without a wire; what is sent gathers in `sent`."""

    peer: Address = Address("192.0.2.7", 40_000)
    protection: Protection | None = Protection("DTLS 1.2", "TLS_PSK_WITH_AES_128_CCM_8")
    psk_identity: bytes | None = None
    raw_public_key: bytes | None = None
    peer_certificate: x509.Certificate | None = None

    def __init__(self, book: CoapBook, handler: CoapConnection, identity: str = "") -> None:
        self.sent: list[bytes] = []
        self.is_closed = False
        self._book = book
        self._handler = handler
        if identity:
            self.psk_identity = identity.encode()
        else:
            self.protection = None

    def send(self, data: bytes) -> None:
        assert data, "a datagram of nothing"
        if not self.is_closed:
            self.sent.append(data)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._book.loop.call_soon(self._handler.link_lost, None)


class CoapBook(Playbook):
    """A hub with an MQTT door and a CoAP door, and its time."""

    def __init__(self, *args: Any, **words: Any) -> None:
        super().__init__(*args, **words)
        loop: Any = self.loop
        asyncio._set_running_loop(loop)
        try:
            self.coap = CoapDoor(
                self.hub, self.door.admissions.authenticator, self.journal, self.store, self.settings,
                self.door.intakes.rates, self._clock,
            )  # fmt: skip
        finally:
            asyncio._set_running_loop(None)

    def device(self, name: str) -> Device:
        """Open a DTLS link of a device."""
        return Device(self, self.coap.handler(), name)

    def stranger(self, host: str = "192.0.2.7") -> Device:
        """Open a link without DTLS."""
        return Device(self, self.coap.plain_handler(), host=host)

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        super().passes(seconds)
        self.coap.handle_timers()
        self.loop.run()

    def commits(self) -> None:
        """Make durable what the store holds back."""
        super().commits()
        self.loop.call_soon(self.coap.committed, self.store.committed)
        self.loop.run()


class Device:
    """One device's side of a link."""

    def __init__(self, book: CoapBook, handler: CoapConnection, identity: str = "", host: str = "192.0.2.7") -> None:
        self.handler = handler
        self._book = book
        self.link = FakeDatagramLink(book, handler, identity)
        self.link.peer = Address(host, 40_000)
        self._message_id = 100
        self._read = 0
        self._last = b""
        handler.link_made(self.link)

    # What the device does

    def asks(
        self,
        code: int,
        path: str = "",
        payload: bytes = b"",
        *options: tuple[int, bytes],
        query: str = "",
        type: int = Type.CON,
    ) -> CoapMessage:
        """Send a request; see exactly one response to it, and give that."""
        request = self.sends(code, path, payload, *options, query=query, type=type)
        found = self.messages()
        assert len(found) == 1, found
        answer = found[0]
        assert answer.token == request.token
        assert (answer.type, answer.message_id) == (Type.ACK, request.message_id) or type == Type.NON
        return answer

    def sends(
        self,
        code: int,
        path: str = "",
        payload: bytes = b"",
        *options: tuple[int, bytes],
        query: str = "",
        type: int = Type.CON,
        token: bytes = b"",
    ) -> CoapMessage:
        """Send a request; give it."""
        self._message_id += 1
        said = [(int(OptionNumber.URI_PATH), level.encode()) for level in path.split("/")] if path else []
        said += [(int(OptionNumber.URI_QUERY), each.encode()) for each in query.split("&") if each]
        request = CoapMessage(
            type, code, self._message_id, token or self._message_id.to_bytes(2, "big"),
            wire.in_order([*said, *options]), payload,
        )  # fmt: skip
        self.sends_bytes(wire.encode(request))
        return request

    def observes(
        self, path: str = "", *options: tuple[int, bytes], query: str = "", type: int = Type.CON, token: bytes = b"\x01"
    ) -> CoapMessage:
        """Observe; give the first answer."""
        self.sends(Code.GET, path, b"", (OptionNumber.OBSERVE, b""), *options, query=query, type=type, token=token)
        (answer,) = self.messages()
        return answer

    def acknowledges(self, message: CoapMessage) -> Device:
        """Acknowledge a confirmable message."""
        return self.sends_bytes(wire.empty(Type.ACK, message.message_id))

    def resets(self, message: CoapMessage) -> Device:
        """Reject a message."""
        return self.sends_bytes(wire.empty(Type.RST, message.message_id))

    def sends_bytes(self, data: bytes, is_multicast: bool = False) -> Device:
        """Send a datagram."""
        if self.link.is_closed and self.link.protection is None:  # as a listener does where it remembers nobody
            self._begins_anew()
        self._last = data
        self.handler.datagram_received(data, is_multicast)
        self._book.loop.run()
        return self

    def _begins_anew(self) -> None:
        before = self.link
        self.handler = self._book.coap.plain_handler()
        self.link = FakeDatagramLink(self._book, self.handler)
        self.link.peer, self.link.sent = before.peer, before.sent
        self.handler.link_made(self.link)

    def is_cut(self, error: Exception | None = None) -> Device:
        """Lose the link."""
        self.link.is_closed = True
        self.handler.link_lost(error)
        self._book.loop.run()
        return self

    # What the device sees

    def messages(self) -> list[CoapMessage]:
        """Give everything that came since the last time."""
        found = [wire.decode(data) for data in self.link.sent[self._read :]]
        self._read = len(self.link.sent)
        return found

    def gets(self, payload: bytes) -> CoapMessage:
        """See exactly one message, with this payload; give it."""
        (message,) = self.messages()
        assert message.payload == payload, message
        return message

    def gets_nothing(self) -> Device:
        """See that nothing came."""
        assert self.messages() == []
        return self
