"""What devices may: rules, roles and who holds them, in registry.db.

Each write is a transaction with its change and its audit record. A role is one more subject of rules: "role:NAME"; its
holders are subjects as well, "device:NAME" or "group:NAME".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from lockgate.errors import Conflict, NotFound
from lockgate.events import Event
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.store.sqlite import translated

if TYPE_CHECKING:
    from lockgate.store.registry_db import RegistryDb, RegistryWrite

ROLE = "role"
"""The kind of change that says of a subject that it holds other roles than before."""
_RULE = "rule"
_OPERATIONS = {str(each): each for each in Operation}
_EFFECTS = {str(each): each for each in Effect}
# A hub begins with tens of thousands of rows: to look a word up costs a tenth of what calling its enumeration does.
_COLUMNS = "subject, operation, filter, effect, qos, retain, max_payload_bytes, messages_per_second"


class Held(msgspec.Struct, frozen=True, order=True):
    """One role in the hands of one holder, "device:NAME" or "group:NAME"."""

    role: str
    holder: str


class PolicyChange(msgspec.Struct, frozen=True):
    """What shall be added to the rules and roles, and what removed, all at once."""

    add_rules: tuple[Rule, ...] = ()
    remove_rules: tuple[Rule, ...] = ()
    add_roles: tuple[str, ...] = ()
    remove_roles: tuple[str, ...] = ()
    grant: tuple[Held, ...] = ()
    revoke: tuple[Held, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not any(getattr(self, field) for field in self.__struct_fields__)


# Reading


def rules(db: RegistryDb, subject: str | None = None) -> list[Rule]:
    """Give all rules, or those of one subject, in the order in which they were made."""
    query = f"SELECT id, {_COLUMNS} FROM rule WHERE ?1 IS NULL OR subject = ?1 ORDER BY id"  # noqa: S608  (our words)
    with translated(db.path):
        return [_rule(row) for row in db.query(query, (subject,))]


def roles(db: RegistryDb) -> list[str]:
    """Give the names of all roles."""
    with translated(db.path):
        return [name for (name,) in db.query("SELECT name FROM role ORDER BY name")]


def held_roles(db: RegistryDb, holders: Collection[str] | None = None) -> list[Held]:
    """Give who holds which role: all, or those of some holders."""
    query = "SELECT role, holder FROM role_holder {} ORDER BY role, holder"
    with translated(db.path):
        if holders is None:
            return [Held(*row) for row in db.query(query.format(""))]
        chosen = msgspec.json.encode(sorted(holders)).decode()
        where = "WHERE holder IN (SELECT value FROM json_each(?))"
        return [Held(*row) for row in db.query(query.format(where), (chosen,))]


def roles_by_holder(held: Iterable[Held]) -> dict[str, tuple[str, ...]]:
    """Give the roles of each holder."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for each in held:
        found[each.holder].append(each.role)
    return {holder: tuple(names) for holder, names in found.items()}


# Writing


def add_rule(db: RegistryDb, rule: Rule, *, actor: str, now: float) -> int:
    """Add a rule; give the number that it got.

    Raises:
        NotFound: when it is about a role that does not exist.
    """
    with db.write() as write:
        return _add_rule(write, rule, actor, now)


def remove_rule(db: RegistryDb, number: int, *, actor: str, now: float) -> None:
    """Remove the rule with this number.

    Raises:
        NotFound: when there is none.
    """
    with db.write() as write:
        row = write.execute(f"SELECT id, {_COLUMNS} FROM rule WHERE id = ?", (number,)).fetchone()  # noqa: S608
        if row is None:
            raise NotFound(f"there is no rule {number}", fix="lockgate policy list shows the rules")
        _remove_rule(write, _rule(row), actor, now)


def add_role(db: RegistryDb, name: str, *, actor: str, now: float) -> None:
    """Make a role, which has no rules yet and which nobody holds.

    Raises:
        Conflict: when there is one of this name.
    """
    with db.write() as write:
        if not _add_role(write, name, actor, now):
            raise Conflict(f"there is a role {name} already", fix="lockgate policy role list shows the roles")


def remove_role(db: RegistryDb, name: str, *, actor: str, now: float) -> None:
    """Remove a role with its rules; nobody holds it any longer.

    Raises:
        NotFound: when there is none.
    """
    with db.write() as write:
        _require_role(write, name)
        _remove_role(write, name, actor, now)


def grant_role(db: RegistryDb, held: Held, *, actor: str, now: float) -> bool:
    """Let a device or a group hold a role; say whether that is new.

    Raises:
        NotFound: when there is no such role, or no such device.
    """
    with db.write() as write:
        return _grant(write, held, actor, now)


def revoke_role(db: RegistryDb, held: Held, *, actor: str, now: float) -> None:
    """Take a role from a device or a group.

    Raises:
        NotFound: when it does not hold it.
    """
    with db.write() as write:
        if not _revoke(write, held, actor, now):
            raise NotFound(f"{held.holder} does not hold the role {held.role}", fix="lockgate policy role list")


