"""Everyone may leave retained messages on shared topics."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Operation
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import OWN, allowing, levels_of
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted


def look(subject: Subject) -> Iterator[Problem]:
    """Find allow rules for everyone, beyond the own tree, that let messages be retained."""
    for rule in allowing(subject, Operation.PUBLISH, for_everyone=True):
        if rule.retain and OWN not in levels_of(rule):
            fix = f"lockgate policy allow --everyone --publish {quoted(rule.filter)} --no-retain"
            yield Problem(str(rule), f"lockgate policy remove {rule.id} && {fix}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-007",
    title="Everyone may leave retained messages on shared topics",
    severity=Severity.LOW,
    meaning=(
        "A retained message stays for whoever subscribes later. One that a stolen device left speaks on after"
        " the device is gone."
    ),
    fix="lockgate policy remove NUMBER, and the rule anew with --no-retain",
    look=look,
)
