"""Rules made ready for deciding: variables filled in, filters split into levels.

A rule's filter may hold ${device} (one level), ${group} (one level; the rule stands once for each group of the device)
and ${client_id} (one level, or two: NAME/SUFFIX). A value that could widen the filter (a wildcard, or a level more)
never gets in: an allow rule then matches nothing, and a deny rule all below the level that holds the variable.
"""

from __future__ import annotations

import msgspec

from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal

CLIENT_ID = "${client_id}"
"""The variable by which a device's clients differ."""

GROUP = "${group}"

OWN_TREE = (
    Rule("everyone", Operation.PUBLISH, "devices/${device}/#"),
    Rule("everyone", Operation.RECEIVE, "devices/${device}/#"),
)
"""What each device may do before anybody grants it more."""

LAB_RULES = (
    Rule("lab", Operation.PUBLISH, "#"),
    Rule("lab", Operation.RECEIVE, "#"),
    Rule("lab", Operation.RECEIVE, "$SYS/#"),
)
"""The one rule of the lab door, once for each operation; what the hub tells of itself is not in a # (section 4.7.2)."""

HUB_RULES = (Rule("hub", Operation.PUBLISH, "$SYS/#"),)
"""What the hub itself may say."""

NOBODY_ELSE = (Rule("everyone", Operation.PUBLISH, "$SYS/#", Effect.DENY),)
"""What stands above all rules but the hub's own: nobody speaks in its name."""


class ReadyRule(msgspec.Struct, frozen=True):
    """A rule for one principal, its filter split into levels."""

    rule: Rule
    levels: tuple[str, ...]


class ReadyRules(msgspec.Struct, frozen=True):
    """All rules that speak about one principal, by operation, deny before allow."""

    deny_publish: tuple[ReadyRule, ...] = ()
    allow_publish: tuple[ReadyRule, ...] = ()
    deny_receive: tuple[ReadyRule, ...] = ()
    allow_receive: tuple[ReadyRule, ...] = ()

    def denying(self, operation: Operation) -> tuple[ReadyRule, ...]:
        """Give the deny rules for `operation`."""
        return self.deny_publish if operation is Operation.PUBLISH else self.deny_receive

    def allowing(self, operation: Operation) -> tuple[ReadyRule, ...]:
        """Give the allow rules for `operation`."""
        return self.allow_publish if operation is Operation.PUBLISH else self.allow_receive


def make_ready(rules: tuple[Rule, ...], principal: Principal, groups: tuple[str, ...] = ()) -> ReadyRules:
    """Fill the names of the principal and its groups into the rules, and sort them for deciding."""

    def chosen(effect: Effect, operation: Operation) -> tuple[ReadyRule, ...]:
        return tuple(
            ready
            for rule in rules
            if rule.effect is effect and rule.operation is operation
            for ready in _ready(rule, principal, groups)
        )

    return ReadyRules(
        deny_publish=chosen(Effect.DENY, Operation.PUBLISH),
        allow_publish=chosen(Effect.ALLOW, Operation.PUBLISH),
        deny_receive=chosen(Effect.DENY, Operation.RECEIVE),
        allow_receive=chosen(Effect.ALLOW, Operation.RECEIVE),
    )


def takes_in(levels: tuple[str, ...], topic_levels: list[str]) -> bool:
    """Say whether a filter takes in a topic name, both split into levels (MQTT 5.0 section 4.7)."""
    if topic_levels[0][:1] == "$" and levels[0] in ("+", "#"):  # [MQTT-4.7.2-1]
        return False
    count = len(topic_levels)
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= count or (level != "+" and level != topic_levels[index]):
            return False
    return len(levels) == count


def covers(levels: tuple[str, ...], asked: list[str]) -> bool:
    """Say whether a filter takes in every topic name that the filter `asked` takes in."""
    if asked[0][:1] == "$" and levels[0] in ("+", "#"):
        return False
    count = len(asked)
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= count or asked[index] == "#" or (level != "+" and level != asked[index]):
            return False
    return len(levels) == count


def _ready(rule: Rule, principal: Principal, groups: tuple[str, ...]) -> list[ReadyRule]:
    """Give the rule once, or once for each group where it names them."""
    every = groups if GROUP in rule.filter else ("",)
    return [ready for group in every if (ready := _ready_for(rule, principal, group)) is not None]


def _ready_for(rule: Rule, principal: Principal, group: str) -> ReadyRule | None:
    pattern = rule.filter
    values = (("${device}", principal.device, 1), (GROUP, group, 1), (CLIENT_ID, principal.client_id, 2))
    for variable, value, most_levels in values:
        if variable in pattern:
            if not _is_plain(value, most_levels):
                return ReadyRule(rule, _above_variable(rule.filter)) if rule.effect is Effect.DENY else None
            pattern = pattern.replace(variable, value)
    levels = tuple(pattern.split("/"))
    return ReadyRule(rule, ("#",) if levels == ("+", "#") else levels)  # the same topics, in the form `covers` knows


def _is_plain(value: str, most_levels: int) -> bool:
    levels = value.split("/")
    return len(levels) <= most_levels and all(levels) and not any(wildcard in value for wildcard in "+#")


def _above_variable(pattern: str) -> tuple[str, ...]:
    levels = pattern.split("/")
    first = next(index for index, level in enumerate(levels) if "${" in level)
    return (*levels[:first], "#")
