"""A process beside the hub's own, kept alive: started, started again when it dies, ended with the hub.

The child's standard input is a pipe that nobody writes to. When the parent ends, however it ends, the kernel closes the
pipe, and the child, which reads it, ends as well: there is no orphan, and nothing to clean up. The child prints one
line when it is ready. Pauses grow while it keeps dying, and begin anew once it has lived for a while.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Sequence

import structlog

from lockgate.events import Event

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LIVED_SECONDS = 60.0
STOP_SECONDS = 5.0


class Supervisor:
    """Keeps one child running.

    Args:
        command: the child's program and arguments.
        on_ready: called on the loop with the line that the child prints when it is ready.
        on_gone: called on the loop each time it has ended by itself.
        clock: gives monotonic seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_ready: Callable[[bytes], None],
        on_gone: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._on_ready = on_ready
        self._on_gone = on_gone
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._pause_seconds = FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """Keep it running until cancelled; `end` must be awaited afterwards."""
        while True:
            began_at = self._clock()
            await self._run_once()
            if self._clock() - began_at >= LIVED_SECONDS:
                self._pause_seconds = FIRST_PAUSE_SECONDS
            await asyncio.sleep(self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    async def end(self) -> None:
        """End the child: ask it by closing its input, and kill it when it does not listen."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        try:
            await asyncio.to_thread(child.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            await asyncio.to_thread(child.wait)
        child.stdout.close()

    async def _run_once(self) -> None:
        try:
            # vfork and exec: a millisecond on the loop, however large this process is. In a group of its own, so that
            # Ctrl-C is for this process, which then ends the child.
            child = subprocess.Popen(  # noqa: ASYNC220
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        except OSError as error:
            log.error(Event.OFFICE_DIED, error=str(error), next_start_seconds=self._pause_seconds)
            return
        self._child = child
        assert child.stdin is not None
        assert child.stdout is not None
        line = await asyncio.to_thread(child.stdout.readline)
        if line:
            self._on_ready(line)
        code = await asyncio.to_thread(child.wait)
        self._child = None
        child.stdin.close()
        child.stdout.close()
        log.error(Event.OFFICE_DIED, code=code, was_ready=bool(line), next_start_seconds=self._pause_seconds)
        self._on_gone()
