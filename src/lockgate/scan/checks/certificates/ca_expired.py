"""A certificate of the authority is not valid now."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import day, mend_authority


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the times of root and issuing CA with now."""
    for identity in (subject.need(subject.root, "root"), subject.need(subject.issuing, "issuing")):
        start = identity.chain[0].not_valid_before_utc.timestamp()
        end = identity.chain[0].not_valid_after_utc.timestamp()
        if not start <= subject.now <= end:
            text = f"{identity.path} is valid from {day(start)} to {day(end)}, now is {day(subject.now)}"
            yield Problem(text, mend_authority(identity is subject.root), identity.path)


CHECK = Check(
    id="LG-CERT-008",
    title="A certificate of the authority is not valid now",
    severity=Severity.SEVERE,
    meaning="Everything that it signed is worthless while it is not valid: no device gets in by a certificate.",
    fix="lockgate ca rotate makes a new issuing CA; for a new root, lockgate init",
    look=look,
)
