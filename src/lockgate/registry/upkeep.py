"""What messages.db holds about devices beside their messages, kept in step with the registry.

When a device was last seen is kept while the device is registered, and each key's last use while the registry lists the
key: a revoked one is listed, and when it was last used is what people then ask. Better hashes of passwords, which the
gate leaves for the office to put into the registry, go as soon as they stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from lockgate.model.device import Device
from lockgate.model.refusal import Refusal
from lockgate.registry.journal import CREDENTIAL_SEEN, JournalStore, SeenKind
from lockgate.store.credentials import mosquitto_credentials
from lockgate.store.messages_reader import read_rehashed, read_seen
from lockgate.store.registry_db import Change, ChangeKind, RegistryDb


class Devices(Protocol):
    """What upkeep needs of the registry."""

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...


class KeptStore(JournalStore, Protocol):
    """A store that also forgets."""

    def forget_seen(self, devices: Iterable[str], rows: Iterable[tuple[str, SeenKind]] = (), /) -> int:
        """Drop when some devices were seen, and single rows of others."""
        ...

    def save_rehashed(self, hashes: Mapping[int, str], /) -> int:
        """Leave better hashes of passwords, by credential."""
        ...

    def forget_rehashed(self, credentials: Iterable[int], /) -> int:
        """Drop those of some credentials."""
        ...


class Upkeep:
    """The store of the gate's journal; nothing is kept of whom the registry does not know.

    Args:
        devices: the registry in memory.
        database: registry.db.
        store: messages.db.
    """

    def __init__(self, devices: Devices, database: RegistryDb, store: KeptStore) -> None:
        self._devices = devices
        self._database = database
        self._store = store
        self._rehashed: set[int] = set()

    def begin(self, messages_path: Path) -> None:
        """Clear what was left by changes that came while no hub ran."""
        gone: list[str] = []
        rows: list[tuple[str, SeenKind]] = []
        for name, kinds in read_seen(messages_path).items():
            device = self._devices.device(name)
            if device is None:
                gone.append(name)
            else:
                rows += [(name, kind) for kind in kinds if not _is_listed(device, kind)]
        if gone or rows:
            self._store.forget_seen(gone, rows)
        self._rehashed.update(read_rehashed(messages_path))
        self.sweep()

    def follow(self, changes: Iterable[Change]) -> None:
        """Clear what there is of devices that were removed; the registry in memory has the changes already."""
        names = {change.name for change in changes if change.kind == ChangeKind.DEVICE}
        if gone := [name for name in names if self._devices.device(name) is None]:
            self._store.forget_seen(gone)

    def sweep(self) -> None:
        """Drop the better hashes that stand in the registry by now, and those of passwords that are no more."""
        if self._rehashed:
            waiting = mosquitto_credentials(self._database, self._rehashed)
            if done := self._rehashed - waiting:
                self._store.forget_rehashed(done)
                self._rehashed = waiting

    def save_rehashed(self, hashes: Mapping[int, str], /) -> int:
        """Leave better hashes of passwords, by credential, for the office, which writes the registry."""
        self._rehashed.update(hashes)
        return self._store.save_rehashed(hashes)

    def save_refusals(self, refusals: Iterable[Refusal], /) -> int:
        """Keep refusals."""
        return self._store.save_refusals(refusals)

    def save_seen(self, seen: Iterable[tuple[str, SeenKind, float, str]], /) -> int:
        """Keep when registered devices were last seen, and how."""
        known = [
            row for row in seen if (device := self._devices.device(row[0])) is not None and _is_listed(device, row[1])
        ]
        return self._store.save_seen(known) if known else 0

    def save_audit(self, events: Iterable[tuple[float, str, str, dict[str, str]]], /) -> int:
        """Keep security events."""
        return self._store.save_audit(events)


def _is_listed(device: Device, kind: SeenKind) -> bool:
    """Say whether a row is about the device itself, or about a credential that the registry lists."""
    if not kind.startswith(CREDENTIAL_SEEN):
        return True
    return any(kind == f"{CREDENTIAL_SEEN}{credential.id}" for credential in device.credentials)
