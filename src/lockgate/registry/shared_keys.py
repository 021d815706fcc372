"""What a new pre-shared key may have in common with those of the fleet: nothing.

Two devices with one key are one device: each opens what the other says, and one that is stolen is both. Keys of the
fleet are opened once; what is kept of them here is a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress

from lockgate.errors import Conflict, InvalidSettings, LockgateError
from lockgate.model.device import Credential, CredentialKind
from lockgate.registry.shared_secrets import bound_to, check_psk
from lockgate.registry.vault import Vault
from lockgate.store.credentials import credentials_after
from lockgate.store.registry_db import RegistryDb

_OWN = "make a key of its own for every device: lockgate device add NAME --auth psk --out DIR"


class SharedKeys:
    """The pre-shared keys of all registered devices, those that were revoked among them."""

    def __init__(self, database: RegistryDb, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._last = 0
        self._owners: dict[bytes, str] = {}

    def problems(self, credentials: Sequence[Credential]) -> dict[int, LockgateError]:
        """Say, by its index, which of some new credentials has a key that another one has, or had."""
        found: dict[int, LockgateError] = {}
        offered = {index: c for index, c in enumerate(credentials) if c.kind is CredentialKind.PSK}
        if not offered:
            return found
        self._read_on()
        owners = dict(self._owners)
        for index, credential in offered.items():
            digest = _digest(self._vault.open(credential.public, bound_to(credential)))
            if digest in owners:
                whose = "an earlier one of its own" if owners[digest] == credential.device else "another device's"
                found[index] = Conflict(
                    f"the pre-shared key of {credential.device} is {whose} as well",
                    fix=_OWN,
                    reason="key refused: shared with another",
                )
            owners.setdefault(digest, credential.device)
        return found

    def _read_on(self) -> None:
        for credential in credentials_after(self._database, self._last, (CredentialKind.PSK,)):
            self._last = credential.id
            with suppress(InvalidSettings):  # one that nobody can open lets nobody in either
                key = self._vault.open(credential.public, bound_to(credential))
                self._owners.setdefault(_digest(key), credential.device)


def examine_secrets(credentials: Iterable[Credential], vault: Vault) -> list[tuple[str, str]]:
    """Give what is wrong with the sealed secrets among some credentials: the device, and a sentence about it.

    What is found here came past the registry: by other means, from an older release, or out of a backup.
    """
    found: list[tuple[str, str]] = []
    owners: dict[bytes, str] = {}
    for credential in credentials:
        if credential.kind not in (CredentialKind.PSK, CredentialKind.OSCORE):
            continue
        try:
            secret = vault.open(credential.public, bound_to(credential))
            if credential.kind is CredentialKind.PSK:
                check_psk(credential.device, secret)
        except InvalidSettings as error:
            found.append((credential.device, f"{credential.device}: {error}"))
            continue
        other = owners.setdefault(_digest(secret), credential.device)
        if other != credential.device:
            found.append((credential.device, f"{credential.device} and {other} share one secret with the hub"))
    return found


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
