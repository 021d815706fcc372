"""A publisher and a subscriber that keep to the standard to the letter, for tests that count: each in a thread.

They hold their session's state as section 4.1 of MQTT 5.0 says, go on after every cut or crash where they were (section
4.4), and note with CLOCK_MONOTONIC what they heard from the hub. Real clients are not exact enough for this: paho, for
one, publishes a QoS 2 message again that it had released.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from lockgate.adapters.mqtt.packets import (
    Connack,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    ReasonCode,
    Suback,
    Subscribe,
    SubscriptionRequest,
)  # fmt: skip
from lockgate.model.topic import TopicName
from tests.support.hub import eventually
from tests.support.raw_peer import RawPeer

DAY = 86_400
PAUSE_SECONDS = 0.05


class Sent(msgspec.Struct):
    """One message and what became of it; times in nanoseconds of CLOCK_MONOTONIC, 0 for not yet."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int
    first_sent_ns: int = 0
    acknowledged_ns: int = 0
    released_ns: int = 0
    completed_ns: int = 0


class Heard(msgspec.Struct, frozen=True):
    """One message that was handed on (QoS 2: when it was released)."""

    topic: str
    payload: bytes
    qos: int
    at_ns: int


class StrictClient(threading.Thread):
    """One client with a session that outlives its connections; `cut` cuts the one it has."""

    def __init__(self, folder: Path, port: int, suffix: str) -> None:
        super().__init__(name=f"strict {folder.name}/{suffix}", daemon=True)
        self.problems: list[str] = []
        self.connections = 0
        self.suffix = suffix
        self._folder, self._port = folder, port
        self._peer: RawPeer | None = None
        self._is_ending = threading.Event()
        self._has_session = False

    def run(self) -> None:
        """Connect, go on, and connect again, until `end`."""
        while not self._is_ending.is_set():
            try:
                with RawPeer(self._folder, self._port, DAY, self.suffix) as peer:
                    self._serve(peer)
            except (OSError, AssertionError) as error:
                # Cuts and kills look like this; a hub that answers wrongly is noted below.
                if isinstance(error, AssertionError) and "expected" in str(error):
                    self.problems.append(f"{self.name}: {error}")
                self._is_ending.wait(PAUSE_SECONDS)

    def cut(self) -> None:
        """Cut the connection as a bad radio link would: no DISCONNECT."""
        peer = self._peer
        if peer is not None:
            with suppress(OSError):
                socket.socket.shutdown(peer.socket, socket.SHUT_RDWR)  # below TLS: no goodbye

    def end(self) -> None:
        """Stop, and wait for it."""
        self._is_ending.set()
        self.cut()
        self.join(15)
        assert not self.problems, self.problems[:5]

    def _serve(self, peer: RawPeer) -> None:
        connack: Connack = peer.connack
        if connack.code:
            self._is_ending.wait(PAUSE_SECONDS)
            return
        if self._has_session and not connack.session_present:
            self.problems.append(f"{self.name}: the session is lost")
        self.connections += 1
        self._peer = peer
        try:
            self.resume(peer)
            while (packet := peer.next()) is not None:
                self._has_session = True  # whatever was answered now waited for the session's commit
                self.take(peer, packet, time.monotonic_ns())
        finally:
            self._peer = None

    def resume(self, peer: RawPeer) -> None:
        """Go on after a CONNACK."""
        raise NotImplementedError

    def take(self, peer: RawPeer, packet: Packet, now_ns: int) -> None:
        """Handle one packet."""
        raise NotImplementedError


