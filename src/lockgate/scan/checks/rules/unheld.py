"""A role that nobody holds."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the roles with who holds them."""
    for role, holders in sorted(subject.need(subject.roles, "registry").items()):
        if not holders:
            yield Problem(role, f"lockgate policy role remove {role}", role)


CHECK = Check(
    id="LG-RULE-010",
    title="A role that nobody holds",
    severity=Severity.LOW,
    meaning="It does nothing until somebody gives it to a device without looking at what it allows.",
    fix="lockgate policy role remove NAME",
    look=look,
)
