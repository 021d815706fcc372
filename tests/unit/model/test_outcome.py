"""An outcome tells what ended from two counts, and assumes nothing."""

from __future__ import annotations

from lockgate.model.outcome import Outcome, Traces


def test_what_ended_is_what_was_found_and_does_not_remain() -> None:
    outcome = Outcome(7, "sensor", 10.0, "device blocked", Traces(2, 3, 4, 5, 6, 7, 8), Traces(sessions=3, retained=8))
    assert outcome.ended == Traces(2, 0, 4, 5, 6, 7, 0)
    assert outcome.ended + outcome.remaining == outcome.found
