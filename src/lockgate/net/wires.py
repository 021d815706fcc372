"""Wires: the sockets of one listener's connections, and the watch that says which of them are ready, so many in a turn.

The event loop knows three descriptors of a listener: the sockets that it accepts from, and two epoll instances of our
own. libuv would serve all that is ready in one turn, thousands in a storm; here a turn takes in so many new
connections, reads so many of the calm ones and so many of the busy ones. Whoever reads often is busy and stands in the
second instance: ten thousand calm connections that speak up at once do not come between those that talk all the time.

A wire has no object of the loop's: it is a descriptor, what it could not send yet, and what it waits for.
Docs: ADR 0028.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from time import monotonic
from typing import Any, Final, cast, final

from mypy_extensions import mypyc_attr

from lockgate.net.link import Link
from lockgate.net.turn import TURN, Turn

CALM_PER_TURN: Final = 16
CALM_SECONDS: Final = 0.002
"""So long the calm ones are served in a turn, and one at least: one may be a handshake or a CONNECT, of half a
millisecond, or another a word that means nothing."""
BUSY_PER_TURN: Final = 256
BUSY_READS: Final = 8
"""Who is read so often in a period is busy, until it says nothing for one."""
NEAR: Final = 2
"""So many of the busy ones the loop watches itself: one that talks alone is heard without asking a second time."""
PERIOD_SECONDS: Final = 1.0
_WRITE_BYTES: Final = 131_072

_IN: Final = 0x001  # select.EPOLLIN and EPOLLOUT, as compiled constants
_OUT: Final = 0x004

_read: Final[Any] = os.readv
_write: Final[Any] = os.write


@final
class Watch:
    """Which wires are ready, and the room that all of them are read into, each in its turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_bytes: int, calm_seconds: float = CALM_SECONDS) -> None:
        self.calm_seconds: float = calm_seconds
        self.read_bytes: int = read_bytes
        self.room = bytearray(read_bytes)
        self.rooms = [self.room]
        self.period: int = 0
        self.loop = loop
        self._turn: Turn = TURN
        self._near: int = 0
        self._wires: list[Wire | None] = []
        self._talking: list[Wire] = []
        self._left: list[tuple[int, int]] = []
        self._calm = select.epoll()
        self._busy = select.epoll()
        self._ask_calm: Any = self._calm.poll
        self._ask_busy: Any = self._busy.poll
        loop.add_reader(self._calm.fileno(), self._serve_calm)
        loop.add_reader(self._busy.fileno(), self._serve_busy)
        self._timer = loop.call_later(PERIOD_SECONDS, self._next_period)

    def close(self) -> None:
        """Watch no longer; no wire may be left."""
        self._timer.cancel()
        if not self._calm.closed:
            self.loop.remove_reader(self._calm.fileno())
            self.loop.remove_reader(self._busy.fileno())
            self._calm.close()
            self._busy.close()

    def begin(self, wire: Wire) -> None:
        """Know a new wire."""
        number, wires = wire.number, self._wires
        while len(wires) <= number:
            wires.append(None)
        wires[number] = wire

    def forget(self, wire: Wire) -> None:
        """Know it no longer; its descriptor is closed next."""
        self.wait(wire, 0)
        if wire.is_near:
            wire.is_near = False
            self._near -= 1
        self._wires[wire.number] = None

    def wait(self, wire: Wire, events: int) -> None:
        """Have `wire` served when it is ready for one of `events`; 0 for none."""
        before = wire.events
        if before == events:
            return
        wire.events = events
        if wire.is_near:
            self._wait_near(wire, before, events)
            return
        epoll = self._busy if wire.is_busy else self._calm
        if not events:
            epoll.unregister(wire.number)
        elif not before:
            epoll.register(wire.number, events)
        else:
            epoll.modify(wire.number, events)

    def _wait_near(self, wire: Wire, before: int, events: int) -> None:
        number, loop = wire.number, self.loop
        if (before ^ events) & _IN:
            if events & _IN:
                loop.add_reader(number, self._serve_near, wire)
            else:
                loop.remove_reader(number)
        if (before ^ events) & _OUT:
            if events & _OUT:
                loop.add_writer(number, self._send_near, wire)
            else:
                loop.remove_writer(number)

    def _serve_near(self, wire: Wire) -> None:
        turn = self._turn
        turn.begin()
        try:
            wire.period = self.period
            wire.serve(_IN)
        finally:
            turn.end()

    def _send_near(self, wire: Wire) -> None:
        wire.serve(_OUT)

    def _serve_calm(self) -> None:
        turn = self._turn
        turn.begin()
        try:
            until = monotonic() + self.calm_seconds
            # Those that the last turn had no time for come first: epoll has put them behind all others already.
            ready, self._left = self._left or cast("list[tuple[int, int]]", self._ask_calm(0, CALM_PER_TURN)), []
            last = len(ready) - 1
            for place, (number, events) in enumerate(ready):
                self._serve_one(number, events)
                if place < last and monotonic() >= until:
                    self._left = ready[place + 1 :]
                    break
        finally:
            turn.end()

    def _serve_one(self, number: int, events: int) -> None:
        wire, period = self._wires[number], self.period
        if wire is not None:
            wire.serve(events)
            if wire.period != period:
                wire.period = period
                wire.reads = 0
            wire.reads += 1
            if wire.reads == BUSY_READS:
                self._move(wire, is_busy=True)
                self._talking.append(wire)

    def _serve_busy(self) -> None:
        wires, period, turn = self._wires, self.period, self._turn
        turn.begin()
        try:
            for number, events in cast("list[tuple[int, int]]", self._ask_busy(0, BUSY_PER_TURN)):
                wire = wires[number]
                if wire is not None:
                    wire.period = period
                    wire.serve(events)
        finally:
            turn.end()

    def _next_period(self) -> None:
        talking: list[Wire] = []
        for wire in self._talking:
            if wire.number < 0:
                continue
            if wire.period == self.period:
                talking.append(wire)
            else:
                self._move(wire, is_busy=False)
        self._talking = talking
        self.period += 1
        self._timer = self.loop.call_later(PERIOD_SECONDS, self._next_period)

    def _move(self, wire: Wire, is_busy: bool) -> None:
        events = wire.events
        self.wait(wire, 0)
        if wire.is_near:
            self._near -= 1
        wire.is_busy = is_busy
        wire.is_near = is_busy and self._near < NEAR
        if wire.is_near:
            self._near += 1
        wire.reads = 0
        self.wait(wire, events)


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire(Link):
    """One connected socket, non-blocking; what lies above it says what is done with what comes."""

    __slots__ = (
        "_is_ended",
        "_is_full",
        "_is_read",
        "_is_shut",
        "_unsent",
        "_watch",
        "events",
        "is_busy",
        "is_near",
        "number",
        "period",
        "reads",
    )

    def __init__(self, watch: Watch, number: int) -> None:
        self._watch = watch
        self.number: int = number
        """The descriptor, -1 when it is closed."""
        self.events: int = 0
        self.period: int = 0
        self.reads: int = 0
        self.is_busy: bool = False
        self.is_near: bool = False
        self._is_read: bool = False
        self._is_full: bool = False
        self._is_shut: bool = False
        self._is_ended: bool = False
        self._unsent: bytearray | None = None
        watch.begin(self)

    # What lies above says, and hears.

    def max_unsent_bytes(self) -> int:
        """Give the high-water mark."""
        raise NotImplementedError

    def received(self, count: int) -> None:
        """Take what was read into the room: the first `count` bytes of it."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """Know that the peer sends no more."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """Know that the peer reads too slowly."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """Know that the peer has read enough."""
        raise NotImplementedError

    def connection_lost(self, error: Exception | None) -> None:
        """Know that it is over; called once, in a later turn."""
        raise NotImplementedError

    # What lies above does.

    def _is_gone(self) -> bool:
        """Say whether it is closed, or about to be."""
        return self.number < 0 or self._is_ended

    def _unsent_bytes(self) -> int:
        return 0 if self._unsent is None else len(self._unsent)

    def _read_on(self, is_read: bool) -> None:
        """Read, or do not."""
        if is_read != self._is_read and self.number >= 0:
            self._is_read = is_read
            self._attend()

    def _send_out(self, data: bytes) -> None:
        """Send `data`, now as far as the kernel takes it."""
        if self.number < 0:
            return
        unsent = self._unsent
        if unsent is None:
            try:
                count: int = _write(self.number, data)
            except BlockingIOError:
                count = 0
            except OSError as error:
                self._cut(error)
                return
            if count == len(data):
                return
            self._unsent = unsent = bytearray(data[count:])
            self._attend()
        else:
            unsent += data
        if not self._is_full and len(unsent) > self.max_unsent_bytes():
            self._is_full = True
            self.pause_writing()

    def _shut(self) -> None:
        """Send what is left, then say that no more comes."""
        self._is_shut = True
        if self._unsent is None:
            self._send_fin()

    def _end(self) -> None:
        """Send what is left, then close."""
        self._is_ended = True
        if self._unsent is None:
            self._cut(None)
        else:
            self._read_on(False)

    def _cut(self, error: Exception | None) -> None:
        """Close now; what is above hears of it in a later turn, wherever it stands now."""
        number = self.number
        if number >= 0:
            self._watch.forget(self)
            self.number = -1
            self._unsent = None
            os.close(number)
            self._watch.loop.call_soon(self.connection_lost, error)

    # What the watch calls.

    def serve(self, events: int) -> None:
        """Do what the socket is ready for."""
        if events & _OUT:
            self._send_rest()
            if self.number < 0:
                return
        if not self._is_read:
            if not events & _OUT and self.events:
                self._send_rest()  # an error, which a write tells
            return
        if events == _OUT:
            return
        try:
            count: int = _read(self.number, self._watch.rooms)
        except BlockingIOError:
            return
        except OSError as error:
            self._cut(error)
            return
        if count:
            self.received(count)
        else:
            self._read_on(False)
            self.eof_received()

    def _attend(self) -> None:
        self._watch.wait(self, (_IN if self._is_read else 0) | (_OUT if self._unsent is not None else 0))

    def _send_rest(self) -> None:
        unsent = self._unsent
        if unsent is None:
            return
        try:
            with memoryview(unsent) as whole, whole[:_WRITE_BYTES] as part:
                count: int = _write(self.number, part)
        except BlockingIOError:
            return
        except OSError as error:
            self._cut(error)
            return
        del unsent[:count]
        if not unsent:
            self._unsent = None
            self._attend()
            if self._is_ended:
                self._cut(None)
            elif self._is_shut:
                self._send_fin()
        if self._is_full and self._unsent_bytes() <= self.max_unsent_bytes() // 4:
            self._is_full = False
            if self.number >= 0:
                self.resume_writing()

    def _send_fin(self) -> None:
        # A socket object for this moment: nothing else shuts down one half.
        whole = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=self.number)
        try:
            whole.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has gone meanwhile
            whole.detach()
            self._cut(None)
        else:
            whole.detach()
