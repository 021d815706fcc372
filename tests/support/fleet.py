"""A fleet: hundreds of devices of one process, each with its own key, certificate and TLS connection; for load tests.

    passes = enlist(home, folder, ["d0", "d1"], groups=["floor"])
    with Fleet(port, ca, passes) as fleet:          # a thread with a loop of its own
        fleet.connect()
        fleet.subscribe("d0", "devices/d0/in")
        fleet.publish("d1", "devices/d1/out", b"21")
        fleet.members["d0"].closed_at               # None as long as its connection is open

Times are `time.monotonic()` seconds, taken when the bytes came.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import msgspec
import uvloop

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Rule
from lockgate.model.topic import topic_name
from lockgate.pki.certificates import certificates_to_pem, generate_key, private_key_to_pem, spki_thumbprint

ANSWER_SECONDS = 60.0
AT_ONCE = 64
NOTICE_SECONDS = 0.5
"""After so long a running hub knows of new devices; it looks every 20 ms."""
ANY_SIZE = 268_435_460
T = TypeVar("T")


def enlist(
    home: Home,
    folder: Path,
    names: Iterable[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    rules: Mapping[str, Sequence[Rule]] | None = None,
    life_seconds: float = 86_400.0,
) -> dict[str, Path]:
    """Register devices with a certificate each, in one transaction; give the PEM file (key and chain) of each.

    Args:
        home: where to register them; a hub may run on it.
        folder: where the files go.
        names: the devices.
        groups: the groups of each device, by its name.
        rules: what each device may beyond its own tree, by its name.
        life_seconds: how long their certificates are valid.
    """
    now = time.time()
    authority = home.authority()
    folder.mkdir(parents=True, exist_ok=True)
    made: list[tuple[Device, Sequence[Rule]]] = []
    passes: dict[str, Path] = {}
    for name in names:
        key = generate_key("ec")
        leaf = authority.issue_device(name, key.public_key(), now=now, life_seconds=life_seconds)
        passes[name] = folder / f"{name}.pem"
        passes[name].write_bytes(private_key_to_pem(key) + authority.chain_pem(leaf))
        credential = Credential(
            0, name, CredentialKind.X509, certificates_to_pem(leaf).decode(), spki_thumbprint(key.public_key()), now,
            leaf.not_valid_after_utc.timestamp(),
        )  # fmt: skip
        member_of = tuple((groups or {}).get(name, ()))
        made.append((Device(name, False, now, member_of, (credential,)), (rules or {}).get(name, ())))
    with home.registry() as registry:
        registry.add_devices(made, actor="fleet", now=now)
    if home.running() is not None:
        time.sleep(NOTICE_SECONDS)
    return passes


class Member(asyncio.Protocol):
    """One device's connection, and what came over it."""

    def __init__(self, name: str, connect: Connect, on_publish: Callable[[str, Publish], None]) -> None:
        self.name = name
        self.connect = connect
        self.connack: Connack | None = None
        self.goodbye: Disconnect | None = None
        self.heard = 0
        self.last_heard_at = 0.0
        self.last_byte_at = 0.0
        self.closed_at: float | None = None
        self.answered: asyncio.Future[Connack | None] = asyncio.get_running_loop().create_future()
        self.waiting: dict[str, asyncio.Future[Packet]] = {}
        self._on_publish = on_publish
        self._buffer = b""
        self.transport: asyncio.Transport

    @property
    def silent_at(self) -> float | None:
        """When the last byte came or the connection ended, whichever was later; None while it is open."""
        return None if self.closed_at is None else max(self.closed_at, self.last_byte_at)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is established: ask to be let in."""
        self.transport = cast(asyncio.Transport, transport)
        self.send(self.connect)

    def data_received(self, data: bytes) -> None:
        """Take what came, packet by packet."""
        self.last_byte_at = time.monotonic()
        self._buffer += data
        start = 0
        while (found := wire.decode(self._buffer, start, V5, ANY_SIZE)) is not None:
            packet, start = found
            self._take(packet)
        self._buffer = self._buffer[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, however it ended."""
        self.closed_at = time.monotonic()
        if not self.answered.done():
            self.answered.set_result(None)
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.name} lost its connection"))

    def send(self, packet: Packet) -> None:
        """Send one packet, unless the connection is over."""
        if self.closed_at is None:
            self.transport.write(wire.encode(packet, V5))

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self.heard += 1
            self.last_heard_at = self.last_byte_at
            if packet.qos:
                self.send(Puback(packet.packet_id))
            self._on_publish(self.name, packet)
        elif isinstance(packet, Connack):
            self.connack = packet
            self.answered.set_result(packet)
        elif isinstance(packet, Disconnect):
            self.goodbye = packet
        else:
            future = self.waiting.pop(type(packet).__name__, None)
            if future is not None and not future.done():
                future.set_result(packet)


