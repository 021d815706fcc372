"""Events to standard error: for people on a terminal, as JSON lines elsewhere, and never in the loop's way.

A thread writes the lines. Whoever reads them may stall: then lines wait, at most `MAX_WAITING_LINES` of them; further
ones are dropped, counted, and the first line after says how many.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
from typing import TextIO, cast

import msgspec
import structlog

from lockgate.events import Event
from lockgate.settings import LogSettings

MAX_WAITING_LINES = 10_000
LAST_WORDS_SECONDS = 2.0


class LineWriter:
    """A file to write lines to that never blocks; a thread passes them on to a file descriptor.

    Not to a Python file: a thread that is stuck in one, when the reader stalls, would abort the interpreter at its end.
    """

    def __init__(self, descriptor: int, max_waiting_lines: int = MAX_WAITING_LINES) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(max_waiting_lines)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="lockgate-log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take a text, or drop and count it when too much waits."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def close(self, timeout_seconds: float = LAST_WORDS_SECONDS) -> None:
        """Write what waits, as far as the reader lets it in time."""
        try:
            self._lines.put(None, timeout=timeout_seconds)
        except queue.Full:
            return
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            text = self._lines.get()
            if text is None:
                return
            dropped, self._dropped = self._dropped, 0
            if dropped:
                event = {"level": "warning", "event": Event.LOG_LINES_DROPPED, "count": dropped}
                text = msgspec.json.encode(event).decode() + "\n" + text
            data = text.encode("utf-8", "backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                continue  # nobody reads any more: the hub goes on


def configure_logging(settings: LogSettings) -> None:
    """Send events to standard error from now on."""
    # What came from outside is written as repr on a terminal: it cannot send the terminal commands.
    for_people = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer(repr_native_str=True) if for_people else structlog.processors.JSONRenderer()
    )
    writer = LineWriter(sys.stderr.fileno())
    atexit.register(writer.close)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, writer)),  # it calls write and flush, no more
        cache_logger_on_first_use=True,
    )
