"""What the tests of floods need: raw clients on sockets, a pair that talks on meanwhile, and the hub's memory."""

from __future__ import annotations

import resource
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    Connack,
    Connect,
    Packet,
    Properties,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.model.topic import topic_name
from tests.support.hub import RunningHub, eventually

DEADLINE_SECONDS = 30.0
ANY_SIZE = 268_435_460
PAUSE_SECONDS = 0.01

P = TypeVar("P", bound=Packet)


class Raw:
    """A client of the lab door by MQTT 5.0 that reads only when it is told to; `with` connects and cuts it.

    Args:
        port: the lab door's port.
        client_id: its client id; the door puts `lab/` before it.
        source: the address on loopback from which it comes.
        receive_buffer: bytes for the kernel to keep for it, 0 for what is usual.
        expiry: how many seconds its session waits for it; 0 is not at all.
        is_silent: it sends no CONNECT.
    """

    def __init__(
        self, port: int, client_id: str = "", *, source: str = "127.0.0.1", receive_buffer: int = 0,
        expiry: int = 0, is_silent: bool = False,
    ) -> None:  # fmt: skip
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_SECONDS)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self._buffer = b""
        if not is_silent:
            self.send(Connect(V5, client_id, properties=Properties(session_expiry_interval=expiry)))
            assert self.takes(Connack).code == 0

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        """Send packets in one piece."""
        self.socket.sendall(b"".join(wire.encode(packet, V5) for packet in packets))

    def publish(self, topic: str, payload: bytes = b"x") -> None:
        """Send one PUBLISH at QoS 0."""
        self.send(Publish(topic_name(topic), payload))

    def subscribe(self, topic_filter: str, qos: int = 0) -> Raw:
        """Subscribe."""
        self.send(Subscribe(1, (SubscriptionRequest(topic_filter, qos),)))
        assert self.takes(Suback).codes == (qos,)
        return self

    def takes(self, kind: type[P]) -> P:
        """Give the next packet of this kind; others that come before it are left aside."""
        while True:
            packet = self.next()
            assert packet is not None, f"the hub closed the connection instead of sending {kind.__name__}"
            if isinstance(packet, kind):
                return packet

    def next(self) -> Packet | None:
        """Give the next packet, None when the hub has closed the connection."""
        while True:
            found = wire.decode(self._buffer, 0, V5, ANY_SIZE)
            if found is not None:
                packet, end = found
                self._buffer = self._buffer[end:]
                return packet
            try:
                data = self.socket.recv(1_048_576)
            except ConnectionError:
                return None
            if not data:
                return None
            self._buffer += data

    def is_closed_by_the_hub(self) -> bool:
        """Read on until the hub closes the connection, or nothing comes for a while."""
        self.socket.settimeout(0.5)
        try:
            while self.next() is not None:
                pass
        except TimeoutError:
            return False
        return True


class Pair:
    """A publisher and a subscriber that behave, and go on talking while the `with` block runs.

    At its end each message that was sent must have arrived, within `DEADLINE_SECONDS`.
    """

    def __init__(self, port: int, source: str = "127.0.0.9") -> None:
        self.seconds: list[float] = []
        """How long each message took."""
        self.failure: BaseException | None = None
        self._ear = Raw(port, "pair-ear", source=source).subscribe("pair/talk")
        self._mouth = Raw(port, "pair-mouth", source=source)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Pair:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._ear.socket.close()
        self._mouth.socket.close()
        if kind is None:
            assert self.failure is None, f"the pair was not served: {self.failure!r}"
            assert self.seconds, "the pair never spoke"

    def says(self) -> str:
        """Give the pair's latency as a person reads it."""
        ordered = sorted(self.seconds)
        middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        return f"{len(ordered)} messages, median {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms"

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                self._mouth.publish("pair/talk", b"%d" % number)
                assert self._ear.takes(Publish).payload == b"%d" % number
                self.seconds.append(time.perf_counter() - began)
                number += 1
                self._stop.wait(PAUSE_SECONDS)
        except BaseException as error:
            self.failure = error


class Memory:
    """The hub's memory (resident set), in bytes, sampled while the `with` block runs."""

    def __init__(self, hub: RunningHub) -> None:
        self._pid = hub.pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.before = self.now()
        self.most = self.before

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """How much more it was at most than at the beginning."""
        return self.most - self.before

    def now(self) -> int:
        """Give it as it is now."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, self.now())


def figure(hub: RunningHub, topic: str) -> int:
    """Give a figure that the hub tells of itself under $SYS/broker/, 0 when it tells none."""
    with Raw(hub.lab_port, "eye", source="127.0.0.9") as eye:
        eye.subscribe(f"$SYS/broker/{topic}")
        eye.socket.settimeout(0.3)
        try:
            return int(eye.takes(Publish).payload)
        except TimeoutError:
            return 0


def wait_for_figure(hub: RunningHub, topic: str, least: int) -> int:
    """Wait until a figure under $SYS/broker/ is at least this."""
    return eventually(lambda: found if (found := figure(hub, topic)) >= least else None, DEADLINE_SECONDS, topic)
