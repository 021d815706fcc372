"""A certificate of the authority ends within a year."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import DAY_SECONDS, day, mend_authority


def look(subject: Subject) -> Iterator[Problem]:
    """Find an end within the next year."""
    for identity in (subject.need(subject.root, "root"), subject.need(subject.issuing, "issuing")):
        end = identity.chain[0].not_valid_after_utc.timestamp()
        if subject.now <= end < subject.now + 365 * DAY_SECONDS:
            yield Problem(
                f"{identity.path} ends on {day(end)}", mend_authority(identity is subject.root), identity.path
            )


CHECK = Check(
    id="LG-CERT-009",
    title="A certificate of the authority ends within a year",
    severity=Severity.MEDIUM,
    meaning=("Devices have to learn of a new root or carry new certificates before that: in a fleet, a year is short."),
    fix="lockgate ca rotate makes a new issuing CA; for a new root, plan the change",
    look=look,
)
