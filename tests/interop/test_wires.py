"""Wires and their watch on pairs of sockets: turns are taken by hand where it matters what one of them holds."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self

import pytest
import uvloop

from lockgate.net.turn import TURN
from lockgate.net.wires import BUSY_PER_TURN, BUSY_READS, CALM_PER_TURN, NEAR, Watch, Wire

DEADLINE_SECONDS = 20.0
ROOM_BYTES = 4_096


class Told(Wire):
    """A wire that remembers what it is told; `far` is the other end."""

    def __init__(self, watch: Watch, number: int, far: socket.socket) -> None:
        super().__init__(watch, number)
        self.far = far
        self.heard: list[str] = []
        self.data = b""
        self.error: Exception | None = None
        self.then: Callable[[], None] = lambda: None
        self._room = watch.room

    @classmethod
    def between(cls, watch: Watch) -> Self:
        """Give one that is read, over TCP: a reset says more there than on a pair."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            far = socket.create_connection(server.getsockname())
            near, _ = server.accept()
        near.setblocking(False)
        wire = cls(watch, near.detach(), far)
        wire._read_on(True)
        return wire

    def max_unsent_bytes(self) -> int:
        return 1_000_000

    def received(self, count: int) -> None:
        self.data += self._room[:count]
        self.heard.append("data")
        self.then()

    def eof_received(self) -> None:
        self.heard.append("eof")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append("lost")
        self.error = error


