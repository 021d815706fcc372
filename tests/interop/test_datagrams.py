"""The listener for plain UDP on loopback sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from structlog.testing import capture_logs

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.net.datagrams import DatagramHandler, DatagramLimits, DatagramLink, DatagramListener
from lockgate.net.udp import MAX_DATAGRAM_BYTES

DEADLINE_SECONDS = 20.0


class Echo(DatagramHandler):
    """A handler that answers, and remembers what happened to it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.link: DatagramLink
        self.heard: list[tuple[bytes, bool]] = []
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def link_made(self, link: DatagramLink) -> None:
        self.link = link
        self._room.handlers.append(self)

    def datagram_received(self, data: bytes, is_multicast: bool) -> None:
        self.heard.append((data, is_multicast))
        if data == b"raise":
            raise RuntimeError("a bug in the door")
        self.link.send(b"heard " + data)

    def link_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


class Room:
    """A listener with its handlers."""

    def __init__(self) -> None:
        self.handlers: list[Echo] = []
        self.listener: DatagramListener

    async def open(self, hosts: list[str], limits: DatagramLimits | None = None) -> None:
        self.listener = await DatagramListener.open(hosts, 0, lambda: Echo(self), limits or DatagramLimits())


class Peer(asyncio.DatagramProtocol):
    """A client: sends, and waits for what comes."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport
        self._came: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> Peer:
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_datagram_endpoint(cls, local_addr=(host, 0))
        peer.transport = transport
        return peer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._came.put_nowait((data, addr))

    async def ask(self, data: bytes, host: str, port: int) -> tuple[bytes, str]:
        self.transport.sendto(data, (host, port))
        answer, (source, *_) = await self._came.get()
        return answer, source


def run(scene: Callable[[Room], Awaitable[None]]) -> None:
    async def within() -> None:
        room = Room()
        try:
            await asyncio.wait_for(scene(room), DEADLINE_SECONDS)
        finally:
            room.listener.close()

    uvloop.run(within())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_remote_address_has_a_handler_of_its_own(host: str) -> None:
    async def scene(room: Room) -> None:
        await room.open([host])
        one, two = await Peer.open(host), await Peer.open(host)
        port = room.listener.port
        assert await one.ask(b"a", host, port) == (b"heard a", host)
        assert await two.ask(b"b", host, port) == (b"heard b", host)
        assert await one.ask(b"c", host, port) == (b"heard c", host)
        assert [each.heard for each in room.handlers] == [[(b"a", False), (b"c", False)], [(b"b", False)]]
        assert room.handlers[0].link.peer.port == one.transport.get_extra_info("sockname")[1]
        assert room.handlers[0].link.protection is None
        assert room.listener.connection_count == room.listener.traffic.accepted == 2
        assert room.listener.traffic.received_bytes == 3
        assert room.listener.traffic.sent_bytes == 21

    run(scene)


def test_answer_leaves_from_the_address_that_was_asked() -> None:
    async def scene(room: Room) -> None:
        await room.open(["0.0.0.0"])
        peer = await Peer.open()
        assert await peer.ask(b"a", "127.0.0.2", room.listener.port) == (b"heard a", "127.0.0.2")
        assert await peer.ask(b"b", "127.0.0.3", room.listener.port) == (b"heard b", "127.0.0.3")

    run(scene)


def test_answer_over_ipv6_leaves_from_the_address_that_was_asked() -> None:
    async def scene(room: Room) -> None:
        await room.open(["::", "0.0.0.0"])
        six, four = await Peer.open("::1"), await Peer.open()
        assert await six.ask(b"a", "::1", room.listener.port) == (b"heard a", "::1")
        assert await four.ask(b"b", "127.0.0.1", room.listener.port) == (b"heard b", "127.0.0.1")
        assert [each.link.peer.host for each in room.handlers] == ["::1", "127.0.0.1"]

    run(scene)


def test_datagram_to_a_group_is_told_as_such_and_answered_from_a_unicast_address() -> None:
    async def scene(room: Room) -> None:
        await room.open(["0.0.0.0"])
        try:
            room.listener.join(["224.0.1.187"])
        except InvalidSettings as error:
            if "no interface" not in str(error):
                raise
            pytest.skip("no interface here can join a multicast group")
        peer = await Peer.open()
        own = peer.transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        answer, source = await peer.ask(b"anyone?", "224.0.1.187", room.listener.port)
        assert answer == b"heard anyone?"
        assert source.startswith("127.")
        assert room.handlers[0].heard == [(b"anyone?", True)]

    run(scene)


def test_group_needs_a_door_on_the_wildcard_address() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"])
        with pytest.raises(InvalidSettings, match=r"0\.0\.0\.0"):
            room.listener.join(["224.0.1.187"])
        with pytest.raises(InvalidSettings, match="::"):
            room.listener.join(["ff02::fd"])

    run(scene)


def test_link_that_was_quiet_the_longest_gives_way() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"], DatagramLimits(max_links=2))
        port = room.listener.port
        one, two, three = [await Peer.open() for _ in range(3)]
        await one.ask(b"a", "127.0.0.1", port)
        await two.ask(b"b", "127.0.0.1", port)
        await one.ask(b"c", "127.0.0.1", port)
        await three.ask(b"d", "127.0.0.1", port)
        error = await room.handlers[1].ended
        assert isinstance(error, Unavailable)
        assert error.reason == "gave way"
        assert not room.handlers[0].ended.done()
        assert room.listener.connection_count == 2

    run(scene)


def test_address_with_too_many_links_pushes_out_its_own() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"], DatagramLimits(max_links=3, max_links_per_address=2))
        port = room.listener.port
        other = await Peer.open("127.0.0.2")
        await other.ask(b"a", "127.0.0.1", port)
        for _ in range(5):
            await (await Peer.open()).ask(b"b", "127.0.0.1", port)
        assert room.listener.connection_count == 3
        assert not room.handlers[0].ended.done()
        error = await room.handlers[1].ended
        assert isinstance(error, Unavailable)
        assert "max_connections_per_address" in error.fix

    run(scene)


def test_quiet_link_ends_and_its_address_may_come_again() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"], DatagramLimits(idle_seconds=60))
        peer = await Peer.open()
        await peer.ask(b"a", "127.0.0.1", room.listener.port)
        room.listener.handle_timer(asyncio.get_running_loop().time() + 59)
        assert room.listener.connection_count == 1
        room.listener.handle_timer(asyncio.get_running_loop().time() + 61)
        assert await room.handlers[0].ended is None
        await peer.ask(b"b", "127.0.0.1", room.listener.port)
        assert len(room.handlers) == 2

    run(scene)


def test_closed_link_sends_no_more_and_is_told_once() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"])
        peer = await Peer.open()
        await peer.ask(b"a", "127.0.0.1", room.listener.port)
        link = room.handlers[0].link
        sent = room.listener.traffic.sent_bytes
        link.close()
        link.close()
        link.send(b"too late")
        assert await room.handlers[0].ended is None
        assert room.listener.traffic.sent_bytes == sent

    run(scene)


def test_bug_in_a_door_ends_the_link_alone() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"])
        one, two = await Peer.open(), await Peer.open()
        await one.ask(b"a", "127.0.0.1", room.listener.port)
        with capture_logs() as logs:
            one.transport.sendto(b"raise", ("127.0.0.1", room.listener.port))
            assert isinstance(await room.handlers[0].ended, RuntimeError)
        assert logs[0]["event"] == "error.caught"
        assert await two.ask(b"b", "127.0.0.1", room.listener.port) == (b"heard b", "127.0.0.1")

    run(scene)


def test_too_long_a_datagram_is_dropped() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"])
        peer = await Peer.open()
        peer.transport.sendto(bytes(MAX_DATAGRAM_BYTES + 1), ("127.0.0.1", room.listener.port))
        await peer.ask(b"a", "127.0.0.1", room.listener.port)
        assert room.handlers[0].heard == [(b"a", False)]

    run(scene)


def test_taken_port_is_told_with_its_owner() -> None:
    async def scene(room: Room) -> None:
        await room.open(["127.0.0.1"])
        with pytest.raises(Unavailable, match=r"is taken by .*process"):
            await DatagramListener.open("127.0.0.1", room.listener.port, lambda: Echo(room), DatagramLimits())

    run(scene)