class Fleet:
    """Devices and their connections. All methods are for other threads than its own.

    Args:
        port: MQTT over TLS, on this machine.
        ca: the root certificate.
        passes: the PEM file of each device.
        expiry_seconds: how long sessions wait for their device.
        on_publish: called in the fleet's thread with each message: who heard it, and the packet.
    """

    def __init__(
        self,
        port: int,
        ca: Path,
        passes: Mapping[str, Path],
        *,
        expiry_seconds: int = 0,
        on_publish: Callable[[str, Publish], None] = lambda _name, _publish: None,
    ) -> None:
        self.members: dict[str, Member] = {}
        self._port = port
        self._ca = ca
        self._passes = dict(passes)
        self._expiry_seconds = expiry_seconds
        self._on_publish = on_publish
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._chatter: list[asyncio.Task[None]] = []

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connect(self, names: Iterable[str] | None = None) -> dict[str, Connack | None]:
        """Connect devices, all by default, some at a time; give the answer that each got, None for a closed door."""
        return self._call(self._connect_all(list(self._passes if names is None else names)))

    def renew(self, name: str, pem: Path) -> Connack | None:
        """Have a device come again with another key and certificate; its connection of before is taken over."""
        self._passes[name] = pem
        self._contexts.pop(name, None)
        return self.connect([name])[name]

    def subscribe(self, name: str, topic_filter: str, qos: int = 1) -> None:
        """Subscribe one device."""
        answer = self._call(self._ask(name, Subscribe(1, (SubscriptionRequest(topic_filter, qos),)), Suback))
        assert answer.codes == (qos,), (name, answer)

    def subscribe_all(self, filters: Mapping[str, str], qos: int = 0) -> None:
        """Subscribe many devices, each to its filter."""

        async def ask_all() -> None:
            asked = [
                self._ask(name, Subscribe(1, (SubscriptionRequest(text, qos),)), Suback)
                for name, text in filters.items()
            ]
            for answer in await asyncio.gather(*asked):
                assert answer.codes == (qos,), answer

        self._call(ask_all())

    def publish(self, name: str, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish by one device; at QoS 1 it comes back with the PUBACK."""
        packet = Publish(topic_name(topic), payload, qos, retain, False, min(qos, 1))
        if qos:
            self._call(self._ask(name, packet, Puback))
        else:
            self._loop.call_soon_threadsafe(self.members[name].send, packet)

    def are_alive(self, names: Iterable[str]) -> list[str]:
        """Ask devices' connections whether they live (PINGREQ); give those that answered."""

        async def ask_all() -> list[str]:
            found = [name for name in names if self.members[name].closed_at is None]
            asked = [self._ask(name, Pingreq(), Pingresp) for name in found]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            return [name for name, answer in zip(found, answers, strict=True) if isinstance(answer, Pingresp)]

        return self._call(ask_all())

    def chat(self, per_second: float, say: Callable[[int], Sequence[tuple[str, str, bytes]]]) -> None:
        """Publish at QoS 0 from now on: `say` gives (who, topic, payload) of the n-th turn."""

        async def talk() -> None:
            turn = 0
            begun = time.monotonic()
            while True:
                for name, topic, payload in say(turn):
                    self.members[name].send(Publish(topic_name(topic), payload))
                turn += 1
                await asyncio.sleep(max(0.0, begun + turn / per_second - time.monotonic()))

        async def begin() -> None:
            self._chatter.append(asyncio.ensure_future(talk()))

        self._call(begin())

    def hush(self) -> None:
        """End what `chat` began."""

        async def end() -> None:
            for task in self._chatter:
                task.cancel()
            self._chatter.clear()

        self._call(end())

    # In the fleet's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ANSWER_SECONDS)

    async def _stop(self) -> None:
        for task in self._chatter:
            task.cancel()
        for member in self.members.values():
            if member.closed_at is None:
                member.transport.abort()
        await asyncio.sleep(0)

    async def _connect_all(self, names: list[str]) -> dict[str, Connack | None]:
        slots = asyncio.Semaphore(AT_ONCE)
        answers = await asyncio.gather(*(self._connect(name, slots) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _connect(self, name: str, slots: asyncio.Semaphore) -> Connack | None:
        expiry = Properties(session_expiry_interval=self._expiry_seconds)
        connect = Connect(V5, name, clean_start=not self._expiry_seconds, keep_alive_seconds=0, properties=expiry)
        async with slots:
            member = Member(name, connect, self._on_publish)
            try:
                await self._loop.create_connection(
                    lambda: member, "127.0.0.1", self._port, ssl=self._context(name), server_hostname="localhost"
                )
            except OSError:
                return None
            self.members[name] = member
            return await asyncio.wait_for(member.answered, ANSWER_SECONDS)

    def _context(self, name: str) -> ssl.SSLContext:
        context = self._contexts.get(name)
        if context is None:
            context = self._contexts[name] = ssl.create_default_context(cafile=str(self._ca))
            context.load_cert_chain(self._passes[name])
        return context

    async def _ask(self, name: str, packet: Packet, kind: type[T]) -> T:
        member = self.members[name]
        future: asyncio.Future[Packet] = self._loop.create_future()
        member.waiting[kind.__name__] = future
        member.send(packet)
        answer = await asyncio.wait_for(future, ANSWER_SECONDS)
        assert isinstance(answer, kind)
        return answer


class Spread(msgspec.Struct, frozen=True):
    """How a number of times are spread, in milliseconds."""

    count: int
    median: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Spread:
        """Give the spread of times in seconds; the 99th percentile is the least that 99 % do not exceed."""
        ordered = sorted(1000 * each for each in seconds)
        assert ordered, "no times"
        count = len(ordered)
        rank = -(-99 * count // 100) - 1
        return cls(count, ordered[count // 2], ordered[rank], ordered[-1])
