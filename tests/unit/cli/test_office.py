"""`lockgate office`: what it says of its door."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockgate.cli import office as room
from lockgate.home import DoorFacts, Home
from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(home: Home, on_open: Callable[[tuple[DoorFacts, ...]], None], until_eof: bool) -> None:
        on_open((DoorFacts("office", "::", 8443, "tls", "https"),))

    monkeypatch.setattr(room, "run_office", run)


def test_it_says_where_it_listens_and_for_what(lockgate: CommandLine) -> None:
    out = lockgate.does("office").out
    assert "HTTPS on [::]:8443: the office, for enrolment (EST)" in out
    assert "the certificate is for: hub.example" in out


def test_as_json_it_is_one_line(lockgate: CommandLine) -> None:
    done = lockgate.does("office", "--json")
    assert done.out.count("\n") == 1
    assert done.json()["doors"][0]["door"] == "office"
