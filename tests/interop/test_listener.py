"""The listener on loopback sockets, with the standard library's and OpenSSL's clients at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import ssl
import struct
import subprocess
import weakref
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import cast

import msgspec
import pytest
import uvloop
from structlog.testing import capture_logs

from lockgate.errors import InvalidSettings, Step, Unavailable
from lockgate.net.context import TlsContexts
from lockgate.net.failures import TlsFailure, TlsReason
from lockgate.net.link import Address, Link, NetLimits, StreamHandler
from lockgate.net.listener import ACCEPTED_PER_TURN, Listener
from lockgate.net.streams import Census, TlsLink
from tests.support.certificates import Authority, self_signed
from tests.support.tls import client_context

HUB_CA = Authority("Hub CA")
DEADLINE_SECONDS = 20.0


class Echo(StreamHandler):
    """A handler that answers in two writes, and remembers what happened to it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.link: Link
        self.happened: list[str] = []
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, link: Link) -> None:
        self.link = link
        self._room.handlers.append(self)
        self.happened.append("made")

    def data_received(self, data: bytes) -> None:
        if data == b"raise":
            raise RuntimeError("a bug in the door")
        if data == b"close":
            self.link.write(b"goodbye")
            self.link.close()
            return
        if data == b"wait":
            self.link.pause_reading()
            return
        if data == b"large":
            self.link.write(bytes(20_000_000))
            return
        self.link.write(b"heard ")
        self.link.write(data)

    def eof_received(self) -> None:
        self.happened.append("eof")

    def pause_writing(self) -> None:
        self.happened.append("pause")

    def resume_writing(self) -> None:
        self.happened.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.happened.append("lost")
        self.ended.set_result(error)


class Room:
    """One listener with what it told us."""

    def __init__(self, folder: Path) -> None:
        certificate, key = HUB_CA.issue("hub", names=["localhost", "127.0.0.1"], purpose="server").write(
            folder, "server"
        )
        (folder / "ca.pem").write_bytes(HUB_CA.pem)
        self.contexts = TlsContexts(certificate, key, folder / "ca.pem")
        self.handlers: list[Echo] = []
        self.failures: asyncio.Queue[tuple[Address, TlsFailure]] = asyncio.Queue()
        self.listener: Listener

    async def open(self, is_tls: bool, **limits: float) -> Listener:
        self.listener = await Listener.open(
            "127.0.0.1",
            0,
            lambda: Echo(self),
            self.contexts if is_tls else None,
            msgspec.structs.replace(NetLimits(), **limits),
            lambda peer, failure: self.failures.put_nowait((peer, failure)),
        )
        return self.listener

    async def connect(self, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if tls else None
        return await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=tls, server_hostname=name)

    async def failure(self) -> TlsFailure:
        return (await self.failures.get())[1]


