"""A blocked device still has rules of its own."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Effect
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find rules of devices that are shut out."""
    shut = {f"device:{d.name}" for d in subject.need(subject.devices, "registry") if d.is_shut_out}
    for rule in subject.need(subject.rules, "registry"):
        if rule.subject in shut and rule.effect is Effect.ALLOW:
            yield Problem(str(rule), f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-009",
    title="A blocked device still has rules of its own",
    severity=Severity.LOW,
    meaning=(
        "They do nothing while it is blocked, and everything on the day when somebody unblocks it without looking."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
