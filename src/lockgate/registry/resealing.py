"""All shared secrets sealed anew by a fresh key of the vault: for when somebody may have seen the old one.

The secrets themselves stay what they are: who has seen the old key *and* registry.db has seen them, and the devices
need new ones (`lockgate device rotate`). Devices notice nothing; a running hub takes up what changed as it comes.
"""

from __future__ import annotations

import msgspec

from lockgate.errors import InvalidSettings
from lockgate.events import Event
from lockgate.model.device import CredentialKind
from lockgate.registry.shared_secrets import bound_to
from lockgate.registry.vault import Vault
from lockgate.store.credentials import credentials_after, replace_sealed
from lockgate.store.registry_db import RegistryDb

SEALED_KINDS = (CredentialKind.PSK, CredentialKind.OSCORE)


class Resealed(msgspec.Struct, frozen=True):
    """How many secrets were sealed anew, and the devices of those that could not be opened."""

    count: int
    lost: tuple[str, ...] = ()


def reseal(db: RegistryDb, vault: Vault, *, actor: str, now: float) -> Resealed:
    """Seal every shared secret of the registry by a new key, all in one transaction.

    Raises:
        InvalidSettings: when the vault cannot be read or written.
    """
    undone, _ = _seal_anew(db, vault)
    if undone:  # by a run that broke off: the key that they are sealed by is about to go
        replace_sealed(db, undone, Event.SECRETS_RESEALED, actor=actor, now=now)
    vault.begin_rotation()
    sealed, lost = _seal_anew(db, vault)
    replace_sealed(db, sealed, Event.SECRETS_RESEALED, actor=actor, now=now)
    return Resealed(len(sealed), tuple(dict.fromkeys(lost)))


def _seal_anew(db: RegistryDb, vault: Vault) -> tuple[dict[int, str], list[str]]:
    """Give what is not sealed by the newest key, sealed by it, and whose cannot be opened."""
    sealed: dict[int, str] = {}
    lost: list[str] = []
    for credential in credentials_after(db, 0, SEALED_KINDS):
        if vault.is_newest(credential.public):
            continue
        try:
            secret = vault.open(credential.public, bound_to(credential))
        except InvalidSettings:
            lost.append(credential.device)
            continue
        sealed[credential.id] = vault.seal(secret, bound_to(credential))
    return sealed, lost