def _run(room: Room, main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        try:
            await asyncio.wait_for(main(), DEADLINE_SECONDS)
        finally:
            room.listener.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the deadline is that of the whole test."""
    while not condition():  # noqa: ASYNC110  (what it waits for has no event of its own)
        await asyncio.sleep(0.001)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.mark.parametrize("is_tls", [False, True])
def test_door_cannot_tell_plain_from_tls_but_by_the_protection(room: Room, is_tls: bool) -> None:
    async def main() -> None:
        await room.open(is_tls)
        device = HUB_CA.issue()
        reader, writer = await room.connect(client_context(HUB_CA, device) if is_tls else None)
        writer.write(b"words")
        assert await reader.readexactly(11) == b"heard words"
        handler = room.handlers[0]
        link = handler.link
        assert link.peer == Address(*writer.get_extra_info("sockname"))
        assert (link.protection is not None) is is_tls
        assert link.peer_certificate == (device.certificate if is_tls else None)
        assert link.server_name == ("localhost" if is_tls else None)
        assert link.is_name_covered
        writer.write(b"close")
        assert await reader.read() == b"goodbye"
        assert await handler.ended is None
        writer.close()
        assert handler.happened == ["made", "lost"]

    _run(room, main)


@pytest.mark.parametrize("is_tls", [False, True])
def test_end_of_the_client_is_told_once_and_answered(room: Room, is_tls: bool) -> None:
    async def main() -> None:
        await room.open(is_tls)
        reader, writer = await room.connect(client_context(HUB_CA) if is_tls else None)
        writer.write(b"words")
        assert await reader.readexactly(11) == b"heard words"
        writer.close()
        assert await room.handlers[0].ended is None
        assert room.handlers[0].happened == ["made", "eof", "lost"]

    _run(room, main)


def test_the_end_in_one_piece_with_the_last_words_is_heard_when_the_door_reads_on(room: Room) -> None:
    async def main() -> None:
        await room.open(is_tls=True)
        reader, writer = await room.connect(None)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(HUB_CA).wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        client.write(b"wait")
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        writer.write(outgoing.read())
        await until(lambda: bool(room.handlers))
        (handler,) = room.handlers
        await until(lambda: handler.link._is_paused)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        assert handler.happened == ["made"]
        handler.link.write(b"what was owed")
        handler.link.resume_reading()
        assert await handler.ended is None
        assert handler.happened == ["made", "eof", "lost"]
        incoming.write(await reader.read())
        assert client.read(100) == b"what was owed"

    _run(room, main)


@pytest.mark.parametrize("is_tls", [False, True])
def test_slow_reader_pauses_writing_and_resumes_it(room: Room, is_tls: bool) -> None:
    async def main() -> None:
        await room.open(is_tls, max_write_buffer_bytes=100_000)
        reader, writer = await room.connect(client_context(HUB_CA) if is_tls else None)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"large")
        await until(lambda: bool(room.handlers) and "pause" in room.handlers[0].happened)
        assert room.handlers[0].link.write_buffer_bytes() > 100_000
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await reader.readexactly(20_000_000)) == 20_000_000
        await until(lambda: "resume" in room.handlers[0].happened)
        writer.close()

    _run(room, main)


@pytest.mark.parametrize("is_tls", [False, True])
def test_error_in_a_handler_ends_its_link_alone(room: Room, is_tls: bool) -> None:
    async def main() -> None:
        await room.open(is_tls)
        tls = client_context(HUB_CA) if is_tls else None
        other_reader, other_writer = await room.connect(tls)
        reader, writer = await room.connect(tls)
        with capture_logs() as logs:
            writer.write(b"raise")
            with pytest.raises((asyncio.IncompleteReadError, OSError)):
                await reader.readexactly(1)
        assert [(entry["event"], len(entry["reference"])) for entry in logs] == [("error.caught", 8)]
        other_writer.write(b"words")
        assert await other_reader.readexactly(11) == b"heard words"
        other_writer.close()

    _run(room, main)


def test_writes_of_one_turn_leave_as_one_record(room: Room) -> None:
    async def main() -> None:
        await room.open(True)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(HUB_CA).wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await room.connect(None)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        writer.write(outgoing.read())
        client.write(b"words")
        writer.write(outgoing.read())
        records: list[bytes] = []
        plaintext = b""
        while plaintext != b"heard words":
            header = await reader.readexactly(5)
            record = header + await reader.readexactly(struct.unpack(">H", header[3:])[0])
            incoming.write(record)
            try:
                plaintext += client.read(100)
            except ssl.SSLWantReadError:
                continue  # a session ticket
            records.append(record)
        assert len(records) == 1
        writer.close()

    _run(room, main)


@pytest.mark.parametrize("said", [b"hello", b"wait"])
def test_what_the_handshake_ends_with_leaves_with_the_answer_or_without(room: Room, said: bytes) -> None:
    async def main() -> None:
        await room.open(is_tls=True)
        reader, writer = await room.connect(None)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(HUB_CA).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(outgoing.read())
        while not client.version() or outgoing.pending == 0:
            incoming.write(await reader.read(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
        client.write(said)  # in one piece with what ends the handshake, as devices' libraries do
        writer.write(outgoing.read())
        answer = await reader.read(65_536)
        records = []
        while answer:
            length = int.from_bytes(answer[3:5], "big")
            records.append(length)
            incoming.write(answer[: 5 + length])
            answer = answer[5 + length :]
        if said == b"hello":
            assert client.read(100) == b"heard hello"
            assert records.pop() < 50
        assert records, "session tickets"
        assert all(each > 150 for each in records)
        writer.close()

    _run(room, main)


def test_what_openssl_holds_is_freed_when_the_connection_ends_and_not_when_the_collector_comes(room: Room) -> None:
    async def main() -> None:
        await room.open(is_tls=True)
        _, writer = await room.connect(client_context(HUB_CA))
        writer.write(b"hello")
        await until(lambda: bool(room.handlers))
        (handler,) = room.handlers  # it has the link, as the link had it, and lives on
        link = handler.link
        assert isinstance(link, TlsLink)
        engine = weakref.ref(link._stream._records._ssl)
        assert engine() is not None
        gc.disable()
        try:
            writer.close()
            await handler.ended
            assert engine() is None
        finally:
            gc.enable()

    _run(room, main)


def test_refused_certificate_is_reported_and_the_alert_reaches_the_client(room: Room) -> None:
    async def main() -> None:
        await room.open(True)
        reader, writer = await room.connect(client_context(HUB_CA, self_signed("impostor")))
        # In TLS 1.3 the client is done before the server has seen its certificate: these bytes must not turn the
        # alert into a reset.
        writer.write(b"a CONNECT that nobody reads" * 100)
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            await reader.read()
        failure = await room.failure()
        assert failure.reason is TlsReason.SELF_SIGNED
        assert "'impostor'" in failure.message
        assert room.handlers == []
        writer.close()

    _run(room, main)


def test_handshake_has_a_deadline(room: Room) -> None:
    async def main() -> None:
        await room.open(True, handshake_deadline_seconds=0.05)
        reader, writer = await room.connect(None)
        writer.write(b"\x16\x03\x01")
        assert await reader.read() == b""
        failure = await room.failure()
        assert failure.reason is TlsReason.HANDSHAKE_TIMEOUT
        assert "3 bytes came" in failure.message
        writer.close()

    _run(room, main)


@pytest.mark.parametrize("is_reset", [False, True])
def test_client_that_leaves_during_the_handshake_is_reported(room: Room, is_reset: bool) -> None:
    async def main() -> None:
        await room.open(True)
        _, writer = await room.connect(None)
        writer.write(b"\x16\x03\x01")
        await writer.drain()
        if is_reset:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        assert (await room.failure()).reason is TlsReason.CLIENT_GAVE_UP
        await until(lambda: not room.listener.connection_count)
        assert room.failures.empty()

    _run(room, main)


def test_plain_text_on_the_tls_port_is_reported_as_what_it_is(room: Room) -> None:
    async def main() -> None:
        await room.open(True)
        reader, writer = await room.connect(None)
        writer.write(b"\x10\x0c\x00\x04MQTT\x04\x02\x00<\x00\x00")
        assert await reader.read() == b""
        assert "MQTT CONNECT in plain text" in (await room.failure()).message
        writer.close()

    _run(room, main)


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
def test_connections_beyond_the_limit_are_refused_until_one_leaves(room: Room, limit: str) -> None:
    async def main() -> None:
        await room.open(False, **{limit: 1})
        reader, writer = await room.connect(None)
        writer.write(b"in")
        assert await reader.readexactly(8) == b"heard in"
        second_reader, second_writer = await room.connect(None)
        assert await second_reader.read() == b""
        second_writer.close()
        failure = await room.failure()
        assert (failure.reason, failure.step) == (TlsReason.TOO_MANY_CONNECTIONS, Step.TCP)
        assert limit in failure.fix
        writer.close()
        await until(lambda: not room.listener.connection_count)
        third_reader, third_writer = await room.connect(None)
        third_writer.write(b"in")
        assert await third_reader.readexactly(8) == b"heard in"
        third_writer.close()

    _run(room, main)


def test_closed_link_ends_even_when_the_client_never_does(room: Room) -> None:
    async def main() -> None:
        await room.open(False, close_deadline_seconds=0.05)
        reader, writer = await room.connect(None)
        writer.write(b"close")
        assert await _handler_end(room) is None
        assert await reader.read() == b"goodbye"
        await until(lambda: not room.listener.connection_count)  # the client has not closed its side
        writer.close()

    _run(room, main)


async def _handler_end(room: Room) -> Exception | None:
    await until(lambda: bool(room.handlers))
    return await room.handlers[0].ended


def test_reload_serves_new_connections_and_keeps_live_ones(room: Room, tmp_path: Path) -> None:
    async def main() -> None:
        await room.open(True)
        reader, writer = await room.connect(client_context(HUB_CA))
        old = writer.get_extra_info("ssl_object").getpeercert(True)
        HUB_CA.issue("hub", names=["localhost"], purpose="server").write(tmp_path, "server")
        room.contexts.reload()
        _, new_writer = await room.connect(client_context(HUB_CA))
        assert new_writer.get_extra_info("ssl_object").getpeercert(True) != old
        new_writer.close()
        writer.write(b"words")
        assert await reader.readexactly(11) == b"heard words"
        writer.close()

    _run(room, main)


def test_accepted_sockets_send_at_once_and_are_kept_alive(room: Room) -> None:
    async def main() -> None:
        await room.open(False)
        reader, writer = await room.connect(None)
        writer.write(b"in")
        await reader.readexactly(8)
        with socket.socket(fileno=os.dup(room.handlers[0].link.number)) as accepted:  # type: ignore[attr-defined]
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not os.get_blocking(accepted.fileno())
        writer.close()

    _run(room, main)


def test_a_turn_takes_in_so_many_of_those_that_wait(room: Room) -> None:
    async def main() -> None:
        listener = await room.open(False)
        # Without a turn of the loop between them: all of them wait in the backlog.
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(3 * ACCEPTED_PER_TURN)]
        counts = [0]
        while counts[-1] < len(clients):
            await asyncio.sleep(0)
            counts.append(listener.connection_count)
        assert max(after - before for before, after in pairwise(counts)) <= ACCEPTED_PER_TURN
        for client in clients:
            client.close()

    _run(room, main)


def test_without_a_descriptor_left_the_listener_says_so_and_tries_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Poor:
        """A listening socket that finds no descriptor at first."""

        def __init__(self, real: socket.socket) -> None:
            self.real, self.is_poor = real, True

        def fileno(self) -> int:
            return self.real.fileno()

        def accept(self) -> tuple[socket.socket, object]:
            if self.is_poor:
                self.is_poor = False
                raise OSError(errno.EMFILE, "Too many open files")
            return self.real.accept()

        def close(self) -> None:
            self.real.close()

    async def main() -> None:
        monkeypatch.setattr("lockgate.net.listener._ACCEPT_PAUSE_SECONDS", 0.01)
        listener = await room.open(False)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener._sockets[0])
        listener._sockets[0] = cast(socket.socket, Poor(listener._sockets[0]))
        listener._accept_from(listener._sockets[0])
        with capture_logs() as logs:
            reader, writer = await room.connect(None)
            writer.write(b"in")
            await reader.readexactly(8)
        assert [line["log_level"] for line in logs] == ["error"]
        assert "Too many open files" in logs[0]["error"]
        writer.close()

    _run(room, main)


def test_taken_port_is_named_with_its_owner(room: Room) -> None:
    async def main() -> None:
        listener = await room.open(False)
        with pytest.raises(Unavailable, match=rf"port {listener.port} is taken by .*\(process {os.getpid()}\)"):
            await Listener.open("127.0.0.1", listener.port, lambda: Echo(room), None, NetLimits(), lambda *_: None)

    _run(room, main)


def test_address_of_another_machine_is_refused(room: Room) -> None:
    async def main() -> None:
        await room.open(False)
        with pytest.raises(InvalidSettings, match=r"192\.0\.2\.77"):
            await Listener.open("192.0.2.77", 0, lambda: Echo(room), None, NetLimits(), lambda *_: None)

    _run(room, main)


def test_both_families_share_one_free_port(room: Room) -> None:
    async def main() -> None:
        await room.open(False)
        both = await Listener.open(["127.0.0.1", "::1"], 0, lambda: Echo(room), None, NetLimits(), lambda *_: None)
        assert {address.port for address in both.addresses} == {both.port}
        assert both.addresses[0].host == "127.0.0.1"
        both.close()

    _run(room, main)


@pytest.mark.requirement("T9")
def test_tickets_never_allow_early_data(room: Room, tmp_path: Path) -> None:
    """RFC 8446 section 8: 0-RTT data can be replayed, and a command must not be."""

    async def main() -> None:
        await room.open(True)
        session, early = tmp_path / "session", tmp_path / "early"
        early.write_bytes(b"open the door")
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{room.listener.port}", "-servername", "localhost"]
        command += ["-tls1_3", "-CAfile", str(tmp_path / "ca.pem"), "-ign_eof"]
        first = await _openssl([*command, "-sess_out", str(session)])
        assert "Max Early Data: 0" in first
        again = await _openssl([*command, "-sess_in", str(session), "-early_data", str(early)])
        assert "Reused, TLSv1.3" in again
        assert "Early data was not sent" in again

    _run(room, main)


async def _openssl(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate(b"close")
    return output.decode(errors="replace")


def test_two_listeners_can_have_one_limit_together(room: Room) -> None:
    async def main() -> None:
        limits, census = NetLimits(max_connections=1), Census()

        async def open_one() -> Listener:
            return await Listener.open(
                "127.0.0.1",
                0,
                lambda: Echo(room),
                None,
                limits,
                lambda *failed: room.failures.put_nowait(failed),
                census,
            )

        room.listener, other = await open_one(), await open_one()
        reader, first = await room.connect(None)
        first.write(b"in")
        assert await reader.readexactly(8) == b"heard in"
        refused, second = await asyncio.open_connection("127.0.0.1", other.port)
        assert await refused.read() == b""
        assert (await room.failure()).reason == TlsReason.TOO_MANY_CONNECTIONS
        first.close()
        await until(lambda: not room.listener.connection_count)
        reader, third = await asyncio.open_connection("127.0.0.1", other.port)
        third.write(b"in")
        assert await reader.readexactly(8) == b"heard in"
        for each in (second, third, other):
            each.close()

    _run(room, main)
