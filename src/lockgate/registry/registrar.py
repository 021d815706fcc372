"""What people do to the registry: add, block, revoke, remove, permit. Checked here, written to registry.db, audited.

Every refusal says what would mend it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from lockgate.errors import Conflict, InvalidSettings, LockgateError, NotFound, QuotaExceeded
from lockgate.model.device import Credential, Device, check_name
from lockgate.model.permission import Rule
from lockgate.pki.certificates import PublicKey
from lockgate.registry.fleet import Fleet
from lockgate.registry.keys import Offered, check_credential
from lockgate.registry.rules import check_rule, helpful
from lockgate.registry.shared_keys import SharedKeys
from lockgate.registry.vault import SECRETS_FILE, Vault
from lockgate.settings import RegistrySettings
from lockgate.store import credentials as stored_credentials
from lockgate.store import groups as stored_groups
from lockgate.store.registry_db import RegistryDb, RegistryWrite

DEFAULT_LIMITS = RegistrySettings()

OWN_KEY = "make a key of its own for every device: one stolen device must harm only itself"
_COUNTED = re.compile(r"(.*?)([0-9]{1,18})\Z")
_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class Draft(msgspec.Struct, frozen=True):
    """One of many devices that are to be registered together; see `Registrar.add_device`."""

    name: str
    credentials: tuple[Offered, ...] = ()
    groups: tuple[str, ...] = ()
    metadata: dict[str, str] = {}


class Registrar:
    """Administrative acts on the registry, each by somebody.

    Args:
        database: registry.db, open for writing.
        actor: who acts, as the audit trail shall name them.
        clock: gives unix seconds.
        limits: how much one device may have.
    """

    def __init__(
        self,
        database: RegistryDb,
        actor: str,
        clock: Callable[[], float] = time.time,
        limits: RegistrySettings = DEFAULT_LIMITS,
    ) -> None:
        self._database = database
        self._actor = actor
        self._clock = clock
        self._limits = limits
        self._fleet = Fleet(database)
        self._vault = Vault(database.path.with_name(SECRETS_FILE))
        self._shared_keys = SharedKeys(database, self._vault)

    def add_device(
        self,
        name: str,
        credentials: Sequence[Offered],
        groups: Sequence[str] = (),
        rules: Sequence[Rule] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Device:
        """Register a device; give it back with the numbers of its credentials.

        Args:
            name: the device's name.
            credentials: how it may prove itself; at least one.
            groups: what it belongs to.
            rules: what it may beyond its own tree; each with the subject "device:NAME".
            metadata: what is to be remembered about it.

        Raises:
            InvalidSettings: when a name, a key or a rule cannot be used.
            TopicFilterInvalid: when a rule's filter breaks the rules for filters.
            Conflict: when the name or a key is taken.
        """
        now = self._clock()
        with helpful():
            described = self._check_new(name, groups, rules, metadata)
            if not credentials:
                raise InvalidSettings(f"{name} has no credential: nobody could ever prove to be it")
            self._check_count(name, len(credentials))
            checked = tuple(self._check(name, offered, now) for offered in credentials)
            device = Device(
                name, created_at=now, groups=tuple(dict.fromkeys(groups)), credentials=checked, metadata=described
            )
            return self._database.add_device(device, rules, actor=self._actor, now=now)

    def problems(self, drafts: Sequence[Draft]) -> dict[int, LockgateError]:
        """Say, by its index, what is wrong with each of many new devices, as far as their credentials are known yet."""
        found: dict[int, LockgateError] = {}
        now = self._clock()
        known = self.known([draft.name for draft in drafts])
        thumbprints: set[str] = set()
        credentials: list[Credential] = []
        owners: list[int] = []
        for index, draft in enumerate(drafts):
            try:
                check_name(draft.name)
                for group in draft.groups:
                    check_name(group, "group")
                check_metadata(draft.metadata, self._limits)
                if draft.name in known:
                    raise Conflict(
                        f"there is a device {draft.name} already", fix="choose another name, or leave it out"
                    )
                known.add(draft.name)
                for offered in draft.credentials:
                    credential = check_credential(draft.name, offered, now, self._vault)
                    if credential.thumbprint and credential.thumbprint in thumbprints:
                        raise Conflict(f"the key of {draft.name} is another device's as well", fix=OWN_KEY)
                    thumbprints.add(credential.thumbprint)
                    credentials.append(credential)
                    owners.append(index)
            except LockgateError as error:
                found[index] = error
        taken = stored_credentials.taken_thumbprints(self._database, [c.thumbprint for c in credentials])
        for place, credential in enumerate(credentials):
            if credential.thumbprint in taken:
                problem = Conflict(f"the key of {credential.device} is registered already", fix=OWN_KEY)
                found.setdefault(owners[place], problem)
        for place, shared in {**self._fleet.problems(credentials), **self._shared_keys.problems(credentials)}.items():
            found.setdefault(owners[place], shared)
        return found

    def add_devices(self, drafts: Sequence[Draft]) -> None:
        """Register many devices: all of them or none.

        Raises:
            LockgateError: the first problem of any of them; its evidence names the device.
        """
        for index, problem in sorted(self.problems(drafts).items()):
            problem.evidence["device"] = drafts[index].name
            raise problem
        now = self._clock()
        devices = [
            Device(
                draft.name,
                created_at=now,
                groups=tuple(dict.fromkeys(draft.groups)),
                credentials=tuple(
                    check_credential(draft.name, offered, now, self._vault) for offered in draft.credentials
                ),
                metadata=draft.metadata,
            )
            for draft in drafts
        ]
        with helpful():
            self._database.add_devices([(device, ()) for device in devices], actor=self._actor, now=now)

    def known(self, names: Sequence[str]) -> set[str]:
        """Give those of some names that are registered."""
        return {device.name for device in self._database.devices(names)}

    def counts_up(self, name: str) -> bool:
        """Say whether a device's name is the number before or after another's: who knows one, guesses the others."""
        match = _COUNTED.match(name)
        if match is None:
            return False
        stem, digits = match[1], match[2]
        near = [f"{stem}{int(digits) + step:0{len(digits)}}" for step in (-1, 1) if int(digits) + step >= 0]
        return bool(self._database.devices(near))

    def check_new(
        self,
        name: str,
        groups: Sequence[str] = (),
        rules: Sequence[Rule] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Come back when there may be such a new device, before anything is made for it.

        Raises:
            Conflict: when one has this name.
            LockgateError: as `add_device` does.
        """
        with helpful():
            self._check_new(name, groups, rules, metadata)
        if self._database.device(name) is not None:
            raise Conflict(f"there is a device {name} already", fix=f"lockgate device remove {name}, or another name")

    def check_key(self, name: str, key: PublicKey) -> None:
        """Come back when a device may get a certificate for a key, before one is made; see `Fleet.check_key`."""
        with helpful():
            self._fleet.check_key(name, key)

    def check_room(self, name: str) -> None:
        """Come back when a device may have one more credential, before anything is made for it.

        Raises:
            NotFound: when there is no such device.
            QuotaExceeded: when it has as many as it may.
        """
        self._check_count(name, self._count_live(name, self._clock()) + 1)

    def device(self, name: str) -> Device:
        """Give a device by its name.

        Raises:
            NotFound: when there is none.
        """
        return self._require_device(name)

    def add_credential(
        self, name: str, offered: Offered, check: Callable[[RegistryWrite], None] | None = None
    ) -> Credential:
        """Give a device one more credential, beside those it has, so that keys can change without a gap.

        `check` raises when the right to it is gone at the moment at which it is written.
        """
        now = self._clock()
        with helpful():
            self._check_count(name, self._count_live(name, now) + 1)
            credential = self._check(name, offered, now)
            return self._database.add_credential(credential, actor=self._actor, now=now, check=check)

    def renew_credential(self, name: str, offered: Offered, follows: str, own_end_at: float) -> Credential:
        """Give a device one more credential by right of the one whose thumbprint it `follows`, if that still counts.

        `own_end_at` is the unix second at which that one ends by itself; if it was told to end earlier, it has no heir.
        """
        now = self._clock()
        with helpful():
            self._check_count(name, self._count_live(name, now) + 1)
            credential = self._check(name, offered, now)
            return stored_credentials.renew_credential(
                self._database, credential, follows, own_end_at, actor=self._actor, now=now
            )

    def rotate(self, name: str, offered: Offered, overlap_seconds: float) -> tuple[Credential, int]:
        """Give a device a new credential; all that it had end after the overlap, during which both hold.

        Returns:
            The new credential, and how many older ones end.
        """
        now = self._clock()
        with helpful():
            self._check_count(name, self._count_live(name, now) + 1)
            credential = self._check(name, offered, now)
            end_at = now + overlap_seconds
            return stored_credentials.rotate_credential(self._database, credential, end_at, actor=self._actor, now=now)

    def revoke_credential(self, number: int) -> str:
        """Revoke one credential for good; its live sessions end. Give the name of its device."""
        with helpful():
            return stored_credentials.revoke_credential(self._database, number, actor=self._actor, now=self._clock())

    def expire_credential(self, number: int, end_at: float) -> str:
        """Let one credential end at a unix second, earlier than it would. Give the name of its device."""
        now = self._clock()
        with helpful():
            return stored_credentials.expire_credential(self._database, number, end_at, actor=self._actor, now=now)

    def describe(self, name: str, metadata: Mapping[str, str]) -> None:
        """Replace what is remembered about a device: keys and values, bounded in count and size."""
        with helpful():
            described = check_metadata(metadata, self._limits)
            stored_groups.set_metadata(self._database, name, described, actor=self._actor, now=self._clock())

    def block(self, name: str) -> None:
        """Shut a device out until it is unblocked; its live sessions end."""
        with helpful():
            self._database.set_blocked(name, True, actor=self._actor, now=self._clock())

    def unblock(self, name: str) -> None:
        """Let a blocked device in again."""
        with helpful():
            self._database.set_blocked(name, False, actor=self._actor, now=self._clock())

    def revoke(self, name: str) -> int:
        """Revoke all credentials of a device for good; give how many were still good."""
        with helpful():
            return self._database.revoke_credentials(name, actor=self._actor, now=self._clock())

    def remove(self, name: str) -> None:
        """Remove a device with its credentials, memberships and rules."""
        with helpful():
            self._database.remove_device(name, actor=self._actor, now=self._clock())

    def join(self, name: str, group: str) -> None:
        """Make a device a member of a group."""
        with helpful():
            check_name(group, "group")
            self._database.join_group(name, group, actor=self._actor, now=self._clock())

    def leave(self, name: str, group: str) -> None:
        """End a device's membership of a group."""
        with helpful():
            self._database.leave_group(name, group, actor=self._actor, now=self._clock())

    def add_group(self, group: str) -> None:
        """Make a group that nobody belongs to yet; one exists as well as soon as a device joins it."""
        with helpful():
            check_name(group, "group")
            stored_groups.add_group(self._database, group, actor=self._actor, now=self._clock())

    def block_group(self, group: str) -> None:
        """Shut out all members of a group until it is unblocked, and who joins it; their live sessions end."""
        with helpful():
            stored_groups.set_group_blocked(self._database, group, True, actor=self._actor, now=self._clock())

    def unblock_group(self, group: str) -> None:
        """Let the members of a blocked group in again, save those that are blocked themselves."""
        with helpful():
            stored_groups.set_group_blocked(self._database, group, False, actor=self._actor, now=self._clock())

    def revoke_group(self, group: str) -> int:
        """Revoke all credentials of all members of a group for good; give how many were still good."""
        with helpful():
            return stored_groups.revoke_group(self._database, group, actor=self._actor, now=self._clock())

    def remove_group(self, group: str) -> int:
        """Remove a group with its memberships and rules; give how many members it had, who stay registered."""
        with helpful():
            return stored_groups.remove_group(self._database, group, actor=self._actor, now=self._clock())

    def bind_gateway(self, device: str, gateway: str) -> None:
        """Let the device `gateway` speak for `device`."""
        with helpful():
            if device == gateway:
                raise InvalidSettings(f"{device} speaks for itself already", fix="name two devices")
            found = self._require_device(device)
            if gateway not in found.gateways and len(found.gateways) >= self._limits.max_gateways_per_device:
                raise QuotaExceeded(
                    f"{device} has {len(found.gateways)} gateways already, as many as registry.max_gateways_per_device",
                    fix=f"lockgate gateway unbind {found.gateways[0]} {device}, or raise the limit",
                )
            stored_groups.bind_gateway(self._database, device, gateway, actor=self._actor, now=self._clock())

    def unbind_gateway(self, device: str, gateway: str) -> None:
        """Let `gateway` speak for `device` no longer."""
        with helpful():
            stored_groups.unbind_gateway(self._database, device, gateway, actor=self._actor, now=self._clock())

    def add_rule(self, rule: Rule) -> Rule:
        """Add a rule, allowing or denying; give it back with its number.

        Raises:
            InvalidSettings: when its subject, its variables or its limits cannot be.
            TopicFilterInvalid: when its filter breaks the rules for filters.
            NotFound: when it is about a device or a role that does not exist.
        """
        with helpful():
            check_rule(rule)
            kind, _, name = rule.subject.partition(":")
            if kind == "device":
                self._require_device(name)
            number = self._database.add_rule(rule, actor=self._actor, now=self._clock())
        return msgspec.structs.replace(rule, id=number)

    def remove_rule(self, number: int) -> None:
        """Remove the rule with this number."""
        with helpful():
            self._database.remove_rule(number, actor=self._actor, now=self._clock())

    def _require_device(self, name: str) -> Device:
        device = self._database.device(name)
        if device is None:
            raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")
        return device

    def _check_new(
        self, name: str, groups: Sequence[str], rules: Sequence[Rule], metadata: Mapping[str, str] | None
    ) -> dict[str, str]:
        """Check what a new device shall be; give its metadata."""
        check_name(name)
        for group in groups:
            check_name(group, "group")
        for rule in rules:
            if rule.subject != f"device:{name}":
                raise InvalidSettings(f"a rule of {name} must be about device:{name}, not {rule.subject}")
            check_rule(rule)
        return check_metadata(metadata or {}, self._limits)

    def _check(self, name: str, offered: Offered, now: float) -> Credential:
        credential = check_credential(name, offered, now, self._vault)
        problems = {**self._fleet.problems([credential]), **self._shared_keys.problems([credential])}
        for problem in problems.values():
            raise problem
        return credential

    def _count_live(self, name: str, now: float) -> int:
        credentials = self._require_device(name).credentials
        return sum(not c.is_revoked and (c.expires_at is None or c.expires_at > now) for c in credentials)

    def _check_count(self, name: str, count: int) -> None:
        most = self._limits.max_credentials_per_device
        if count > most:
            raise QuotaExceeded(
                f"{name} would have {count} credentials that hold; registry.max_credentials_per_device is {most}",
                fix=f"revoke one that is not used any more; lockgate credential list {name} shows them",
            )


def check_metadata(metadata: Mapping[str, str], limits: RegistrySettings) -> dict[str, str]:
    """Give back what may be remembered about a device.

    Raises:
        InvalidSettings: when a key is no name, or a value holds control characters.
        QuotaExceeded: when it is too much.
    """
    for key, value in metadata.items():
        if not _KEY.match(key):
            raise InvalidSettings(
                f"{key!r} is no key for metadata: 1 to 64 letters, digits, '.', '-' or '_'",
                fix="write --metadata KEY=VALUE",
            )
        if not value.isprintable():
            raise InvalidSettings(f"the value of {key} holds a control character", fix="write it on one line")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if len(metadata) > limits.max_metadata_per_device or size > limits.max_metadata_bytes_per_device:
        raise QuotaExceeded(
            f"{len(metadata)} keys and {size} bytes of metadata are too much: registry.max_metadata_per_device is "
            f"{limits.max_metadata_per_device}, registry.max_metadata_bytes_per_device "
            f"{limits.max_metadata_bytes_per_device}",
            fix="keep the rest elsewhere, under the device's name",
        )
    return dict(metadata)
