"""What a rule's filter reaches: other devices' trees, everything, nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lockgate.model.permission import Effect, Operation, Rule
from lockgate.scan.subject import Subject

OWN = "own-name"
_VARIABLE = re.compile(r"\$\{[^}]*\}")


def allowing(subject: Subject, operation: Operation, *, for_everyone: bool) -> Iterator[Rule]:
    """Give the allow rules of one operation: those for everyone, or those for somebody."""
    for rule in subject.need(subject.rules, "registry"):
        if (rule.effect, rule.operation) == (Effect.ALLOW, operation) and (rule.subject == "everyone") == for_everyone:
            yield rule


def levels_of(rule: Rule) -> list[str]:
    """Give the filter's levels, each variable filled in with a name that nobody else has."""
    return _VARIABLE.sub(OWN, rule.filter).split("/")


def reaches_everything(rule: Rule) -> bool:
    """Say whether the filter takes in every topic (those under $ excepted)."""
    return levels_of(rule) in (["#"], ["+", "#"])


def reaches_others(rule: Rule) -> bool:
    """Say whether the filter takes in topics in the tree of another device than the one it is for."""
    levels = levels_of(rule)
    owner = rule.subject.partition(":")[2]
    if levels[0] == "#":
        return True
    if levels[0] not in ("+", "devices") or len(levels) < 2:
        return False
    return levels[1] not in (OWN, owner)


def overlaps(one: Sequence[str], other: Sequence[str]) -> bool:
    """Say whether some topic is in both filters, each split into levels."""
    if one[0] != other[0] and "$" in (one[0][:1], other[0][:1]):  # [MQTT-4.7.2-1]: wildcards leave these out
        return False
    for index in range(max(len(one), len(other))):
        first = one[index] if index < len(one) else None
        second = other[index] if index < len(other) else None
        if first == "#" or second == "#":
            return True
        if first is None or second is None or (first != second and "+" not in (first, second)):
            return False
    return True
