"""The policy as a file: rules, roles and who holds them, in one TOML form that people read, review and keep in git.

```toml
[roles]
reader = ["device:desk-9", "group:office"]

[[rule]]
for = "role:reader"
allow = "receive"
topic = "Office/#"
qos = [0, 1]
```
What a file says does not depend on the order of its rules; what is written has one order, by what the rules say.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections import Counter
from typing import Any

import msgspec

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import check_name
from lockgate.model.permission import QOS_LEVELS, Effect, Operation, Rule
from lockgate.registry.rules import check_holder, check_rule
from lockgate.store.rules import Held, PolicyChange

_HEADER = """\
# What devices may. `lockgate policy export` writes this form, and `lockgate policy import` reads it.
version = 1
"""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_RULE_HEAD = re.compile(r"[ \t]*\[\[[ \t]*(rule|\"rule\"|'rule')[ \t]*\]\]")


class Document(msgspec.Struct, frozen=True):
    """A policy without numbers: its rules, its roles, and who holds them."""

    rules: tuple[Rule, ...] = ()
    roles: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule as it stands in the file."""

    subject: str = msgspec.field(name="for")
    topic: str
    allow: Operation | None = None
    deny: Operation | None = None
    qos: tuple[int, ...] = QOS_LEVELS
    retain: bool = True
    max_payload_bytes: int | None = None
    messages_per_second: float | None = None


def write_policy(document: Document) -> str:
    """Give the text of a policy; the same policy gives the same text."""
    parts = [_HEADER]
    if document.roles:
        lines = ["[roles]"]
        for role in sorted(document.roles):
            holders = ", ".join(_text(each.holder) for each in sorted(document.held) if each.role == role)
            lines.append(f"{role if _BARE_KEY.match(role) else _text(role)} = [{holders}]")
        parts.append("\n".join(lines) + "\n")
    parts += [_write_rule(rule) for rule in sorted(document.rules, key=_order)]
    return "\n".join(parts)


def read_policy(text: str, name: str) -> Document:
    """Read a policy.

    Raises:
        InvalidSettings: when it is no TOML, or a key or a value cannot be, naming the rule, its line and the key.
    """
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidSettings(f"{name} is no TOML: {error}", fix="mend that line") from error
    unknown = sorted(set(tables) - {"version", "roles", "rule"})
    if unknown:
        raise InvalidSettings(f"{name}: unknown key {unknown[0]}", fix="known here: version, roles, rule")
    if tables.get("version") != 1:
        raise InvalidSettings(f"{name}: version is {tables.get('version')!r}, and 1 was expected", fix="version = 1")
    rows, lines = tables.get("rule", []), _lines_of_rules(text)
    if not isinstance(rows, list):
        raise InvalidSettings(f"{name}: rule is no list of tables", fix="begin each rule with [[rule]]")
    places = [f" (line {line})" for line in lines] if len(lines) == len(rows) else [""] * len(rows)
    rules = [_read_rule(row, f"{name}: rule {n}{places[n - 1]}") for n, row in enumerate(rows, 1)]
    roles, held = _read_roles(tables.get("roles", {}), name)
    for number, rule in enumerate(rules, 1):
        if rule.subject.startswith("role:") and rule.subject[5:] not in roles:
            raise InvalidSettings(
                f"{name}: rule {number}{places[number - 1]}: for: there is no {rule.subject} under [roles]",
                fix=f"add {rule.subject[5:]} = [] under [roles]",
            )
    return Document(tuple(rules), tuple(roles), tuple(held))


def plan(current: Document, wanted: Document, replaces: bool) -> PolicyChange:
    """Give what has to be done so that `current` says what `wanted` says, or (`replaces`) exactly that.

    The rules of `current` carry their numbers; rules that say the same are counted.
    """
    missing = Counter(rule.content for rule in wanted.rules)
    extra: list[Rule] = []
    for rule in current.rules:
        if missing[rule.content]:
            missing[rule.content] -= 1
        else:
            extra.append(rule)
    return PolicyChange(
        add_rules=tuple(sorted(missing.elements(), key=_order)),
        remove_rules=tuple(extra) if replaces else (),
        add_roles=tuple(sorted({*wanted.roles} - {*current.roles})),
        remove_roles=tuple(sorted({*current.roles} - {*wanted.roles})) if replaces else (),
        grant=tuple(sorted({*wanted.held} - {*current.held})),
        revoke=tuple(sorted({*current.held} - {*wanted.held})) if replaces else (),
    )


