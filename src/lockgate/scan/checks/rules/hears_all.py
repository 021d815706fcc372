"""A rule lets a device or a group receive everything."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Operation
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import allowing, reaches_everything
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find rules of single devices, groups and roles that take in everything."""
    for rule in allowing(subject, Operation.RECEIVE, for_everyone=False):
        if reaches_everything(rule):
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-004",
    title="A rule lets a device or a group receive everything",
    severity=Severity.LOW,
    meaning="A recorder or a dashboard needs that; its key is worth as much as all messages together.",
    fix="lockgate policy remove NUMBER",
    look=look,
)
