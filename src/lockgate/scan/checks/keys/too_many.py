"""A device has many live credentials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject

MAX_LIVE = 3


def look(subject: Subject) -> Iterator[Problem]:
    """Count live credentials."""
    counts = Counter(credential.device for credential in live(subject))
    for device, count in sorted(counts.items()):
        if count > MAX_LIVE:
            yield Problem(f"{device} has {count}", f"lockgate device show {device}", device)


CHECK = Check(
    id="LG-KEY-010",
    title="A device has many live credentials",
    severity=Severity.MEDIUM,
    meaning="Two overlap while a key is changed; more are forgotten ones, each of them a way in.",
    fix="lockgate device show NAME",
    look=look,
)
