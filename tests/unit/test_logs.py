"""Log lines leave by a thread: a reader that stalls costs lines, never the hub's time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

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


def test_the_short_way_and_the_long_one_write_the_same_line(error_pipe: int) -> None:
    configure_logging(LogSettings())
    log = structlog.get_logger()
    fields = {"device": "sensor", "count": 2, "is_clean": True, "until": None, "share": 0.5}
    log.info("a.b", **fields)
    log.warning("a.b", **fields)
    log.bind(device="sensor").info("a.b", **fields)
    log.info("a.b", exc_info=None, **fields)
    lines = lines_of(error_pipe, 4)
    events = [json.loads(line) for line in lines]
    for event in events:
        at = datetime.fromisoformat(event.pop("timestamp"))
        assert at.tzinfo is not None
        assert abs((datetime.now(UTC) - at).total_seconds()) < 3600
    assert [event.pop("level") for event in events] == ["info", "warning", "info", "info"]
    assert all(event == {**fields, "event": "a.b"} for event in events)
    assert len(lines[0]) in range(len(lines[1]) - 11, len(lines[1]))  # it ends in Z and has no spaces, too


@pytest.mark.parametrize("value", ["K\u00fchlhaus", "\ud800", 2**70, object, b"\xff", "a\nb"])
def test_what_is_beyond_ascii_or_unusual_is_one_line_of_ascii_as_well(error_pipe: int, value: object) -> None:
    configure_logging(LogSettings())
    structlog.get_logger().info("a.b", value=value)
    (line,) = lines_of(error_pipe, 1)
    assert line.isascii()
    assert json.loads(line)["event"] == "a.b"


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