def change_policy(db: RegistryDb, change: PolicyChange, *, actor: str, now: float) -> None:
    """Bring in a whole change of rules and roles: all of it, or nothing.

    Raises:
        NotFound: when a role or a device that it names does not exist.
    """
    with db.write() as write:
        for rule in change.remove_rules:
            _remove_rule(write, rule, actor, now)
        for held in change.revoke:
            _revoke(write, held, actor, now)
        for name in change.remove_roles:
            _remove_role(write, name, actor, now)
        for name in change.add_roles:
            _add_role(write, name, actor, now)
        for held in change.grant:
            _grant(write, held, actor, now)
        for rule in change.add_rules:
            _require_device(write, rule.subject)
            _add_rule(write, rule, actor, now)


def insert_rule(write: RegistryWrite, rule: Rule) -> int:
    """Keep a rule within a transaction that notes it itself; give the number that it got."""
    done = write.execute(
        f"INSERT INTO rule ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  (our words)
        (
            rule.subject, str(rule.operation), rule.filter, str(rule.effect),
            "".join(map(str, rule.qos)), rule.retain, rule.max_payload_bytes, rule.messages_per_second,
        ),
    )  # fmt: skip
    return int(done.lastrowid or 0)


def _add_rule(write: RegistryWrite, rule: Rule, actor: str, now: float) -> int:
    kind, _, name = rule.subject.partition(":")
    if kind == "role":
        _require_role(write, name)
    number = insert_rule(write, rule)
    write.note_change(_RULE, rule.subject)
    write.note_audit(Event.RULE_ADDED, rule.subject, actor, now, {"rule": f"{rule.sentence} (rule {number})"})
    return number


def _remove_rule(write: RegistryWrite, rule: Rule, actor: str, now: float) -> None:
    write.execute("DELETE FROM rule WHERE id = ?", (rule.id,))
    write.note_change(_RULE, rule.subject)
    write.note_audit(Event.RULE_REMOVED, rule.subject, actor, now, {"rule": str(rule)})


def _add_role(write: RegistryWrite, name: str, actor: str, now: float) -> bool:
    if not write.execute("INSERT OR IGNORE INTO role VALUES (?)", (name,)).rowcount:
        return False
    write.note_audit(Event.ROLE_ADDED, f"role:{name}", actor, now)
    return True


def _remove_role(write: RegistryWrite, name: str, actor: str, now: float) -> None:
    for (holder,) in write.execute("SELECT holder FROM role_holder WHERE role = ?", (name,)).fetchall():
        _revoke(write, Held(name, holder), actor, now)
    gone = write.execute("DELETE FROM rule WHERE subject = ?", (f"role:{name}",)).rowcount
    if gone:
        write.note_change(_RULE, f"role:{name}")
    write.execute("DELETE FROM role WHERE name = ?", (name,))
    write.note_audit(Event.ROLE_REMOVED, f"role:{name}", actor, now, {"rules": str(gone)})


def _grant(write: RegistryWrite, held: Held, actor: str, now: float) -> bool:
    _require_role(write, held.role)
    _require_device(write, held.holder)
    done = write.execute("INSERT OR IGNORE INTO role_holder VALUES (?, ?)", (held.holder, held.role))
    if done.rowcount:
        write.note_change(ROLE, held.holder)
        write.note_audit(Event.ROLE_GRANTED, held.holder, actor, now, {"role": held.role})
    return bool(done.rowcount)


def _revoke(write: RegistryWrite, held: Held, actor: str, now: float) -> bool:
    done = write.execute("DELETE FROM role_holder WHERE holder = ? AND role = ?", (held.holder, held.role))
    if done.rowcount:
        write.note_change(ROLE, held.holder)
        write.note_audit(Event.ROLE_REVOKED, held.holder, actor, now, {"role": held.role})
    return bool(done.rowcount)


def _require_device(write: RegistryWrite, subject: str) -> None:
    kind, _, name = subject.partition(":")
    if kind == "device":
        write.require_device(name)


def _require_role(write: RegistryWrite, name: str) -> None:
    if write.execute("SELECT 1 FROM role WHERE name = ?", (name,)).fetchone() is None:
        raise NotFound(f"there is no role {name}", fix=f"lockgate policy role add {name}")


def _rule(row: Sequence[Any]) -> Rule:
    number, subject, operation, topic_filter, effect, qos, retain, max_payload_bytes, messages_per_second = row
    return Rule(
        subject, _OPERATIONS[operation], topic_filter, _EFFECTS[effect], _levels(qos), bool(retain), number,
        max_payload_bytes, messages_per_second,
    )  # fmt: skip


@cache
def _levels(text: str) -> tuple[int, ...]:
    return tuple(int(level) for level in text)
