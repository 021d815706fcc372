"""A client that says exactly what a test tells it to, and judges each byte that comes back.

    peer = hub.client("reader")                         # connected, with a client id of this test's own
    peer.subscribe(topic, qos=1)
    hub.client("writer").publish(topic, b"21.5", qos=1)
    assert peer.expect(Publish).payload == b"21.5"
    peer.expect_silence()

What needs bytes that no encoder makes uses `hub.open()` (a connection, nothing said) and `send_raw`. `expect...` wait
until WAIT_SECONDS have passed; nothing here sleeps.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from tests.conformance import codec
from tests.conformance.codec import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    V5,
    Ack,
    Connack,
    Disconnect,
    Packet,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Text,
    Unsuback,
    Will,
    Wrong,
)

WAIT_SECONDS = 5.0
ANSWERS: dict[type[Ack], int] = {Puback: PUBACK, Pubrec: PUBREC, Pubrel: PUBREL, Pubcomp: PUBCOMP}

P = TypeVar("P", bound=Packet)


def handshake(qos: int) -> list[type[Ack]]:
    """Give what a publisher is answered with."""
    if qos == 2:
        return [Pubrec, Pubcomp]
    return [Puback] if qos else []


@dataclass(frozen=True)
class Address:
    """Where a hub is, and what one shows there by default. `ca` makes it TLS."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    ca: Path | None = None

    @classmethod
    def parse(cls, url: str, ca: Path | None = None) -> Address:
        """Read mqtt://[user:password@]host[:port], or mqtts:// with the CA's certificate in `ca`."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"{url} is no mqtt://host:port or mqtts://host:port")
        if parts.scheme == "mqtts" and ca is None:
            raise ValueError("mqtts:// needs --hub-ca FILE")
        is_tls = parts.scheme == "mqtts"
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, parts.port or (8883 if is_tls else 1883), user, password, ca if is_tls else None)

    def open(self) -> socket.socket:
        """Connect a socket."""
        raw = socket.create_connection((self.host, self.port), WAIT_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ca is None:
            return raw
        context = ssl.create_default_context(cafile=str(self.ca))
        return context.wrap_socket(raw, server_hostname=self.host)


class Peer:
    """One connection, with nothing said on it yet; `connect` begins."""

    def __init__(self, hub: Hub, version: int, address: Address) -> None:
        self.hub = hub
        self.version = version
        self.client_id: Text = ""
        self.connack = Connack(0)
        self._address = address
        self._socket = address.open()
        self._buffer = b""
        self._last_id = 0
        self._is_at_end = False
        self._takes_bytes = 1 << 28
        self._aside: list[Packet] = []

    # Saying

    def send_raw(self, *pieces: bytes) -> None:
        """Send bytes as they are, in one write. A server that has closed already is for `expect...` to notice."""
        try:
            self._socket.sendall(b"".join(pieces))
        except OSError:
            self._is_at_end = self._is_at_end or not self._buffer

    def send_connect(self, client_id: Text = "", **words: Any) -> None:
        """Send a CONNECT with what the address shows; `words` are those of `codec.connect`."""
        self.client_id = client_id
        properties = words.get("properties", {})
        if isinstance(properties, dict):
            self._takes_bytes = int(properties.get("maximum_packet_size", self._takes_bytes))
        words.setdefault("user", self._address.user)
        words.setdefault("password", self._address.password)
        self.send_raw(codec.connect(self.version, client_id, **words))

    def connect(self, client_id: Text = "", *, code: int = 0, **words: Any) -> Connack:
        """Send a CONNECT, and expect a CONNACK with this code."""
        self.send_connect(client_id, **words)
        return self.expect_connack(code)

    def send_publish(self, topic: Text, payload: bytes = b"", **words: Any) -> int:
        """Send a PUBLISH and wait for nothing; give its packet identifier (0 at QoS 0)."""
        packet_id = words.pop("packet_id", None)
        if packet_id is None and words.get("qos"):
            packet_id = self.next_id()
        if words.get("retain") and isinstance(topic, str):
            self.hub.retained.add(topic)
        self.send_raw(codec.publish(self.version, topic, payload, packet_id=packet_id, **words))
        return packet_id or 0

    def publish(self, topic: Text, payload: bytes = b"", **words: Any) -> None:
        """Publish, and see it through to the last packet that its QoS asks for (QoS 0: a PINGRESP)."""
        packet_id = self.send_publish(topic, payload, **words)
        qos = words.get("qos", 0)
        if qos == 0:
            self.ping()
        elif qos == 1:
            assert self.expect(Puback).packet_id == packet_id
        else:
            assert self.expect(Pubrec).packet_id == packet_id
            self.send_ack(Pubrel, packet_id)
            assert self.expect(Pubcomp).packet_id == packet_id

    def publish_and_hear(self, topic: Text, payload: bytes = b"", **words: Any) -> Publish:
        """Publish to this peer's own subscription; give the message, which must be the next to come."""
        packet_id = self.send_publish(topic, payload, **words)
        needed = handshake(words.get("qos", 0))
        found: list[Publish] = []
        while needed or not found:
            packet = self.receive()
            if needed and isinstance(packet, needed[0]) and packet.packet_id == packet_id:
                if isinstance(packet, Pubrec):
                    self.send_ack(Pubrel, packet_id)
                del needed[0]
            else:
                self._take(packet, found)
        heard = found.pop(0)
        assert not found, f"more than one message came: {found}"
        assert (heard.topic, heard.payload) == (topic, payload), f"another message came: {heard}"
        return heard

    def send_ack(self, kind: type[Ack], packet_id: int, code: int | None = None, **words: Any) -> None:
        """Send a PUBACK, PUBREC, PUBREL or PUBCOMP."""
        self.send_raw(codec.ack(self.version, ANSWERS[kind], packet_id, code, **words))

    def send_subscribe(self, *filters: tuple[Text, int], **words: Any) -> int:
        """Send a SUBSCRIBE of (topic filter, options byte); give its packet identifier."""
        packet_id: int = words.pop("packet_id", 0) or self.next_id()
        self.send_raw(codec.subscribe(self.version, packet_id, filters, **words))
        return packet_id

    def subscribe(self, *filters: Text, qos: int = 0, options: int = 0, **words: Any) -> Suback:
        """Subscribe to all filters with the same options (`options` beside the QoS), and expect them granted."""
        packet_id = self.send_subscribe(*((name, options | qos) for name in filters), **words)
        suback = self.expect_with_messages(Suback, packet_id=packet_id)
        assert suback.codes == (qos,) * len(filters), f"not granted: {suback}"
        return suback

    def unsubscribe(self, *filters: Text, **words: Any) -> Unsuback:
        """Unsubscribe, and expect the answer."""
        packet_id = self.next_id()
        self.send_raw(codec.unsubscribe(self.version, packet_id, filters, **words))
        return self.expect_with_messages(Unsuback, packet_id=packet_id)

    def disconnect(self, code: int | None = None, properties: Properties | None = None) -> None:
        """Say goodbye, and see the server close."""
        self.send_raw(codec.disconnect(self.version, code, properties))
        self.expect_closed()

    def cut(self) -> None:
        """Drop the connection without a word, as a network does."""
        self._socket.close()
        self._is_at_end = True

    def next_id(self) -> int:
        """Give a packet identifier that is not in use."""
        self._last_id += 1
        return self._last_id

    # Hearing

    def receive(self, seconds: float = WAIT_SECONDS) -> Packet | None:
        """Give the next packet; None when the server has closed; an error when neither comes."""
        if self._aside:
            return self._aside.pop(0)
        deadline = time.monotonic() + seconds
        while True:
            found = codec.next_frame(self._buffer)
            if found is not None:
                kind, flags, body, size = found
                if size > self._takes_bytes:  # [MQTT-3.1.2-24]
                    raise Wrong(f"a packet of {size} bytes came to a client that takes {self._takes_bytes}")
                self._buffer = self._buffer[size:]
                return codec.decode(kind, flags, body, self.version)
            if self._is_at_end:
                return None
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            raise Wrong("nothing came in time, and the connection is open") from None
        except OSError:
            data = b""
        self._buffer += data
        self._is_at_end = not data

    def receive_raw(self) -> bytes:
        """Give the next packet as it came, b"" when the server has closed."""
        while (found := codec.next_frame(self._buffer)) is None and not self._is_at_end:
            self._read(time.monotonic() + WAIT_SECONDS)
        size = 0 if found is None else found[3]
        raw, self._buffer = self._buffer[:size], self._buffer[size:]
        return raw

    def receive_until(self, kind: type[P]) -> list[Packet]:
        """Give what comes before the next packet of this kind, which is left out."""
        before: list[Packet] = []
        while not isinstance(packet := self.receive(), kind):
            assert packet is not None, f"the server closed the connection instead of sending {kind.__name__}"
            before.append(packet)
        return before

    def expect(self, kind: type[P], seconds: float = WAIT_SECONDS, **fields: Any) -> P:
        """Give the next packet, which must be of this kind and have these fields."""
        packet = self.receive(seconds)
        assert packet is not None, f"the server closed the connection instead of sending {kind.__name__}"
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        for name, value in fields.items():
            assert getattr(packet, name) == value, f"expected {name} = {value!r} in {packet}"
        return packet

    def expect_with_messages(self, kind: type[P], **fields: Any) -> P:
        """As `expect`, but messages may come first [MQTT-3.8.4-1]: they are set aside, and come next."""
        aside: list[Packet] = []
        while isinstance(packet := self.receive(), Publish):
            aside.append(packet)
        self._aside = [*([packet] if packet is not None else []), *aside, *self._aside]
        return self.expect(kind, **fields)

    def expect_connack(self, code: int = 0, **fields: Any) -> Connack:
        """Give the CONNACK, which must have this code."""
        self.connack = self.expect(Connack, code=code, **fields)
        return self.connack

    def expect_message(self, seconds: float = WAIT_SECONDS, **fields: Any) -> Publish:
        """Give the next PUBLISH, acknowledged as its QoS asks for."""
        packet = self.expect(Publish, seconds, **fields)
        if packet.qos == 1:
            self.send_ack(Puback, packet.packet_id)
        elif packet.qos == 2:
            self.send_ack(Pubrec, packet.packet_id)
            assert self.expect(Pubrel).packet_id == packet.packet_id
            self.send_ack(Pubcomp, packet.packet_id)
        return packet

    def expect_closed(self, seconds: float = WAIT_SECONDS) -> None:
        """See that the server closes the connection and says nothing more."""
        packet = self.receive(seconds)
        assert packet is None, f"expected the connection to be closed, got {packet}"

    def expect_disconnect(self, *codes: int, seconds: float = WAIT_SECONDS) -> Disconnect:
        """Give the DISCONNECT with one of these codes, after which the server closes."""
        packet = self.expect(Disconnect, seconds)
        assert packet.code in codes, f"expected one of {[hex(code) for code in codes]} in {packet}"
        self.expect_closed()
        return packet

    def expect_end(self, *codes: int, seconds: float = WAIT_SECONDS) -> int | None:
        """See that the server closes; if it first says why (CONNACK or DISCONNECT), then with one of these codes.

        Closing is what the standard demands nearly everywhere; saying why it only recommends (5.0 section 4.13).
        Without codes any refusal will do.
        """
        packet = self.receive(seconds)
        if packet is None:
            return None
        assert isinstance(packet, Connack | Disconnect), f"expected an end, got {packet}"
        assert packet.code in codes if codes else packet.code, f"expected {[hex(c) for c in codes]} in {packet}"
        self.expect_closed()
        return packet.code

    def ping(self) -> None:
        """See a PINGREQ answered, with nothing before the answer."""
        self.send_raw(codec.frame(codec.PINGREQ, b""))
        self.expect(Pingresp)

    def expect_silence(self, qos: int = 0) -> None:
        """See that no message is on its way; see `gather`."""
        found = self.gather(qos)
        assert not found, f"expected silence, got {found}"

    def gather(self, qos: int = 0) -> list[Publish]:
        """Give all messages on their way, acknowledged: those before one that this peer sends itself now.

        Publishers that have their answer are ahead of it in every queue. `qos` is that of the fence: for a server
        that orders by QoS, what may come should have the same.
        """
        fence = f"conformance-fence/{self.hub.prefix}/{secrets.token_hex(4)}"
        found: list[Publish] = []
        subscribe_id = self.send_subscribe((fence, qos))
        self._acknowledge_until(Suback, subscribe_id, found)
        publish_id = self.send_publish(fence, b"fence", qos=qos)
        needed = handshake(qos)
        while needed or not (found and found[-1].topic == fence):
            packet = self.receive()
            if needed and isinstance(packet, needed[0]) and packet.packet_id == publish_id:
                if isinstance(packet, Pubrec):
                    self.send_ack(Pubrel, publish_id)
                del needed[0]
            else:
                self._take(packet, found)
        found.pop()
        unsubscribe_id = self.next_id()
        self.send_raw(codec.unsubscribe(self.version, unsubscribe_id, [fence]))
        self._acknowledge_until(Unsuback, unsubscribe_id, found)
        return found

    def _acknowledge_until(self, kind: type[Suback | Unsuback], packet_id: int, found: list[Publish]) -> None:
        while True:
            packet = self.receive()
            if isinstance(packet, kind):
                assert packet.packet_id == packet_id
                return
            self._take(packet, found)

    def _take(self, packet: Packet | None, found: list[Publish]) -> None:
        if isinstance(packet, Pubrel):
            self.send_ack(Pubcomp, packet.packet_id)
            return
        assert isinstance(packet, Publish), f"expected messages, got {packet}"
        found.append(packet)
        if packet.qos:
            self.send_ack(Puback if packet.qos == 1 else Pubrec, packet.packet_id)


