"""Rotation under load: what trust rests on changes under hundreds of live TLS sessions that talk; nobody notices.

How soon it is in force is the bench's to say (`python -m bench.rotation`); here it only has to be true.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rotation import measure
from bench.rotation_steps import KINDS


@pytest.mark.process
@pytest.mark.requirement("T13")
@pytest.mark.parametrize(("sessions", "turns"), [(100, 1), pytest.param(1000, 3, marks=pytest.mark.long)])
def test_a_rotation_drops_nobody_loses_nothing_and_lets_nobody_in(tmp_path: Path, sessions: int, turns: int) -> None:
    seen = measure(tmp_path / "run", sessions, turns)
    assert seen.dropped == []
    assert seen.turned_away == 0
    assert (seen.lost, seen.doubled) == (0, 0)
    assert seen.said > 100, "there was traffic"
    assert {each.kind for each in seen.seen} == set(KINDS)
    assert [each for each in seen.seen if each.stale] == [], "what is in force stays in force"
    assert [each for each in seen.attempts if each.outcome == "in"] == []
    assert seen.unexplained == []
    assert seen.still_open == []
