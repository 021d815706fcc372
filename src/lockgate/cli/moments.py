"""Moments as people write them: so much time before now or from now on, or a date."""

from __future__ import annotations

from datetime import UTC, datetime

from lockgate.cli.output import moment
from lockgate.errors import InvalidSettings, LockgateError
from lockgate.provision.token import parse_duration


def past_moment(text: str, now: float) -> float:
    """Turn "24h" (before now) or a date, as in 2026-03-01 or 2026-03-01T12:00Z, into unix seconds.

    Raises:
        InvalidSettings: when it is neither.
    """
    return _moment(text, now, -1, "write 24h, 90m or 7d (before now), or a date such as 2026-03-01T12:00 (UTC)")


def end_moment(text: str, now: float) -> float:
    """Turn "30d" (from now on) or a date into the unix second at which something shall end.

    Raises:
        InvalidSettings: when it is neither, or is over already.
    """
    fix = "write 12h, 30d (from now on), or a date to come such as 2030-03-01T12:00 (UTC)"
    at = _moment(text, now, 1, fix)
    if at <= now:
        raise InvalidSettings(f"{moment(at)} is over already", fix=fix)
    return at


def _moment(text: str, now: float, direction: int, fix: str) -> float:
    try:
        return now + direction * parse_duration(text)
    except LockgateError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSettings(f"{text!r} is no moment", fix=fix) from None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