def run(main: Callable[[Watch], Awaitable[None]], calm_seconds: float = DEADLINE_SECONDS) -> None:
    """Run `main` with a watch, on the loop that the hub has."""

    async def bounded() -> None:
        watch = Watch(asyncio.get_running_loop(), ROOM_BYTES, calm_seconds)
        try:
            await asyncio.wait_for(main(watch), DEADLINE_SECONDS)
        finally:
            watch.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the deadline is that of the whole test."""
    while not condition():  # noqa: ASYNC110  (what it waits for has no event of its own)
        await asyncio.sleep(0.001)


def end(*wires: Told) -> None:
    for wire in wires:
        wire._cut(None)
        wire.far.close()


def reset(far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


def make_busy(watch: Watch, wire: Told) -> None:
    for _ in range(BUSY_READS):
        wire.far.send(b".")
        watch._serve_calm()
    assert wire.is_busy


def take_the_near_places(watch: Watch) -> list[Told]:
    wires = [Told.between(watch) for _ in range(NEAR)]
    for wire in wires:
        make_busy(watch, wire)
        assert wire.is_near
    return wires


def test_a_turn_reads_so_many_of_the_calm_ones_and_the_next_turn_others() -> None:
    async def main(watch: Watch) -> None:
        wires = [Told.between(watch) for _ in range(2 * CALM_PER_TURN)]
        for wire in wires:
            wire.far.send(b"now")
        watch._serve_calm()
        assert sum(wire.data == b"now" for wire in wires) == CALM_PER_TURN
        watch._serve_calm()
        assert all(wire.data == b"now" for wire in wires)
        end(*wires)

    run(main)


def test_a_turn_without_time_reads_one_and_the_next_turns_the_others_in_their_order() -> None:
    async def main(watch: Watch) -> None:
        wires = [Told.between(watch) for _ in range(4)]
        for wire in wires:
            wire.far.send(b"now")
        for _ in wires:
            wires[0].far.send(b"!")  # however much the first one says
            watch._serve_calm()
        assert all(wire.data.startswith(b"now") for wire in wires)
        assert wires[0].data == b"now!", "it was read once"
        end(*wires)

    run(main, calm_seconds=0.0)


def test_who_ends_before_its_turn_comes_is_not_served() -> None:
    async def main(watch: Watch) -> None:
        wires = [Told.between(watch) for _ in range(3)]
        for wire in wires:
            wire.far.send(b"now")
        watch._serve_calm()
        end(wires[1])
        watch._serve_calm()
        watch._serve_calm()
        assert [wire.data for wire in wires] == [b"now", b"", b"now"]
        end(wires[0], wires[2])

    run(main, calm_seconds=0.0)


def test_who_talks_all_the_time_does_not_wait_for_the_calm_ones() -> None:
    async def main(watch: Watch) -> None:
        near, busy = take_the_near_places(watch), Told.between(watch)
        make_busy(watch, busy)
        assert not busy.is_near
        calm = [Told.between(watch) for _ in range(3 * CALM_PER_TURN)]
        for wire in calm:
            wire.far.send(b"now")
        busy.far.send(b"!")
        watch._serve_calm()
        watch._serve_busy()
        assert busy.data.endswith(b"!")
        assert sum(wire.data == b"now" for wire in calm) == CALM_PER_TURN
        end(busy, *near, *calm)

    run(main)


def test_who_says_nothing_for_a_period_is_calm_again() -> None:
    async def main(watch: Watch) -> None:
        near = take_the_near_places(watch)
        silent, talking, gone = (Told.between(watch) for _ in range(3))
        for wire in (silent, talking, gone):
            make_busy(watch, wire)
        end(gone)
        watch._timer.cancel()
        watch._next_period()
        assert silent.is_busy
        talking.far.send(b".")
        watch._serve_busy()
        watch._timer.cancel()
        watch._next_period()
        assert talking.is_busy
        assert not silent.is_busy
        silent.far.send(b"!")
        watch._serve_calm()
        assert silent.data.endswith(b"!")
        end(silent, talking, *near)

    run(main)


def test_the_first_of_the_busy_ones_are_watched_by_the_loop_itself() -> None:
    async def main(watch: Watch) -> None:
        wires = take_the_near_places(watch)
        for round_number in range(1, 4):
            for wire in wires:
                wire.far.send(b"!")
            await until(lambda: all(wire.data.count(b"!") == round_number for wire in wires))  # noqa: B023
        wires[0]._read_on(False)
        wires[0].far.send(b"!")
        wires[1].far.send(b"!")
        await until(lambda: wires[1].data.endswith(b"!!!!"))
        assert wires[0].data.endswith(b".!!!"), "it is not read now"
        wires[0]._read_on(True)
        await until(lambda: wires[0].data.endswith(b"!!!!"))
        end(*wires)

    run(main)


def test_a_near_one_sends_its_rest_when_its_peer_reads_again() -> None:
    async def main(watch: Watch) -> None:
        wires = take_the_near_places(watch)
        much = os.urandom(8_000_000)
        wires[0]._send_out(much)
        assert wires[0]._unsent_bytes()
        got = bytearray()
        wires[0].far.setblocking(False)
        while len(got) < len(much):
            try:
                got += wires[0].far.recv(1_000_000)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert got == much
        assert not wires[0]._unsent_bytes()
        end(*wires)

    run(main)


def test_a_near_one_that_is_silent_for_a_period_gives_its_place_to_another() -> None:
    async def main(watch: Watch) -> None:
        wires = take_the_near_places(watch)
        for _ in range(2):
            watch._timer.cancel()
            watch._next_period()
        assert not any(wire.is_near or wire.is_busy for wire in wires)
        others = take_the_near_places(watch)
        wires[0].far.send(b"!")
        others[0].far.send(b"!")
        await until(lambda: wires[0].data.endswith(b"!") and others[0].data.endswith(b"!"))
        end(*others)
        end(*take_the_near_places(watch), *wires)

    run(main)


def test_a_reset_of_a_near_one_is_heard() -> None:
    async def main(watch: Watch) -> None:
        wires = take_the_near_places(watch)
        reset(wires[0].far)
        await until(lambda: "lost" in wires[0].heard)
        end(*wires[1:])

    run(main)


def test_what_a_turn_gathers_is_done_when_it_ends() -> None:
    async def main(watch: Watch) -> None:
        wires = [Told.between(watch) for _ in range(3)]
        done: list[int] = []
        wires[0].then = lambda: TURN.ends_with(
            lambda: done.append(sum(wire.data == b"now" for wire in wires)), watch.loop.call_soon
        )
        for wire in wires:
            wire.far.send(b"now")
        watch._serve_calm()
        assert done == [3], "after all of them, and before the call returns"
        end(*wires)

    run(main)


def test_reads_of_many_periods_make_nobody_busy() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        for _ in range(3 * BUSY_READS):
            wire.far.send(b".")
            watch._serve_calm()
            watch._timer.cancel()
            watch._next_period()
        assert not wire.is_busy
        assert len(wire.data) == 3 * BUSY_READS
        end(wire)

    run(main)


def test_the_busy_ones_have_their_share_of_a_turn_too() -> None:
    assert BUSY_PER_TURN > CALM_PER_TURN


def test_what_fills_the_room_is_read_on_in_a_later_turn() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        sent = os.urandom(3 * ROOM_BYTES)
        wire.far.sendall(sent)
        watch._serve_calm()
        assert wire.data == sent[:ROOM_BYTES]
        watch._serve_calm()
        watch._serve_calm()
        assert wire.data == sent
        end(wire)

    run(main)


def test_what_the_kernel_does_not_take_is_sent_when_it_does() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        sent = os.urandom(20_000_000)
        wire._send_out(sent)
        wire._send_out(b"and more")
        assert wire._unsent_bytes() > 1_000_000
        assert wire.heard == ["pause"]
        loop, got = asyncio.get_running_loop(), bytearray()
        wire.far.setblocking(False)
        while len(got) < len(sent) + 8:
            got += await loop.sock_recv(wire.far, 1_000_000)
        assert got == sent + b"and more"
        await until(lambda: wire._unsent_bytes() == 0)
        assert wire.heard == ["pause", "resume"]
        assert wire._unsent is None
        end(wire)

    run(main)


@pytest.mark.parametrize("how", ["shut", "end"])
def test_the_end_follows_what_was_left_to_send(how: str) -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire._send_out(bytes(20_000_000))
        if how == "shut":
            wire._shut()
        else:
            wire._end()
        assert wire._is_gone() is (how == "end")
        loop, count = asyncio.get_running_loop(), 0
        wire.far.setblocking(False)
        while part := await loop.sock_recv(wire.far, 1_000_000):
            count += len(part)
        assert count == 20_000_000
        if how == "shut":
            wire.far.send(b"heard")
            await until(lambda: wire.data == b"heard")
            end(wire)
        await until(lambda: wire.heard[-1] == "lost")
        assert wire.error is None

    run(main)


def test_the_end_of_the_peer_is_told_once_and_a_half_open_wire_still_sends() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire.far.shutdown(socket.SHUT_WR)
        for _ in range(3):
            watch._serve_calm()
        assert wire.heard == ["eof"]
        wire._send_out(b"goodbye")
        assert wire.far.recv(100) == b"goodbye"
        end(wire)

    run(main)


def test_a_reset_ends_the_wire_in_a_later_turn_and_says_why() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        number = wire.number
        reset(wire.far)
        watch._serve_calm()
        assert wire.heard == []
        await until(lambda: wire.heard == ["lost"])
        assert isinstance(wire.error, ConnectionResetError)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    run(main)


def test_writes_to_one_that_has_left_end_it_and_nothing_after_that_fails() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire._read_on(False)
        reset(wire.far)
        for _ in range(3):
            wire._send_out(b"hello?")
        assert wire._is_gone()
        wire._read_on(True)
        wire._cut(None)
        await until(lambda: bool(wire.heard))
        await asyncio.sleep(0)
        assert wire.heard == ["lost"]
        assert isinstance(wire.error, OSError)

    run(main)


def test_a_reset_while_it_is_not_read_and_the_rest_waits_is_found_by_the_rest() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire._read_on(False)
        wire._send_out(bytes(20_000_000))
        reset(wire.far)
        await until(lambda: "lost" in wire.heard)
        assert isinstance(wire.error, OSError)

    run(main)


def test_a_fin_to_one_that_has_left_ends_the_wire() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire._read_on(False)
        reset(wire.far)
        wire._shut()
        await until(lambda: wire.heard == ["lost"])

    run(main)


def test_nobody_is_read_who_is_not_to_be_and_nothing_is_lost_by_it() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire._read_on(False)
        wire.far.send(b"early")
        watch._serve_calm()
        assert wire.data == b""
        wire._read_on(True)
        watch._serve_calm()
        assert wire.data == b"early"
        end(wire)

    run(main)


def test_who_ends_another_in_the_same_turn_leaves_nothing_behind() -> None:
    async def main(watch: Watch) -> None:
        first, second = Told.between(watch), Told.between(watch)

        def end_the_other(wire: Told) -> Callable[[], None]:
            return lambda: end(wire)

        first.then, second.then = end_the_other(second), end_the_other(first)
        first.far.send(b"x")
        second.far.send(b"x")
        watch._serve_calm()
        assert min(first.number, second.number) == -1
        assert sum(wire is not None for wire in watch._wires) == 1
        end(first, second)

    run(main)


def test_an_event_that_comes_too_late_does_no_harm() -> None:
    async def main(watch: Watch) -> None:
        wire = Told.between(watch)
        wire.serve(1)  # as after another wire that had this descriptor
        assert wire.heard == []
        end(wire)

    run(main)


def test_a_closed_watch_gives_its_descriptors_back_and_may_be_closed_again() -> None:
    async def main(watch: Watch) -> None:
        number = watch._calm.fileno()
        watch.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        watch.close()

    run(main)
