"""A device's credential ends soon."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lockgate.scan.credentials import RENEW, live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import DAY_SECONDS, SOON_DAYS, day


def look(subject: Subject) -> Iterator[Problem]:
    """Find devices whose last live credential ends within 30 days."""
    ends: dict[str, float] = {}
    for credential in live(subject):
        end = math.inf if credential.expires_at is None else credential.expires_at
        ends[credential.device] = max(end, ends.get(credential.device, 0.0))
    for device, end in sorted(ends.items()):
        if end < subject.now + SOON_DAYS * DAY_SECONDS:
            yield Problem(f"{device} has none after {day(end)}", RENEW.format(device=device), device)


CHECK = Check(
    id="LG-KEY-005",
    title="A device's credential ends soon",
    severity=Severity.MEDIUM,
    meaning="Within 30 days the device is shut out, unless it gets another before.",
    fix="lockgate device show NAME, and a new credential",
    look=look,
)