class StrictPublisher(StrictClient):
    """Publishes `count` messages (None: until `finish`) with a window of unacknowledged ones.

    Args:
        folder: the device's folder.
        port: the hub's port of MQTT over TLS.
        topics: they take turns.
        qos: 0, 1 or 2.
        count: how many messages.
        window: how many may be unacknowledged.
        padding_bytes: what is added to each payload.
        retain: set RETAIN.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        suffix: str,
        topics: tuple[str, ...],
        qos: int,
        *,
        count: int | None = None,
        window: int = 20,
        padding_bytes: int = 0,
        retain: bool = False,
    ) -> None:
        super().__init__(folder, port, suffix)
        self.sent: list[Sent] = []
        self._topics, self._qos, self._retain = topics, qos, retain
        self._count, self._window, self._padding = count, window, b"." * padding_bytes
        self._flying: dict[int, Sent] = {}
        self._last_id = 0

    @property
    def acknowledged(self) -> set[bytes]:
        """The payloads for which PUBACK or PUBREC came."""
        return {each.payload for each in list(self.sent) if each.acknowledged_ns}

    @property
    def is_done(self) -> bool:
        """Whether everything was published and settled."""
        return self._count is not None and len(self.sent) >= self._count and not self._flying

    def finish(self, seconds: float = 60.0) -> None:
        """Publish nothing new, and wait until everything is settled."""
        if self._count is None:
            self._count = 0  # whatever was sent is enough
        eventually(lambda: self.is_done, seconds, f"the last acknowledgement for {self.name}")

    def resume(self, peer: RawPeer) -> None:
        """Send again what is not settled, in its order (section 4.4), then go on."""
        for sent in list(self._flying.values()):
            if sent.qos == 2 and sent.acknowledged_ns:
                sent.released_ns = sent.released_ns or time.monotonic_ns()
                peer.send(Pubrel(sent.packet_id))
            else:
                peer.send(_packet(sent, dup=True))
        self._fill(peer)

    def take(self, peer: RawPeer, packet: Packet, now_ns: int) -> None:
        """Note an acknowledgement, and go on."""
        match packet:
            case Puback():
                sent = self._flying.pop(packet.packet_id)
                sent.acknowledged_ns = sent.completed_ns = now_ns
            case Pubrec():
                sent = self._flying[packet.packet_id]
                sent.acknowledged_ns = sent.acknowledged_ns or now_ns
                sent.released_ns = sent.released_ns or time.monotonic_ns()
                peer.send(Pubrel(packet.packet_id))
            case Pubcomp():
                self._flying.pop(packet.packet_id).completed_ns = now_ns
        # A PUBREL that is sent again after its PUBCOMP was lost meets an id that is forgotten already: all is well.
        is_known = isinstance(packet, Pubcomp) and packet.code == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        if isinstance(packet, Puback | Pubrec | Pubcomp) and packet.code >= 0x80 and not is_known:
            self.problems.append(f"{self.name}: {packet}")
        self._fill(peer)

    def _fill(self, peer: RawPeer) -> None:
        packets = []
        while len(self._flying) < self._window and (self._count is None or len(self.sent) < self._count):
            number = len(self.sent)
            topic = self._topics[number % len(self._topics)]
            payload = f"{self.suffix}:{number}:".encode() + self._padding
            sent = Sent(topic, payload, self._qos, self._retain, self._free_id() if self._qos else 0)
            sent.first_sent_ns = time.monotonic_ns()
            self.sent.append(sent)
            if self._qos:
                self._flying[sent.packet_id] = sent
            packets.append(_packet(sent))
            if not self._qos and len(packets) >= self._window:
                peer.send(*packets)  # nothing will answer: a little at a time, so that cuts meet it
                packets.clear()
                time.sleep(0.001)
        if packets:
            peer.send(*packets)

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._flying:
                return self._last_id


class StrictSubscriber(StrictClient):
    """Hears one topic filter, and settles everything; QoS 2 messages are handed on once, when they are released."""

    def __init__(self, folder: Path, port: int, suffix: str, topic_filter: str, qos: int = 2) -> None:
        super().__init__(folder, port, suffix)
        self.heard: list[Heard] = []
        self.is_subscribed = threading.Event()
        self._request = Subscribe(1, (SubscriptionRequest(topic_filter, qos),))
        self._received: dict[int, Publish] = {}

    def payloads(self) -> Counter[bytes]:
        """Give how often each payload came."""
        return Counter(each.payload for each in list(self.heard))

    def wait_for(self, wanted: set[bytes], seconds: float = 60.0) -> Counter[bytes]:
        """Wait until all of these payloads have come; give how often each did."""
        eventually(lambda: wanted <= self.payloads().keys(), seconds, f"every acknowledged message for {self.name}")
        return self.payloads()

    def resume(self, peer: RawPeer) -> None:
        """Subscribe, once."""
        if not self.is_subscribed.is_set():
            peer.send(self._request)

    def take(self, peer: RawPeer, packet: Packet, now_ns: int) -> None:
        """Hand on and settle."""
        match packet:
            case Suback():
                if packet.codes[0] > 2:
                    self.problems.append(f"{self.name}: {packet}")
                self.is_subscribed.set()
            case Publish(qos=2):
                self._received.setdefault(packet.packet_id, packet)
                peer.send(Pubrec(packet.packet_id))
            case Publish():
                self.heard.append(Heard(packet.topic, packet.payload, packet.qos, now_ns))
                if packet.qos:
                    peer.send(Puback(packet.packet_id))
            case Pubrel():
                known = self._received.pop(packet.packet_id, None)
                if known is not None:
                    self.heard.append(Heard(known.topic, known.payload, 2, now_ns))
                peer.send(Pubcomp(packet.packet_id))


def _packet(sent: Sent, dup: bool = False) -> Publish:
    return Publish(TopicName(sent.topic), sent.payload, sent.qos, sent.retain, dup, sent.packet_id)
