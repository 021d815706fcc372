"""Moments: before now, from now on, or a date."""

from __future__ import annotations

import pytest

from lockgate.cli.moments import end_moment, past_moment
from lockgate.errors import InvalidSettings

NOW = 1_800_000_000.0


def test_a_duration_counts_back_or_forth_and_a_date_is_one_in_utc() -> None:
    assert past_moment("90m", NOW) == NOW - 5400
    assert end_moment("30d", NOW) == NOW + 30 * 86_400
    assert end_moment("2030-03-01", NOW) == end_moment("2030-03-01T01:00+01:00", NOW) == 1_898_553_600.0


@pytest.mark.parametrize("text", ["soon", "30", "-1d", "2030-13-01", "", "0s", "2026-01-01"])
def test_what_is_no_moment_to_come_ends_nothing(text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        end_moment(text, NOW)
    assert "30d" in caught.value.fix
