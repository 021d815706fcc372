"""Clients that come and go by the thousand: connect, subscribe, publish, vanish, each in a way of its own.

A `Link` is one MQTT connection over TLS on asyncio, cheap enough for hundreds of lives a second; what the hub sends is
judged to the last bit by the conformance tests' own codec.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt
import msgspec

from lockgate.client.options import tls_context, user_and_secret
from lockgate.provision.folder import read_folder
from tests.conformance import codec
from tests.conformance.codec import V5, V311, Connack, Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Will

ANSWER_SECONDS = 30.0
RESIDENTS = 24
"""How many clients have a session that stays."""
TOPICS = 500
"""How many topics there are; one in five holds a retained message at the end."""
RETAINED_EACH = 5
DAY = 86_400

P = TypeVar("P", bound=Packet)


class Pass(msgspec.Struct, frozen=True):
    """A device's way in: name, what it shows, and the context with its certificate."""

    name: str
    secret: tuple[str, str] | None
    tls: Any
    port: int

    @classmethod
    def of(cls, folder: Path, port: int) -> Pass:
        """Read a device's folder."""
        facts = read_folder(folder)
        return cls(facts.name, user_and_secret(folder, facts, 3600), tls_context(folder, facts), port)


class Link:
    """One connection; `cut` loses it, `goodbye` ends it. It settles what comes, unless `settles` is False."""

    def __init__(self, version: int = V5, *, settles: bool = True) -> None:
        self.version = version
        self.settles = settles
        self.heard = 0
        self._waiting: dict[tuple[object, int], asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._task: asyncio.Task[None] | None = None

    async def open(self, entry: Pass) -> None:
        """Connect the socket, and shake hands."""
        self._reader, self._writer = await asyncio.open_connection("localhost", entry.port, ssl=entry.tls)
        self._task = asyncio.create_task(self._read())

    async def connect(self, entry: Pass, suffix: str, *, stays: bool = False, will: Will | None = None) -> Connack:
        """Connect as NAME/SUFFIX; give the CONNACK. `stays`: with a session that waits for the client."""
        await self.open(entry)
        user, password = entry.secret or (None, None)
        properties = {"session_expiry_interval": DAY} if stays and self.version == V5 else {}
        said = codec.connect(
            self.version, f"{entry.name}/{suffix}", clean=not stays, will=will, user=user, password=password,
            properties=properties,
        )  # fmt: skip
        return await self._ask(said, Connack)

    async def subscribe(self, *filters: str, qos: int = 1) -> Suback:
        """Subscribe; give the SUBACK."""
        number = next(self._ids)
        pairs = [(each, qos) for each in filters]
        return await self._ask(codec.subscribe(self.version, number, pairs), Suback, number)

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> int:
        """Publish, and see it through; give the code of the first answer."""
        number = next(self._ids) if qos else 0
        said = codec.publish(self.version, topic, payload, qos=qos, retain=retain, packet_id=number or None)
        if not qos:
            self._writer.write(said)
            return 0
        if qos == 1:
            return (await self._ask(said, Puback, number)).code
        code = (await self._ask(said, Pubrec, number)).code
        if code < 0x80:
            await self._ask(codec.ack(self.version, codec.PUBREL, number), Pubcomp, number)
        return code

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def end(self) -> None:
        """Wait until the hub closes."""
        assert self._task is not None
        await asyncio.wait_for(asyncio.shield(self._task), ANSWER_SECONDS)

    async def goodbye(self) -> None:
        """Say DISCONNECT, and see the hub close."""
        self._writer.write(codec.disconnect(self.version))
        await self.end()
        self.cut()

    def cut(self) -> None:
        """Lose the connection."""
        if self._task is not None:
            self._task.cancel()
            self._writer.transport.abort()

    async def _ask(self, said: bytes, kind: type[P], number: int = 0) -> P:
        answer: asyncio.Future[P] = asyncio.get_running_loop().create_future()
        self._waiting[kind, number] = answer
        self._writer.write(said)
        return await asyncio.wait_for(answer, ANSWER_SECONDS)

    async def _read(self) -> None:
        data = b""
        try:
            while more := await self._reader.read(65_536):
                data += more
                while (found := codec.next_frame(data)) is not None:
                    kind, flags, body, size = found
                    data = data[size:]
                    self._take(codec.decode(kind, flags, body, self.version))
        except OSError:
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the hub closed the connection"))
                    answer.exception()
            self._waiting.clear()

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self.heard += 1
            if packet.qos and self.settles:
                kind = codec.PUBACK if packet.qos == 1 else codec.PUBREC
                self._writer.write(codec.ack(self.version, kind, packet.packet_id))
        elif isinstance(packet, Pubrel):
            self._writer.write(codec.ack(self.version, codec.PUBCOMP, packet.packet_id))
        else:
            answer = self._waiting.pop((type(packet), getattr(packet, "packet_id", 0)), None)
            if answer is not None and not answer.done():
                answer.set_result(packet)


class Crowd:
    """All the lives of a soak. `run` lives them, some at a time, until it is told to stop; `done` counts what was done.

    Args:
        passes: the ways in of devices that may do all under soak/#.
        impostor: a way in whose secret is wrong.
        seed: what decides the order of things.
    """

    def __init__(self, passes: list[Pass], impostor: Pass, seed: int) -> None:
        self.passes = passes
        self.impostor = impostor
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.is_over = False
        self._names = itertools.count()
        self._residents = [asyncio.Lock() for _ in range(RESIDENTS)]

    async def run(self, width: int, pause_seconds: float) -> None:
        """Live `width` lives at a time, with a pause between two of them, until `is_over`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(self._live(pause_seconds))

    async def _live(self, pause_seconds: float) -> None:
        lives: dict[Callable[[], Awaitable[None]], int] = {
            self.visitor: 6, self.resident: 4, self.mourned: 3, self.sharer: 3, self.twins: 2, self.deaf: 1,
            self.refused: 1, self.overreaching: 1, self.babbling: 1, self.of_a_library: 2,
        }  # fmt: skip
        while not self.is_over:
            life = self.chance.choices(list(lives), list(lives.values()))[0]
            await life()
            self.done[f"lives: {life.__name__}"] += 1
            await asyncio.sleep(self.chance.uniform(0, 2 * pause_seconds))

    def entry(self) -> Pass:
        """Give one of the ways in."""
        return self.chance.choice(self.passes)

    def fresh(self) -> str:
        """Give a suffix that no client had before."""
        return f"v{next(self._names)}"

    def version(self) -> int:
        """Give a version."""
        return self.chance.choice((V5, V311))

    async def talk(self, link: Link, messages: int) -> None:
        """Publish that many messages: any topic, any QoS, one in four retained."""
        for _ in range(messages):
            number, qos = self.chance.randrange(TOPICS), self.chance.randrange(3)
            keeps = number % RETAINED_EACH == 0 and self.chance.random() < 0.7
            payload = self.chance.randbytes(self.chance.randrange(1, 600))
            await link.publish(topic(number), payload, qos, retain=keeps)
            self.done["published"] += 1

    async def visitor(self) -> None:
        """A client with a new name: listens, speaks, and goes with or without a word."""
        link = Link(self.version())
        await link.connect(self.entry(), self.fresh())
        await link.subscribe(f"soak/{self.chance.randrange(10)}/#", topic(self.chance.randrange(TOPICS)), qos=2)
        await self.talk(link, 8)
        await self._go(link)

    async def resident(self) -> None:
        """A client whose session stays: what it missed comes, and it leaves in the middle of it."""
        number = self.chance.randrange(RESIDENTS)
        async with self._residents[number]:
            link = await self.come_home(number)
            await self.talk(link, 4)
            await self._go(link)

    async def come_home(self, number: int, *, settles: bool = True) -> Link:
        """Give the resident of that number, connected and subscribed as it always is."""
        link = Link((V5, V311)[number % 2], settles=settles)
        await link.connect(self.passes[number % len(self.passes)], f"resident-{number}", stays=True)
        await link.subscribe(f"soak/{number % 10}/+", "$share/residents/soak/3/#", qos=number % 3)
        return link

    async def mourned(self) -> None:
        """A client with a will, which goes out."""
        number = self.chance.randrange(0, TOPICS, RETAINED_EACH)
        will = Will(topic(number), b"gone", self.chance.randrange(3), retain=True)
        if self.chance.random() < 0.3:
            will = Will(topic(number), b"gone", 1, True, {"will_delay_interval": 2})
        link = Link(V5 if will.properties else self.version())
        await link.connect(self.entry(), self.fresh(), will=will)
        await self.talk(link, 2)
        link.cut()
        self._count(link)
        self.done["wills"] += 1

    async def sharer(self) -> None:
        """A member of a share that is cut with messages in flight."""
        link = Link(self.version(), settles=self.chance.random() < 0.5)
        await link.connect(self.entry(), self.fresh())
        await link.subscribe("$share/crew/soak/5/#", "$share/crew/soak/6/#", qos=2)
        await self.talk(link, 4)
        await self._go(link)

    async def twins(self) -> None:
        """Two connections of one client: the second takes the session over."""
        number = self.chance.randrange(RESIDENTS)
        async with self._residents[number]:
            first = await self.come_home(number, settles=False)
            second = await self.come_home(number)
            await first.end()
            await self.talk(second, 2)
            first.cut()
            await self._go(second)

    async def deaf(self) -> None:
        """A client that hears everything, and settles nothing."""
        link = Link(V5, settles=False)
        await link.connect(self.entry(), self.fresh())
        await link.subscribe("soak/#", qos=2)
        await self.talk(link, 30)
        link.cut()
        self._count(link)

    async def refused(self) -> None:
        """A client with a wrong secret."""
        link = Link(self.version())
        answer = await link.connect(self.impostor, self.fresh())
        assert answer.code != 0
        link.cut()
        self.done["refused"] += 1

    async def overreaching(self) -> None:
        """A client that asks for what no rule allows."""
        link = Link(V5)
        await link.connect(self.entry(), self.fresh())
        assert (await link.subscribe("elsewhere/#")).codes == (0x87,)
        assert await link.publish("elsewhere/x", b"hello", 1) == 0x87
        await self._go(link)
        self.done["refused"] += 2

    async def babbling(self) -> None:
        """What is no client: bytes at random, at one of three moments."""
        link = Link(V5)
        if self.chance.random() < 0.5:
            await link.connect(self.entry(), self.fresh())
        else:
            await link.open(self.entry())
        if self.chance.random() < 0.7:
            link.send_raw(b"\x00" + self.chance.randbytes(self.chance.randrange(1, 2000)))
            await link.end()
        link.cut()
        self.done["refused"] += 1

    async def of_a_library(self) -> None:
        """A client that a library makes."""
        entry = self.entry()
        user, password = entry.secret or (None, None)
        with contextlib.suppress(aiomqtt.MqttError):  # it may be cut off by its own messages' end
            async with aiomqtt.Client(
                "localhost", entry.port, identifier=f"{entry.name}/{self.fresh()}", username=user, password=password,
                tls_context=entry.tls, protocol=aiomqtt.ProtocolVersion(self.version()), timeout=ANSWER_SECONDS,
            ) as client:  # fmt: skip
                await client.subscribe(f"soak/{self.chance.randrange(10)}/#", 1)
                for qos in (0, 1, 2):
                    await client.publish(topic(self.chance.randrange(TOPICS)), b"hello", qos)
                self.done["published"] += 3
                self.done["connected"] += 1

    async def settle(self) -> None:
        """Bring things to where they can be counted: every resident at home once, every retained topic as it should."""
        for number in range(RESIDENTS):
            link = await self.come_home(number)
            await link.goodbye()
        link = Link()
        await link.connect(self.passes[0], "last")
        for number in range(0, TOPICS, RETAINED_EACH):
            await link.publish(topic(number), b"at the end", 1, retain=True)
        await link.goodbye()

    async def _go(self, link: Link) -> None:
        self._count(link)
        if self.chance.random() < 0.5:
            await link.goodbye()
        else:
            link.cut()

    def _count(self, link: Link) -> None:
        self.done["connected"] += 1
        self.done["heard"] += link.heard


def topic(number: int) -> str:
    """Give the topic of that number."""
    return f"soak/{number % 10}/{number}"


def retained_topics() -> int:
    """Give how many topics hold a message at the end."""
    return len(range(0, TOPICS, RETAINED_EACH))
