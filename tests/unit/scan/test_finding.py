"""Severities are one list of words, worst first."""

from __future__ import annotations

from lockgate.scan.finding import Severity


def test_severities_rank_from_worst_to_least() -> None:
    assert [s.value for s in sorted(Severity, key=lambda s: s.rank)] == ["severe", "high", "medium", "low", "info"]