def describe(change: PolicyChange) -> list[str]:
    """Give the lines of a change, as people compare files: + for what comes, - for what goes."""
    return [
        *(f"- {rule}" for rule in change.remove_rules),
        *(f"- {each.holder} holds {each.role}" for each in change.revoke),
        *(f"- role {name}" for name in change.remove_roles),
        *(f"+ role {name}" for name in change.add_roles),
        *(f"+ {each.holder} holds {each.role}" for each in change.grant),
        *(f"+ {rule.sentence}" for rule in change.add_rules),
    ]


def _write_rule(rule: Rule) -> str:
    lines = ["[[rule]]", f"for = {_text(rule.subject)}", f'{rule.effect} = "{rule.operation}"']
    lines.append(f"topic = {_text(rule.filter)}")
    if rule.effect is Effect.ALLOW:
        if rule.qos != QOS_LEVELS:
            lines.append(f"qos = [{', '.join(map(str, rule.qos))}]")
        if not rule.retain:
            lines.append("retain = false")
        if rule.max_payload_bytes is not None:
            lines.append(f"max_payload_bytes = {rule.max_payload_bytes}")
        if rule.messages_per_second is not None:
            lines.append(f"messages_per_second = {float(rule.messages_per_second)!r}")
    return "\n".join(lines) + "\n"


def _order(rule: Rule) -> tuple[Any, ...]:
    limits = rule.qos, rule.retain, rule.max_payload_bytes or -1, rule.messages_per_second or 0.0
    return rule.subject, rule.operation, rule.filter, rule.effect, *limits


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _lines_of_rules(text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if _RULE_HEAD.match(line)]


def _read_rule(row: Any, place: str) -> Rule:
    try:
        table = msgspec.convert(row, _Table)
    except msgspec.ValidationError as error:
        message, fix = _explain(str(error))
        raise InvalidSettings(f"{place}: {message}", fix=fix) from error
    if (table.allow is None) == (table.deny is None):
        raise InvalidSettings(f"{place}: a rule has either allow or deny", fix='allow = "publish", for example')
    effect, operation = (Effect.ALLOW, table.allow) if table.allow is not None else (Effect.DENY, table.deny)
    rule = Rule(
        table.subject, Operation(operation or ""), table.topic, effect, tuple(sorted({*table.qos})), table.retain, 0,
        table.max_payload_bytes, table.messages_per_second,
    )  # fmt: skip
    try:
        check_rule(rule)
    except LockgateError as error:
        raise InvalidSettings(f"{place}: {error}", fix=error.fix or "correct that; nothing was changed") from error
    return rule


def _read_roles(table: Any, name: str) -> tuple[list[str], list[Held]]:
    try:
        found = msgspec.convert(table, dict[str, list[str]])
        held = {Held(role, holder): None for role, holders in found.items() for holder in holders}
        for role in found:
            check_name(role, "role")
        for each in held:
            check_holder(each.holder)
    except (msgspec.ValidationError, LockgateError) as error:
        raise InvalidSettings(f"{name}: roles: {error}", fix='reader = ["device:NAME", "group:NAME"]') from error
    return list(found), list(held)


def _explain(problem: str) -> tuple[str, str]:
    """Name the key, and the nearest one that is known."""
    text, _, place = problem.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    known = _Table.__struct_encode_fields__
    unknown = re.search(r"unknown field `([^`]*)`", text)
    if not unknown:
        return f"{key}: {text}" if key else text, f"known here: {', '.join(known)}"
    near = difflib.get_close_matches(unknown.group(1), known, n=1, cutoff=0.5)
    return f"unknown key {unknown.group(1)}", f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
