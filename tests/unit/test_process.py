"""What gate and office share as processes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from lockgate.net.link import NetLimits
from lockgate.process import every, net_limits, run_until_stopped
from lockgate.settings import NetSettings


def test_one_bad_turn_does_not_end_what_is_done_again_and_again() -> None:
    turns: list[int] = []

    async def run() -> None:
        done = asyncio.Event()

        def action() -> None:
            turns.append(len(turns))
            if len(turns) == 3:
                done.set()
            raise ValueError(f"turn {len(turns)}")

        task = asyncio.create_task(every(0.0, action))
        await done.wait()
        task.cancel()

    asyncio.run(run())
    assert turns[:3] == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_process_to_stop(number: signal.Signals) -> None:
    seen: list[bool] = []

    async def serve(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await stop.wait()
        seen.append(stop.is_set())

    run_until_stopped(serve, until_eof=False)
    assert seen == [True]


def test_limits_are_those_of_the_settings() -> None:
    settings = NetSettings(max_connections=7, max_handshakes=5, handshake_deadline_seconds=1.5)
    assert net_limits(settings) == NetLimits(
        handshake_deadline_seconds=1.5,
        max_connections=7,
        max_connections_per_address=settings.max_connections_per_address,
        max_handshakes=5,
        max_handshakes_per_second_per_address=settings.max_handshakes_per_second_per_address,
        max_handshake_burst_per_address=settings.max_handshake_burst_per_address,
        max_write_buffer_bytes=settings.max_write_buffer_bytes,
    )
