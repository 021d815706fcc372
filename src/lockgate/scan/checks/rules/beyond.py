"""A rule lets a device or a group publish into others' trees."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Operation
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import allowing, reaches_others
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find such rules of single devices, groups and roles."""
    for rule in allowing(subject, Operation.PUBLISH, for_everyone=False):
        if reaches_others(rule):
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-003",
    title="A rule lets a device or a group publish into others' trees",
    severity=Severity.MEDIUM,
    meaning=(
        "That is right for a service that steers devices, and for nothing else. With a key of such a device "
        "everything can be steered."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
