"""What devices belong to, and who speaks for them: groups, gateways and metadata, in registry.db.

Each write is a transaction with its change and its audit record. What happens to a group is one line of the change log,
however many members it has.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lockgate.errors import Conflict, NotFound
from lockgate.events import Event
from lockgate.store.registry_db import ChangeKind, RegistryDb, RegistryWrite
from lockgate.store.sqlite import translated


class Group(msgspec.Struct, frozen=True):
    """One group: whether its members are shut out, when it was made (unix seconds), and who they are."""

    name: str
    is_blocked: bool
    created_at: float
    members: tuple[str, ...] = ()


def groups(db: RegistryDb, name: str | None = None) -> list[Group]:
    """Give all groups with their members, or the one of this name, by name."""
    chosen = "WHERE ?1 IS NULL OR name = ?1 ORDER BY name"
    with translated(db.path):
        members: dict[str, list[str]] = {}
        query = "SELECT group_name, device FROM membership WHERE ?1 IS NULL OR group_name = ?1 ORDER BY device"
        for group, device in db.query(query, (name,)):
            members.setdefault(group, []).append(device)
        return [
            Group(group, bool(is_blocked), created_at, tuple(members.get(group, ())))
            for group, is_blocked, created_at in db.query(
                f"SELECT name, is_blocked, created_at FROM device_group {chosen}",  # noqa: S608  (our words)
                (name,),
            )
        ]


def blocked_among(db: RegistryDb, names: set[str]) -> dict[str, bool | None]:
    """Say of each group whether it is blocked; None of one that is no more."""
    with translated(db.path):
        query = "SELECT name, is_blocked FROM device_group WHERE name IN (SELECT value FROM json_each(?))"
        found = dict(db.query(query, (msgspec.json.encode(sorted(names)).decode(),)))
    return {name: bool(found[name]) if name in found else None for name in names}


def add_group(db: RegistryDb, name: str, *, actor: str, now: float) -> None:
    """Make a group that nobody belongs to yet.

    Raises:
        Conflict: when there is one of this name.
    """
    with db.write() as write:
        if not write.execute("INSERT OR IGNORE INTO device_group VALUES (?, 0, ?)", (name, now)).rowcount:
            raise Conflict(f"there is a group {name} already", fix=f"lockgate group show {name}")
        write.note_audit(Event.GROUP_ADDED, name, actor, now)


def set_group_blocked(db: RegistryDb, name: str, is_blocked: bool, *, actor: str, now: float) -> None:
    """Shut all members of a group out, those who join later as well, or let them in again."""
    with db.write() as write:
        _require_group(write, name)
        write.execute("UPDATE device_group SET is_blocked = ? WHERE name = ?", (is_blocked, name))
        write.note_change(ChangeKind.GROUP, name)
        write.note_audit(Event.GROUP_BLOCKED if is_blocked else Event.GROUP_UNBLOCKED, name, actor, now)


def revoke_group(db: RegistryDb, name: str, *, actor: str, now: float) -> int:
    """Revoke all credentials of all members for good; give how many were not revoked before."""
    with db.write() as write:
        _require_group(write, name)
        members = _members(write, name)
        done = write.execute(
            "UPDATE credential SET is_revoked = 1 WHERE is_revoked = 0"
            " AND device IN (SELECT device FROM membership WHERE group_name = ?)",
            (name,),
        )
        for member in members:
            write.note_device(member, Event.DEVICE_REVOKED, actor, now, {"group": name})
        details = {"devices": str(len(members)), "credentials": str(done.rowcount)}
        write.note_audit(Event.GROUP_REVOKED, name, actor, now, details)
    return done.rowcount


def remove_group(db: RegistryDb, name: str, *, actor: str, now: float) -> int:
    """Remove a group with its memberships, rules and roles; give how many members it had, who stay registered.

    Raises:
        NotFound: when there is no such group.
        Conflict: when it is blocked: its members would be let in again by the way.
    """
    with db.write() as write:
        if _require_group(write, name):
            raise Conflict(
                f"the group {name} is blocked: without it, its members would be let in again",
                fix=f"lockgate group unblock {name}, or block its devices one by one first",
            )
        count = write.execute("DELETE FROM membership WHERE group_name = ?", (name,)).rowcount
        write.execute("DELETE FROM device_group WHERE name = ?", (name,))
        if write.execute("DELETE FROM rule WHERE subject = ?", (f"group:{name}",)).rowcount:
            write.note_change(ChangeKind.RULE, f"group:{name}")
        if write.execute("DELETE FROM role_holder WHERE holder = ?", (f"group:{name}",)).rowcount:
            write.note_change(ChangeKind.ROLE, f"group:{name}")
        write.note_change(ChangeKind.GROUP, name)
        write.note_audit(Event.GROUP_REMOVED, name, actor, now, {"devices": str(count)})
    return count


def bindings(db: RegistryDb, gateway: str | None = None) -> list[tuple[str, str]]:
    """Give who is bound to whom as (gateway, device): all, or those of one gateway."""
    query = "SELECT gateway, device FROM binding WHERE ?1 IS NULL OR gateway = ?1 ORDER BY gateway, device"
    with translated(db.path):
        return [(speaker, device) for speaker, device in db.query(query, (gateway,))]


def bind_gateway(db: RegistryDb, device: str, gateway: str, *, actor: str, now: float) -> None:
    """Let a gateway speak for a device; nothing happens when it may already.

    Raises:
        NotFound: when one of them does not exist.
    """
    with db.write() as write:
        write.require_device(device)
        write.require_device(gateway)
        if write.execute("INSERT OR IGNORE INTO binding VALUES (?, ?)", (device, gateway)).rowcount:
            write.note_device(device, Event.GATEWAY_BOUND, actor, now, {"gateway": gateway})
            write.note_change(ChangeKind.DEVICE, gateway)  # what it may has changed


def unbind_gateway(db: RegistryDb, device: str, gateway: str, *, actor: str, now: float) -> None:
    """Let a gateway speak for a device no longer.

    Raises:
        NotFound: when it could not.
    """
    with db.write() as write:
        write.require_device(device)
        if not write.execute("DELETE FROM binding WHERE device = ? AND gateway = ?", (device, gateway)).rowcount:
            raise NotFound(f"{device} is not bound to {gateway}", fix=f"lockgate gateway list {gateway}")
        write.note_device(device, Event.GATEWAY_UNBOUND, actor, now, {"gateway": gateway})
        write.note_change(ChangeKind.DEVICE, gateway)


def set_metadata(db: RegistryDb, device: str, metadata: Mapping[str, str], *, actor: str, now: float) -> None:
    """Replace what is remembered about a device."""
    with db.write() as write:
        write.require_device(device)
        write.execute("DELETE FROM metadata WHERE device = ?", (device,))
        for key, value in metadata.items():
            write.execute("INSERT INTO metadata VALUES (?, ?, ?)", (device, key, value))
        write.note_device(device, Event.DEVICE_DESCRIBED, actor, now, {"keys": ", ".join(metadata)})


def _require_group(write: RegistryWrite, name: str) -> bool:
    """Give whether the group is blocked."""
    row = write.execute("SELECT is_blocked FROM device_group WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(f"there is no group {name}", fix="lockgate group list shows the groups")
    return bool(row[0])


def _members(write: RegistryWrite, group: str) -> list[str]:
    rows = write.execute("SELECT device FROM membership WHERE group_name = ? ORDER BY device", (group,))
    return [device for (device,) in rows.fetchall()]
