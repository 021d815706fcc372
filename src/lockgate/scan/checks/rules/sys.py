"""Everyone may hear what the hub tells of itself."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Effect
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import levels_of
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find rules for everyone under $SYS."""
    for rule in subject.need(subject.rules, "registry"):
        if (rule.subject, rule.effect) == ("everyone", Effect.ALLOW) and levels_of(rule)[0] == "$SYS":
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-008",
    title="Everyone may hear what the hub tells of itself",
    severity=Severity.MEDIUM,
    meaning=(
        "$SYS names versions, loads and numbers of clients: an operator needs them, a stolen device can use them."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
