"""What gate and office share as processes: to run until told to stop, and to do a thing again and again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from lockgate.events import Event
from lockgate.net.link import NetLimits
from lockgate.settings import NetSettings

log = structlog.get_logger()


def run_until_stopped(serve: Callable[[asyncio.Event], Awaitable[None]], until_eof: bool) -> None:
    """Run `serve` on a loop of its own; the event it gets is set by SIGTERM and SIGINT.

    Args:
        serve: what the process does; it comes back soon after the event is set.
        until_eof: set it when standard input ends as well: whoever holds the other end is gone.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(serve, until_eof))


async def every(seconds: float, action: Callable[[], None]) -> None:
    """Call `action` again and again, with pauses of `seconds`, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        try:
            action()
        except Exception:
            # One bad turn must not stop the process; the next one tries again.
            log.exception(Event.UNEXPECTED_ERROR, action=getattr(action, "__name__", "action"))


def net_limits(settings: NetSettings) -> NetLimits:
    """Give what a listener grants its peers, as `[net]` says."""
    return NetLimits(
        handshake_deadline_seconds=settings.handshake_deadline_seconds,
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        max_handshakes=settings.max_handshakes,
        max_handshakes_per_second_per_address=settings.max_handshakes_per_second_per_address,
        max_handshake_burst_per_address=settings.max_handshake_burst_per_address,
        max_write_buffer_bytes=settings.max_write_buffer_bytes,
    )


async def _serve(serve: Callable[[asyncio.Event], Awaitable[None]], until_eof: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), _stop_at_eof, stop)
    await serve(stop)


def _stop_at_eof(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()
