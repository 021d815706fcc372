"""The gate's view of the registry: all of it in memory, kept up to date from the change log.

`poll` asks for a number that moves when somebody has written, which costs microseconds; only when it has moved are the
changes read, and only what changed is loaded again. A change in bulk is applied in slices, so that no poll takes long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from lockgate.errors import LockgateError
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.epoch import Epoch
from lockgate.model.permission import EVERYONE, Rule
from lockgate.store.groups import blocked_among
from lockgate.store.registry_db import Change, ChangeKind, RegistryDb, Snapshot
from lockgate.store.rules import held_roles, roles_by_holder

CHANGES_PER_POLL = 250


class Registry:
    """Devices, credentials and rules, by what the gate looks them up with.

    Args:
        database: registry.db, usually opened read-only.
    """

    def __init__(self, database: RegistryDb) -> None:
        self._database = database
        self._devices: dict[str, Device] = {}
        self._by_thumbprint: dict[str, Credential] = {}
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._roles: dict[str, tuple[str, ...]] = {}
        self._early: list[Change] = []
        """What was applied before the poll that gives it."""
        self.clock = Epoch()
        """Moves whenever changes were applied, for those about whom policy may now decide otherwise."""
        self._is_behind = False
        self._version = database.data_version()  # before the snapshot: what comes in between is read again
        self._load(database.snapshot())

    def __len__(self) -> int:
        """Give the number of devices."""
        return len(self._devices)

    @property
    def epoch(self) -> int:
        """A number that moves whenever changes were applied."""
        return self.clock.number

    @property
    def sequence(self) -> int:
        """The number of the last change that is in here."""
        return self._sequence

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        return self._devices.get(name)

    def credential_by_thumbprint(self, thumbprint: str, /) -> Credential | None:
        """Find a credential by the SHA-256 of its SubjectPublicKeyInfo, in hex.

        Of several over one key (a renewed certificate), the newest that is not revoked, certificates before others.
        One that is not known may have been written since the last poll: who enrols by EST comes at once.
        """
        found = self._by_thumbprint.get(thumbprint)
        if found is None:
            with suppress(LockgateError):
                self._early += self._take()
            found = self._by_thumbprint.get(thumbprint)
        return found

    def members(self, group: str, /) -> list[str]:
        """Give the names of the devices in a group, in their order."""
        return sorted(self._members.get(group, ()))

    def rules_for(self, device: str, /) -> tuple[Rule, ...]:
        """Give the rules of a device, of its groups, of the roles that it or they hold, and of everyone."""
        known = self._devices.get(device)
        groups = known.groups if known is not None else ()
        holders = (f"device:{device}", *(f"group:{group}" for group in groups))
        roles = dict.fromkeys(f"role:{role}" for holder in holders for role in self._roles.get(holder, ()))
        subjects = (*holders, *roles, EVERYONE)
        return tuple(rule for subject in subjects for rule in self._rules.get(subject, ()))

    def poll(self) -> list[Change]:
        """Apply what others have written since the last call, and give it, oldest first.

        After the change of a group, a change of each of its members is given, as if it had been written.
        """
        changes = self._take()
        early, self._early = self._early, []
        return early + changes

    def _take(self) -> list[Change]:
        version = self._database.data_version()
        if version == self._version and not self._is_behind:
            return []
        changes = self._database.changes_since(self._sequence, CHANGES_PER_POLL)
        if changes and changes[0].sequence > self._sequence + 1:  # so far behind that the log no longer tells all
            self._version = version
            return self._begin_anew()
        # The numbers move only when all that they stand for was read: an error here leaves it to the next poll.
        affected = self._apply(changes)
        self._version = version
        self._is_behind = len(changes) == CHANGES_PER_POLL
        return changes + affected

    def _load(self, snapshot: Snapshot) -> None:
        self._sequence = snapshot.sequence
        self._devices.clear()
        self._by_thumbprint.clear()
        self._members.clear()
        self._take_devices(snapshot.devices)
        rules: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in snapshot.rules:
            rules[rule.subject].append(rule)
        self._rules = {subject: tuple(of_subject) for subject, of_subject in rules.items()}
        self._roles = roles_by_holder(snapshot.held_roles)

    def _begin_anew(self) -> list[Change]:
        """Load everything, and give a change for all that may be another than before."""
        devices, subjects = set(self._devices), set(self._rules)
        self._load(self._database.snapshot())
        self.clock.move()
        self._is_behind = False
        named: dict[str, set[str]] = {
            ChangeKind.DEVICE: devices | set(self._devices),
            ChangeKind.RULE: subjects | set(self._rules),
        }
        return [
            Change(self._sequence, str(kind), name) for kind in ChangeKind for name in sorted(named.get(kind, {""}))
        ]

    def _apply(self, changes: list[Change]) -> list[Change]:
        """Load what changed; give the devices that a group's change reached."""
        if not changes:
            return []
        names = sorted({change.name for change in changes if change.kind == ChangeKind.DEVICE})
        subjects = {change.name for change in changes if change.kind == ChangeKind.RULE}
        holders = {change.name for change in changes if change.kind == ChangeKind.ROLE}
        holders.update(f"device:{name}" for name in names)  # one that was removed holds none, should it come again
        devices = self._database.devices(names) if names else []
        rules = {subject: tuple(self._database.rules(subject)) for subject in subjects}
        roles = roles_by_holder(held_roles(self._database, holders)) if holders else {}
        groups = {change.name for change in changes if change.kind == ChangeKind.GROUP}
        states = blocked_among(self._database, groups) if groups else {}
        before = self._concerned(names, subjects | holders, groups)
        for name in names:
            self._drop_device(name)
        self._take_devices(devices)
        for subject, of_subject in rules.items():
            if of_subject:
                self._rules[subject] = of_subject
            else:
                self._rules.pop(subject, None)
        for holder in holders:
            self._roles[holder] = roles.get(holder, ())
        affected = sorted({name for group, state in states.items() for name in self._take_group(group, state)})
        self._sequence = changes[-1].sequence
        after = self._concerned(names, subjects | holders, groups)
        self.clock.move(None if before is None or after is None else before | after)
        return [Change(self._sequence, ChangeKind.DEVICE, name) for name in affected]

    def _concerned(self, names: Iterable[str], subjects: Iterable[str], groups: Iterable[str]) -> set[str] | None:
        """Give the devices about which policy decides by these devices, subjects and groups; None for all.

        About a gateway it decides by the devices for which the gateway speaks, as well.
        """
        found = set(names)
        for group in groups:
            found |= self._members.get(group, set())
        for subject in subjects:
            kind, _, name = subject.partition(":")
            if kind == "device":
                found.add(name)
            elif kind == "group":
                found |= self._members.get(name, set())
            else:  # everyone, or whoever holds a role
                return None
        gateways = {gateway for name in found if (known := self._devices.get(name)) for gateway in known.gateways}
        return found | gateways

    def _take_group(self, group: str, is_blocked: bool | None) -> list[str]:
        """Tell the members of a group that it is blocked, or is not, or (None) is no more; give their names."""
        members = self.members(group)
        for name in members:
            device = self._devices[name]
            blocked = {*device.blocked_groups, group} if is_blocked else {*device.blocked_groups} - {group}
            groups = device.groups if is_blocked is not None else tuple(g for g in device.groups if g != group)
            self._devices[name] = msgspec.structs.replace(device, groups=groups, blocked_groups=tuple(sorted(blocked)))
        if is_blocked is None:
            self._members.pop(group, None)
        return members

    def _drop_device(self, name: str) -> None:
        device = self._devices.pop(name, None)
        if device is None:
            return
        for group in device.groups:
            self._members[group].discard(name)
            if not self._members[group]:
                del self._members[group]
        for credential in device.credentials:
            found = self._by_thumbprint.get(credential.thumbprint)
            if found is not None and found.device == name:
                del self._by_thumbprint[credential.thumbprint]

    def _take_devices(self, devices: Iterable[Device]) -> None:
        for device in devices:
            self._devices[device.name] = device
            for group in device.groups:
                self._members[group].add(device.name)
            # The revoked first, so that those still good have the last word; and a certificate over the same key as a
            # token's is what somebody looks for who shows a certificate.
            for credential in sorted(device.credentials, key=_weight):
                if credential.thumbprint:
                    self._by_thumbprint[credential.thumbprint] = credential


def _weight(credential: Credential) -> tuple[bool, bool, int]:
    return not credential.is_revoked, credential.kind is CredentialKind.X509, credential.id
