"""Everyone may publish into other devices' trees."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Operation
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import allowing, reaches_others
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find such rules for everyone."""
    for rule in allowing(subject, Operation.PUBLISH, for_everyone=True):
        if reaches_others(rule):
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-001",
    title="Everyone may publish into other devices' trees",
    severity=Severity.SEVERE,
    meaning=(
        "One stolen device can speak to, and as if in the name of, all others. Devices need their own tree "
        "and what they share, by name."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