class Hub:
    """The server under test, as one test sees it: everything in it that the test makes has a prefix of its own.

    Client ids have at most 23 letters and digits, so that every server must take them [MQTT-3.1.3-5].
    """

    def __init__(self, address: Address, is_ours: bool = True) -> None:
        self.address = address
        self.is_ours = is_ours
        self.prefix = secrets.token_hex(4)
        self.retained: set[str] = set()
        self._peers: list[Peer] = []

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peer in self._peers:
            peer.cut()
        if self.retained and not self.is_ours:
            with self._tidying() as hub:
                for topic in self.retained:
                    hub.client("tidier").publish(topic, b"")

    def topic(self, name: str = "topic") -> str:
        """Give a topic that no other test uses."""
        return f"conformance/{self.prefix}/{name}"

    def client_id(self, name: str) -> str:
        """Give a client id that no other test uses."""
        return f"{self.prefix}{name}"

    def open(self, version: int = V5, address: Address | None = None) -> Peer:
        """Open a connection on which nothing has been said."""
        peer = Peer(self, version, address or self.address)
        self._peers.append(peer)
        return peer

    def client(self, name: str, version: int = V5, **words: Any) -> Peer:
        """Give a connected client; `words` are those of CONNECT. A name used again is the same client id.

        `expiry` (seconds) makes a 5.0 session that stays, `clean=False` a 3.1.1 session that does.
        """
        expiry = words.pop("expiry", None)
        if expiry is not None:
            words["properties"] = {**words.get("properties", {}), "session_expiry_interval": expiry}
        peer = self.open(version)
        peer.connect(self.client_id(name), **words)
        return peer

    def wait_until_gone(self, name: str, version: int = V5) -> None:
        """After `cut`: see that the server has noticed, by taking the client id over with a session that stays.

        Nothing else from outside tells; use it where a test must not race with the end of a connection.
        """
        self.client(name, version, clean=False, **({"expiry": 300} if version == V5 else {})).cut()

    def _tidying(self) -> Hub:
        return Hub(self.address)


__all__ = [
    "Address",
    "Hub",
    "Peer",
    "Will",
]
