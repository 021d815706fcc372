"""A certificate of the authority ends within a year."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import DAY_SECONDS, NEW_AUTHORITY, day


def look(subject: Subject) -> Iterator[Problem]:
    """Find an end within the next year."""
    for identity in (subject.need(subject.root, "root"), subject.need(subject.issuing, "issuing")):
        end = identity.chain[0].not_valid_after_utc.timestamp()
        if subject.now <= end < subject.now + 365 * DAY_SECONDS:
            yield Problem(f"{identity.path} ends on {day(end)}", NEW_AUTHORITY, identity.path)


CHECK = Check(
    id="LG-CERT-009",
    title="A certificate of the authority ends within a year",
    severity=Severity.MEDIUM,
    meaning=("Devices have to learn of a new root or carry new certificates before that: in a fleet, a year is short."),
    fix="plan the change of the authority",
    look=look,
)
