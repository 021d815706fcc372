"""Events to standard error: for people on a terminal, as JSON lines elsewhere, and never in the loop's way.

A thread writes the lines, those of `GATHERING_SECONDS` at once: waking it for each would cost the loop more than the
line itself, for the thread then wants the interpreter while the loop has it. Whoever reads the lines may stall: then
they wait, at most `MAX_WAITING_LINES` of them; further ones are dropped, counted, and the first line after says how
many.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict

from lockgate.events import Event
from lockgate.settings import LogSettings

MAX_WAITING_LINES = 10_000
GATHERING_SECONDS = 0.05
LAST_WORDS_SECONDS = 2.0
_WRITE_BYTES = 65_536


class LineWriter:
    """A file to write lines to that never blocks; a thread passes them on to a file descriptor.

    Not to a Python file: a thread that is stuck in one, when the reader stalls, would abort the interpreter at its end.
    """

    def __init__(self, descriptor: int, max_waiting_lines: int = MAX_WAITING_LINES) -> None:
        self._descriptor = descriptor
        self._max_waiting_lines = max_waiting_lines
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._is_awake = False  # said by whoever writes a line, unsaid by the thread before it looks for lines
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockgate-log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take a text, or drop and count it when too much waits."""
        self.put(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def put(self, line: bytes) -> None:
        """Do as `write` with what is encoded already."""
        if len(self._lines) >= self._max_waiting_lines:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._is_awake:
            self._is_awake = True
            self._wanted.set()

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def close(self, timeout_seconds: float = LAST_WORDS_SECONDS) -> None:
        """Write what waits, as far as the reader lets it in time."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            self._closing.wait(GATHERING_SECONDS)
            self._wanted.clear()
            self._is_awake = False
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        while self._lines:
            dropped, self._dropped = self._dropped, 0
            data = self._lines.popleft()
            if dropped:
                event = {"level": "warning", "event": Event.LOG_LINES_DROPPED, "count": dropped}
                data = msgspec.json.encode(event) + b"\n" + data
            while self._lines and len(data) < _WRITE_BYTES:
                data += self._lines.popleft()
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                continue  # nobody reads any more: the hub goes on


def configure_logging(settings: LogSettings) -> None:
    """Send events to standard error from now on."""
    # What came from outside is written as repr on a terminal: it cannot send the terminal commands.
    for_people = sys.stderr.isatty()
    writer = LineWriter(sys.stderr.fileno())
    atexit.register(writer.close)
    level = logging.getLevelName(settings.level.upper())
    logger_class = structlog.make_filtering_bound_logger(level)
    structlog.configure(
        processors=[
            _stamp,
            structlog.dev.ConsoleRenderer(repr_native_str=True) if for_people else _as_json,
        ],
        wrapper_class=logger_class if for_people or level > logging.INFO else _short_way(logger_class, writer),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, writer)),  # it calls write and flush, no more
        cache_logger_on_first_use=True,
    )


def _short_way(logger_class: Any, writer: LineWriter) -> type[Any]:
    """Give a class of loggers that writes events of level info, of which each connection makes two, in one step.

    What structlog does with them, in seven calls, is the same line. All that is rare goes its way.
    """
    encode = msgspec.json.Encoder().encode
    put, now = writer.put, datetime.now

    class Lines(logger_class):  # type: ignore[misc]
        def info(self, event: str, *args: object, **fields: Any) -> None:
            if args or self._context or "exc_info" in fields:
                super().info(event, *args, **fields)
                return
            try:
                # msgspec writes a time as `_stamp` does.
                line = encode({**fields, "event": event, "level": "info", "timestamp": now(UTC)})
            except (TypeError, ValueError, OverflowError):
                super().info(event, **fields)
                return
            if line.isascii():
                put(line + b"\n")
            else:
                super().info(event, **fields)

    return Lines


def _stamp(logger: object, method: str, event: EventDict) -> EventDict:
    # One step for what structlog does in three: each connection writes two lines.
    event["level"] = "error" if method == "exception" else method
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if "exc_info" in event:
        return structlog.processors.format_exc_info(logger, method, event)
    return event


_as_any_json = structlog.processors.JSONRenderer()


def _as_json(logger: object, method: str, event: EventDict) -> str | bytes:
    """Write an event as JSON in ASCII: what is beyond it, or of an unusual type, takes the library's slower way."""
    try:
        line = msgspec.json.encode(event)
    except (TypeError, ValueError, OverflowError):
        return _as_any_json(logger, method, event)
    return line.decode("ascii") if line.isascii() else _as_any_json(logger, method, event)
