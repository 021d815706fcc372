"""Fixed batches of messages over sockets: each is sent in one piece, and the next only when all of it has arrived.

So what the hub reads, writes and waits for does not depend on how fast anything is.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import msgspec

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V311,
    Connack,
    Connect,
    Packet,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.model.topic import topic_name

DEVICE = "bench"
TOPIC = "bench/load"
WAIT_SECONDS = 60
ANY_SIZE = 1 << 20


class Work(msgspec.Struct, frozen=True):
    """One workload: a publisher's batches of 64 B messages to so many subscribers."""

    name: str
    batch: int
    subscribers: int = 1
    qos: int = 0
    is_tls: bool = False

    @property
    def deliveries(self) -> int:
        """How many messages one batch delivers."""
        return self.batch * self.subscribers


WORKS = (
    Work("1 to 1, QoS 0", 100),
    Work("1 to 1, QoS 0, one at a time", 1),
    Work("1 to 100, QoS 0", 20, subscribers=100),
    Work("1 to 1, QoS 1, 20 in flight", 20, qos=1),
    Work("1 to 1, QoS 0, TLS 1.3", 100, is_tls=True),
)


class Door(msgspec.Struct, frozen=True):
    """Where a broker listens; over TLS, the folder of the device that the clients are."""

    port: int
    device: Path | None = None


class Peer:
    """One client."""

    def __init__(self, door: Door, name: str) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", door.port), WAIT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if door.device is not None:
            context = ssl.create_default_context(cafile=str(door.device / "ca.pem"))
            context.load_cert_chain(door.device / "device.crt", door.device / "device.key")
            self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._rest = b""
        self.send(Connect(V311, f"{DEVICE}/{name}"))
        (answer,) = self.receive(1)
        assert isinstance(answer, Connack)
        assert answer.code == 0, f"refused: {answer}"

    def close(self) -> None:
        """Go without a word."""
        self._socket.close()

    def send(self, *packets: Packet) -> None:
        """Send packets in one piece."""
        self.send_bytes(b"".join(wire.encode(packet, V311) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes in one piece."""
        self._socket.sendall(data)

    def receive(self, count: int) -> list[Packet]:
        """Wait for exactly so many packets."""
        packets: list[Packet] = []
        position = 0
        while len(packets) < count:
            found = wire.decode(self._rest, position, V311, ANY_SIZE)
            if found is None:
                more = self._socket.recv(1 << 18)
                assert more, "the broker closed the connection"
                self._rest, position = self._rest[position:] + more, 0
                continue
            packet, position = found
            packets.append(packet)
        self._rest = self._rest[position:]
        return packets


class Traffic:
    """A workload on its connections; `with` closes them."""

    def __init__(self, door: Door, work: Work) -> None:
        self._work = work
        self._closing = ExitStack()
        self._publisher = self._connect(door, "publisher")
        self._subscribers = [self._connect(door, f"subscriber-{number}") for number in range(work.subscribers)]
        for subscriber in self._subscribers:
            subscriber.send(Subscribe(1, (SubscriptionRequest(TOPIC, work.qos),)))
            (answer,) = subscriber.receive(1)
            assert isinstance(answer, Suback)
            assert answer.codes == (work.qos,)
        packets = (Publish(topic_name(TOPIC), bytes(64), work.qos, packet_id=n + 1) for n in range(work.batch))
        self._data = b"".join(wire.encode(packet, V311) for packet in packets)

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, batches: int) -> None:
        """Send batches one after the other; each is delivered and settled before the next."""
        for _ in range(batches):
            self._publisher.send_bytes(self._data)
            for subscriber in self._subscribers:
                came = subscriber.receive(self._work.batch)
                if self._work.qos:
                    subscriber.send(*(Puback(packet.packet_id) for packet in came if isinstance(packet, Publish)))
            if self._work.qos:
                self._publisher.receive(self._work.batch)

    def _connect(self, door: Door, name: str) -> Peer:
        peer = Peer(door, name)
        self._closing.callback(peer.close)
        return peer
