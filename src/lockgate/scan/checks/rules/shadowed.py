"""A rule that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.permission import Effect
from lockgate.policy.matching import OWN_TREE, covers
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.reach import levels_of, overlaps
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find deny rules that meet no allow rule, and allow rules that are denied as a whole."""
    rules = (*OWN_TREE, *subject.need(subject.rules, "registry"))
    allowing = [rule for rule in rules if rule.effect is Effect.ALLOW]
    denying = [rule for rule in rules if rule.effect is Effect.DENY]
    for rule in denying:
        if not any(a.operation is rule.operation and overlaps(levels_of(a), levels_of(rule)) for a in allowing):
            yield Problem(
                f"nothing allows what it denies: {rule}", f"lockgate policy remove {rule.id}", f"rule {rule.id}"
            )
    for rule in allowing:
        concerned = [d for d in denying if d.operation is rule.operation and d.subject in ("everyone", rule.subject)]
        over = next((d for d in concerned if covers(tuple(levels_of(d)), levels_of(rule))), None)
        if rule.id and over is not None:
            yield Problem(f"{rule}, but {over}", f"lockgate policy remove {rule.id}", f"rule {rule.id}")


CHECK = Check(
    id="LG-RULE-005",
    title="A rule that changes nothing",
    severity=Severity.LOW,
    meaning=(
        "A deny rule that no allow rule meets, or an allow rule that a deny rule covers: somebody meant something else."
    ),
    fix="lockgate policy remove NUMBER",
    look=look,
)
