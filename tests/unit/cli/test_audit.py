"""`lockgate audit`: the trail for people, for a report, and the question whether it is whole."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from lockgate.cli.audit import _since
from lockgate.errors import InvalidSettings
from lockgate.home import Home
from lockgate.store.messages_db import MessagesDb
from tests.support.cli import CommandLine


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(tmp_path, monkeypatch, capsys).makes_home()
    line.adds("sensor")
    line.adds("lamp")
    line.does("device", "block", "lamp")
    return line


def test_the_list_says_who_did_what_to_whom(line: CommandLine) -> None:
    shown = line.does("audit", "list").out
    assert "device.blocked" in shown
    assert "(command line)" in shown
    assert [r["subject"] for r in line.does("audit", "list", "--device", "lamp", "--json").json()] == ["lamp", "lamp"]
    assert len(line.does("audit", "list", "--last", "1", "--json").json()) == 1


@pytest.mark.requirement("O11")
def test_the_export_is_json_lines_since_a_moment(line: CommandLine) -> None:
    lines = [msgspec.json.decode(text) for text in line.does("audit", "export", "--since", "24h").out.splitlines()]
    assert [each["event"] for each in lines] == ["home.created", "device.added", "device.added", "device.blocked"]
    assert all(before["hash"] == after["previous"] for before, after in pairwise(lines))
    assert line.does("audit", "export", "--until", "2001-01-01").out == ""
    assert "no moment" in line.refuses("audit", "export", "--since", "soon")


def test_moments_are_durations_or_dates() -> None:
    assert _since(None, 5.0, 1.0) == 1.0
    assert _since("90m", 10_000.0, 0.0) == 10_000.0 - 5400
    assert _since("1970-01-02", 0.0, 0.0) == _since("1970-01-02T01:00+01:00", 0.0, 0.0) == 86_400.0
    with pytest.raises(InvalidSettings):
        _since("24 hours ago", 0.0, 0.0)


@pytest.mark.requirement("O9")
def test_a_changed_record_is_named(line: CommandLine) -> None:
    heads = [chain["head"]["hash"] for chain in line.does("audit", "verify", "--json").json()["chains"]]
    assert "whole" in line.does("audit", "verify", "--head", heads[0], "--head", heads[1]).out
    connection = sqlite3.connect(line.home / "registry.db")
    connection.execute("DROP TRIGGER audit_is_never_updated")
    connection.execute("UPDATE audit SET actor = 'somebody else' WHERE sequence = 3")
    connection.commit()
    connection.close()
    done = line("audit", "verify")
    assert done.code == 1
    assert "registry.db: record 3 is not what was written there" in done.out
    assert line("audit", "verify", "--json").json()["is_whole"] is False


def test_an_anchor_is_an_act_of_its_own(line: CommandLine) -> None:
    assert line.does("audit", "anchor", "--json").json()["chain"] == "security_event"
    assert "noted" in line.does("audit", "anchor").out
    home = Home(line.home)
    home.messages_path.unlink()
    MessagesDb(home.messages_path).close()
    assert line("audit", "verify").code == 1
    line.does("audit", "anchor")
    line.does("audit", "verify")


def test_without_security_events_there_is_nothing_to_anchor(line: CommandLine) -> None:
    Home(line.home).messages_path.unlink()
    assert "not there yet" in line.refuses("audit", "anchor")
