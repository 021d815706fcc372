"""registry.db: devices, credentials, groups and rules, the log of changes, and the audit trail.

Every write is one transaction that also notes what changed (for the gate, which reads the change log) and who did it
(for the audit trail, which nobody can rewrite). The gate opens the file read-only.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from lockgate.errors import Conflict, NotFound
from lockgate.events import Event
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Rule
from lockgate.store import chain
from lockgate.store import rules as stored_rules
from lockgate.store.log_file import begin_log
from lockgate.store.rules import Held
from lockgate.store.sqlite import Check, open_database, transaction, translated

MAX_CHANGES = 100_000
"""How many lines of the change log stay. A gate that is further behind reads everything anew."""


class ChangeKind(StrEnum):
    """What a change is about; its name is a device's, a group's, a rule's subject, a role's holder, or a file's.

    GROUP is one line however many members the group has: it was blocked, let in again, or removed.
    """

    DEVICE = "device"
    GROUP = "group"
    RULE = "rule"
    ROLE = stored_rules.ROLE
    SERVER_CERTIFICATE = "server-certificate"
    CLEAR_RETAINED = "clear-retained"
    """Somebody chose so for the retained messages of the device that is named, which the next change revokes."""
    KEEP_RETAINED = "keep-retained"
    TLS_FILES = "tls-files"
    STAPLE = "staple"


class Change(msgspec.Struct, frozen=True):
    """One line of the change log."""

    sequence: int
    kind: str
    name: str


class Snapshot(msgspec.Struct, frozen=True):
    """All of the registry at one moment; `sequence` is the last change that is in it."""

    sequence: int
    devices: list[Device]
    rules: list[Rule]
    held_roles: list[Held]


class RegistryDb:
    """The file registry.db.

    Args:
        path: the file; a writer makes it where it lacks.
        read_only: for those who only read.
        check: how closely to look at the file; the gate looks at all of it at its start.

    Raises:
        StoreDamaged: when the file cannot be used, in one sentence.
    """

    def __init__(self, path: Path, read_only: bool = False, check: Check = "small") -> None:
        self.path = path
        self._connection = open_database(path, "registry", read_only=read_only, check=check)

    def __enter__(self) -> RegistryDb:
        """Give itself; leaving the block closes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # Reading

    def snapshot(self) -> Snapshot:
        """Give everything as it was at one moment."""
        with translated(self.path):
            self._connection.execute("BEGIN")
            try:
                return Snapshot(self.last_sequence, self.devices(), self.rules(), stored_rules.held_roles(self))
            finally:
                self._connection.execute("COMMIT")

    def devices(self, names: Sequence[str] | None = None) -> list[Device]:
        """Give all devices, or those of `names` that exist, by name; five queries, however many there are."""
        credentials: defaultdict[str, list[Credential]] = defaultdict(list)
        groups: defaultdict[str, list[str]] = defaultdict(list)
        blocked: defaultdict[str, list[str]] = defaultdict(list)
        gateways: defaultdict[str, list[str]] = defaultdict(list)
        metadata: defaultdict[str, dict[str, str]] = defaultdict(dict)
        with translated(self.path):
            for row in self._chosen(_CREDENTIALS, "device", "id", names):
                credentials[row[1]].append(_credential(row))
            for device, group, is_blocked in self._chosen(_MEMBERSHIPS, "device", "device, group_name", names):
                groups[device].append(group)
                if is_blocked:
                    blocked[device].append(group)
            for device, gateway in self._chosen(_BINDINGS, "device", "device, gateway", names):
                gateways[device].append(gateway)
            for device, key, value in self._chosen(_METADATA, "device", "device, key", names):
                metadata[device][key] = value
            return [
                Device(
                    name, bool(is_blocked), created_at, tuple(groups[name]), tuple(credentials[name]),
                    tuple(gateways[name]), tuple(blocked[name]), metadata[name],
                )
                for name, is_blocked, created_at in self._chosen(_DEVICES, "name", "name", names)
            ]  # fmt: skip

    def device(self, name: str) -> Device | None:
        """Find a device by name."""
        return next(iter(self.devices([name])), None)

    def rules(self, subject: str | None = None) -> list[Rule]:
        """Give all rules, or those of one subject, in the order in which they were made."""
        with translated(self.path):
            return stored_rules.rules(self, subject)

    def check_key_free(self, device: str, thumbprint: str) -> None:
        """Come back when a device may have a key, as far as the others' and its own revoked ones go.

        Raises:
            Conflict: when it is registered to another device, or was revoked.
        """
        with translated(self.path):
            _check_key_free(self._connection, device, thumbprint)

    def changes_since(self, sequence: int, limit: int = -1) -> list[Change]:
        """Give what changed after `sequence`, oldest first, at most `limit` (-1: all)."""
        query = "SELECT sequence, kind, name FROM change WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with translated(self.path):
            return [Change(*row) for row in self.query(query, (sequence, limit))]

    @property
    def last_sequence(self) -> int:
        """Give the number of the latest change, 0 before the first."""
        with translated(self.path):
            return int(self._one("SELECT coalesce(max(sequence), 0) FROM change")[0])

    def data_version(self) -> int:
        """Give a number that moves when another process has written; costs microseconds."""
        with translated(self.path):
            return int(self._one("PRAGMA data_version")[0])

    def audit(self, since: float = 0.0) -> list[chain.Record]:
        """Give the audit trail from the unix second `since` on, oldest first."""
        with translated(self.path):
            return list(chain.records(self._connection, chain.AUDIT, since))

    def audit_head(self) -> chain.Head:
        """Give where the audit trail ends."""
        with translated(self.path):
            return chain.read_head(self._connection, chain.AUDIT)

    # Writing: each a transaction with its change and its audit record

    def add_device(self, device: Device, rules: Sequence[Rule] = (), *, actor: str, now: float) -> Device:
        """Register a device with its credentials, groups and rules; give it back with the numbers it got.

        Raises:
            Conflict: when the name is taken, or a key is registered to another device.
        """
        with self.write() as write:
            _add_device(write, device, rules, actor, now)
        return self._known(device.name)

    def add_devices(self, devices: Iterable[tuple[Device, Sequence[Rule]]], *, actor: str, now: float) -> None:
        """Register many devices in one transaction: all of them or none. See `add_device`."""
        with self.write() as write:
            for device, rules in devices:
                _add_device(write, device, rules, actor, now)

    def add_credential(
        self, credential: Credential, *, actor: str, now: float, check: Callable[[RegistryWrite], None] | None = None
    ) -> Credential:
        """Give a device one more credential; its `id` is chosen here.

        `check` raises when the right to it is gone: it looks in the transaction that uses it.

        Raises:
            NotFound: when there is no such device.
            Conflict: when the key is registered to another device.
        """
        with self.write() as write:
            write.require_device(credential.device)
            if check is not None:
                check(write)
            number = write.insert_credential(credential)
            details = {"credential": str(number), "kind": str(credential.kind), "key": credential.thumbprint}
            write.note_device(credential.device, Event.CREDENTIAL_ADDED, actor, now, details)
        return msgspec.structs.replace(credential, id=number)

    def set_blocked(self, name: str, is_blocked: bool, *, actor: str, now: float) -> None:
        """Block a device or let it in again."""
        with self.write() as write:
            write.require_device(name)
            write.execute("UPDATE device SET is_blocked = ? WHERE name = ?", (is_blocked, name))
            event = Event.DEVICE_BLOCKED if is_blocked else Event.DEVICE_UNBLOCKED
            write.note_device(name, event, actor, now)

    def revoke_credentials(self, name: str, *, actor: str, now: float) -> int:
        """Revoke all of a device's credentials for good; give how many were not revoked before."""
        with self.write() as write:
            write.require_device(name)
            done = write.execute("UPDATE credential SET is_revoked = 1 WHERE device = ? AND is_revoked = 0", (name,))
            write.note_device(name, Event.DEVICE_REVOKED, actor, now, {"credentials": str(done.rowcount)})
        return done.rowcount

    def remove_device(self, name: str, *, actor: str, now: float) -> None:
        """Remove a device with its credentials, memberships and rules."""
        with self.write() as write:
            write.require_device(name)
            for (bound,) in write.execute("SELECT device FROM binding WHERE gateway = ?", (name,)).fetchall():
                write.note_change(ChangeKind.DEVICE, bound)  # one less speaks for it
            write.execute("DELETE FROM device WHERE name = ?", (name,))
            if write.execute("DELETE FROM rule WHERE subject = ?", (f"device:{name}",)).rowcount:
                write.note_change(ChangeKind.RULE, f"device:{name}")
            write.note_device(name, Event.DEVICE_REMOVED, actor, now)

    def join_group(self, name: str, group: str, *, actor: str, now: float) -> None:
        """Make a device a member of a group; nothing happens when it is one."""
        with self.write() as write:
            write.require_device(name)
            if write.join_group(name, group, now):
                write.note_device(name, Event.GROUP_JOINED, actor, now, {"group": group})

    def leave_group(self, name: str, group: str, *, actor: str, now: float) -> None:
        """End a device's membership of a group.

        Raises:
            NotFound: when the device does not exist or is no member.
        """
        with self.write() as write:
            write.require_device(name)
            done = write.execute("DELETE FROM membership WHERE device = ? AND group_name = ?", (name, group))
            if not done.rowcount:
                raise NotFound(f"{name} is not in the group {group}", fix=f"lockgate device show {name}")
            write.note_device(name, Event.GROUP_LEFT, actor, now, {"group": group})

    def add_rule(self, rule: Rule, *, actor: str, now: float) -> int:
        """Add a rule; give the number that it got. See `store.rules`."""
        return stored_rules.add_rule(self, rule, actor=actor, now=now)

    def remove_rule(self, number: int, *, actor: str, now: float) -> None:
        """Remove the rule with this number. See `store.rules`."""
        stored_rules.remove_rule(self, number, actor=actor, now=now)

    def note_change(
        self,
        kind: str,
        name: str,
        *,
        actor: str,
        now: float,
        event: Event = Event.SERVER_CERTIFICATE_ISSUED,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Tell the gate of a change outside this file, such as a new server certificate, and audit it."""
        with self.write() as write:
            write.note_change(kind, name)
            write.note_audit(event, name, actor, now, details)

    @contextmanager
    def write(self) -> Iterator[RegistryWrite]:
        """Open a transaction: all that is written in the `with` block lands together, or nothing does."""
        with translated(self.path), transaction(self._connection) as connection:
            begin_log(connection, self.path)
            yield RegistryWrite(connection)

    def _known(self, name: str) -> Device:
        device = self.device(name)
        if device is None:
            raise NotFound(f"there is no device {name}")
        return device

    def _chosen(self, sql: str, column: str, order: str, names: Sequence[str] | None) -> Iterator[tuple[Any, ...]]:
        if names is None:
            return self.query(f"{sql} ORDER BY {order}")
        chosen = msgspec.json.encode(names).decode()
        query = f"{sql} WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY {order}"  # noqa: S608  (our words)
        return self.query(query, (chosen,))

    def query(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query, for the rooms beside this one that keep their own tables in the file."""
        return iter(self._connection.execute(sql, values).fetchall())

    def _one(self, sql: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(sql).fetchone()
        return row


class RegistryWrite:
    """An open transaction, with the notes that each write must leave."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute

    def require_device(self, name: str) -> None:
        """Come back when there is such a device.

        Raises:
            NotFound: when there is none.
        """
        if self.execute("SELECT 1 FROM device WHERE name = ?", (name,)).fetchone() is None:
            raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")

    def insert_credential(self, credential: Credential) -> int:
        """Keep a credential; give the number that it got.

        Raises:
            Conflict: when its key is registered to another device, or was revoked.
        """
        _check_key_free(self._connection, credential.device, credential.thumbprint)
        values = msgspec.structs.astuple(credential)[1:]
        done = self.execute(
            "INSERT INTO credential (device, kind, public, thumbprint, created_at, expires_at, is_revoked)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (values[0], str(credential.kind), *values[2:]),
        )
        return int(done.lastrowid or 0)

    def join_group(self, device: str, group: str, now: float) -> bool:
        """Make a device a member of a group, which exists from then on; say whether that was new."""
        self.execute("INSERT OR IGNORE INTO device_group VALUES (?, 0, ?)", (group, now))
        return self.execute("INSERT OR IGNORE INTO membership VALUES (?, ?)", (device, group)).rowcount > 0

    def note_change(self, kind: str, name: str) -> None:
        """Tell the gate what moved."""
        done = self.execute("INSERT INTO change (kind, name) VALUES (?, ?)", (str(kind), name))
        self.execute("DELETE FROM change WHERE sequence <= ?", ((done.lastrowid or 0) - MAX_CHANGES,))

    def note_audit(
        self, event: Event, subject: str, actor: str, now: float, details: Mapping[str, str] | None = None
    ) -> None:
        """Append to the audit trail who did what to whom."""
        row = (now, actor, str(event), subject, msgspec.json.encode(details or {}).decode())
        chain.append(self._connection, chain.AUDIT, [row])

    def note_device(
        self, name: str, event: Event, actor: str, now: float, details: Mapping[str, str] | None = None
    ) -> None:
        """Do both for a device."""
        self.note_change(ChangeKind.DEVICE, name)
        self.note_audit(event, name, actor, now, details)


def _check_key_free(connection: sqlite3.Connection, device: str, thumbprint: str) -> None:
    if not thumbprint:
        return
    query = "SELECT device, id FROM credential WHERE thumbprint = ? AND (device <> ? OR is_revoked) LIMIT 1"
    taken = connection.execute(query, (thumbprint, device)).fetchone()
    if taken is not None and thumbprint.startswith("address-"):
        raise Conflict(
            f"{thumbprint.removeprefix('address-')} is the address of {taken[0]}, or was: an address says who one is "
            "only as long as one device alone has it",
            fix=f"lockgate device remove {taken[0]} first, or name another address",
        )
    if taken is not None and taken[0] != device:
        raise Conflict(
            f"the key {thumbprint} is registered to another device",
            fix="make a key of its own for every device: one stolen device must harm only itself",
        )
    if taken is not None:
        raise Conflict(
            f"the key {thumbprint} of {device} was revoked (credential {taken[1]})",
            fix="make a new key: who has the old one would be the device again",
        )


_DEVICES = "SELECT name, is_blocked, created_at FROM device"
_MEMBERSHIPS = (
    "SELECT device, group_name, is_blocked FROM membership LEFT JOIN device_group ON device_group.name = group_name"
)
_BINDINGS = "SELECT device, gateway FROM binding"
_METADATA = "SELECT device, key, value FROM metadata"
_KINDS = {str(each): each for each in CredentialKind}
_CREDENTIALS = "SELECT id, device, kind, public, thumbprint, created_at, expires_at, is_revoked FROM credential"


def _add_device(write: RegistryWrite, device: Device, rules: Sequence[Rule], actor: str, now: float) -> None:
    try:
        write.execute("INSERT INTO device VALUES (?, ?, ?)", (device.name, device.is_blocked, device.created_at))
    except sqlite3.IntegrityError:
        raise Conflict(
            f"there is a device {device.name} already",
            fix=f"choose another name, or remove that one first: lockgate device remove {device.name}",
        ) from None
    for credential in device.credentials:
        write.insert_credential(msgspec.structs.replace(credential, device=device.name))
    for group in device.groups:
        write.join_group(device.name, group, now)
    for key, value in device.metadata.items():
        write.execute("INSERT INTO metadata VALUES (?, ?, ?)", (device.name, key, value))
    for rule in rules:
        stored_rules.insert_rule(write, rule)
    for subject in sorted({rule.subject for rule in rules}):
        write.note_change(ChangeKind.RULE, subject)
    details = {
        "auth": ", ".join(credential.kind for credential in device.credentials),
        "groups": ", ".join(device.groups),
        "rules": "; ".join(str(rule).removesuffix(" (built in)") for rule in rules),
    }
    write.note_device(device.name, Event.DEVICE_ADDED, actor, now, {k: v for k, v in details.items() if v})


def _credential(row: Sequence[Any]) -> Credential:
    number, device, kind, public, thumbprint, created_at, expires_at, is_revoked = row
    return Credential(number, device, _KINDS[kind], public, thumbprint, created_at, expires_at, bool(is_revoked))
