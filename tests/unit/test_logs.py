"""Log lines leave by a thread: a reader that stalls costs lines, never the hub's time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from lockgate.logs import LineWriter, configure_logging
from lockgate.settings import LogSettings


@pytest.fixture(autouse=True)
def _configured_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def error_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    reading, writing = os.pipe()
    monkeypatch.setattr(sys.stderr, "fileno", lambda: writing, raising=False)
    yield reading
    os.close(reading)
    os.close(writing)


def lines_of(pipe: int, count: int) -> list[str]:
    text = ""
    while text.count("\n") < count:
        text += os.read(pipe, 65_536).decode()
    return text.splitlines()


@pytest.mark.parametrize(("level", "told"), [("info", ["a.b", "c.d"]), ("warning", ["c.d"])])
def test_events_are_json_lines_on_standard_error(error_pipe: int, level: str, told: list[str]) -> None:
    configure_logging(LogSettings(level=level))  # type: ignore[arg-type]
    log = structlog.get_logger()
    log.info("a.b", device="sensor")
    try:
        raise ValueError("inner")
    except ValueError:
        log.exception("c.d")
    events = [json.loads(line) for line in lines_of(error_pipe, len(told))]
    assert [event["event"] for event in events] == told
    assert "ValueError: inner" in events[-1]["exception"]
    assert all({"level", "timestamp"} <= set(event) for event in events)


def test_a_terminal_gets_lines_for_people(error_pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging(LogSettings())
    structlog.get_logger().info("a.b")
    (line,) = lines_of(error_pipe, 1)
    assert "a.b" in line
    assert not line.startswith("{")


def test_a_reader_that_stalls_costs_lines_and_is_told_how_many() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing, max_waiting_lines=10)
    line = "x" * 4096 + "\n"
    for _ in range(1000):  # far more than pipe and queue hold: a blocking writer would never come back
        assert writer.write(line) == len(line)
    text = ""
    while '"log_lines.dropped"' not in text:
        text += os.read(reading, 65_536).decode()
        writer.write("later\n")
    (told,) = [json.loads(each) for each in text.splitlines() if "log_lines" in each][:1]
    assert 0 < told["count"] < 1000
    os.close(reading)
    writer.write("nobody reads any more\n")
    writer.close()
    os.close(writing)


def test_closing_does_not_wait_for_ever() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing, max_waiting_lines=2)
    for _ in range(100):
        writer.write("x" * 65_536)
    writer.close(timeout_seconds=0.05)
    os.close(reading)
    writer.close()
    os.close(writing)
