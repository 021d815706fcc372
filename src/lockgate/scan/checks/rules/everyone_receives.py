"""Everyone may receive other devices' messages."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Operation
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import allowing, reaches_others
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find such rules for everyone."""
    for rule in allowing(subject, Operation.RECEIVE, for_everyone=True):
        if reaches_others(rule):
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-002",
    title="Everyone may receive other devices' messages",
    severity=Severity.HIGH,
    meaning="One stolen device hears all that the others say to the hub, and what the hub tells them.",
    fix="lockgate policy remove NUMBER",
    look=look,
)
