"""What a new key may have in common with those of the fleet: nothing.

Two RSA keys that share a prime give away each other's private half to whoever has both public ones. The fleet's moduli
are read once and kept; a new one is compared with all of them, many new ones together.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import rsa

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import Credential, CredentialKind
from lockgate.pki.certificates import PublicKey, public_key_to_pem, spki_thumbprint
from lockgate.registry.keys import registered_key
from lockgate.registry.weaknesses import check_weaknesses, shared_factors
from lockgate.store.credentials import credentials_after
from lockgate.store.registry_db import RegistryDb

KINDS_WITH_RSA = (CredentialKind.JWT_RS256, CredentialKind.X509)


class Fleet:
    """The RSA keys of all registered devices."""

    def __init__(self, database: RegistryDb) -> None:
        self._database = database
        self._last = 0
        self._moduli: dict[str, int] = {}

    def check_key(self, device: str, key: PublicKey) -> None:
        """Come back when a device may get a certificate for a key: before one is signed and on record.

        Raises:
            InvalidSettings: a weakness of it is known, or it has a prime in common with another.
            Conflict: it is registered to another device, or was revoked.
        """
        thumbprint = spki_thumbprint(key)
        check_weaknesses(key, thumbprint)
        self._database.check_key_free(device, thumbprint)
        if isinstance(key, rsa.RSAPublicKey):
            pem = public_key_to_pem(key).decode()
            for problem in self.problems([Credential(0, device, CredentialKind.JWT_RS256, pem, thumbprint)]).values():
                raise problem

    def problems(self, credentials: Sequence[Credential]) -> dict[int, LockgateError]:
        """Say, by its index, what is wrong with each of some new credentials beside the fleet and the others."""
        offered = {}
        for index, credential in enumerate(credentials):
            modulus = _modulus(credential)
            if modulus is not None:
                offered[index] = modulus
        if not offered:
            return {}
        self._read_on()
        own = {credentials[index].thumbprint for index in offered}  # the same key again is for the database to judge
        known = [(thumbprint, modulus) for thumbprint, modulus in self._moduli.items() if thumbprint not in own]
        places: list[int] = []
        seen: set[str] = set()
        for index in offered:
            if credentials[index].thumbprint not in seen:
                seen.add(credentials[index].thumbprint)
                places.append(index)
        found = shared_factors([modulus for _, modulus in known], [offered[index] for index in places])
        return {
            places[position]: _shared(
                credentials[places[position]],
                known[other][0] if is_known else credentials[places[other]].thumbprint,
                is_known,
            )
            for position, (other, is_known) in found.items()
        }

    def _read_on(self) -> None:
        for credential in credentials_after(self._database, self._last, KINDS_WITH_RSA):
            self._last = credential.id
            modulus = _modulus(credential)
            if modulus is not None:
                self._moduli[credential.thumbprint] = modulus


def _modulus(credential: Credential) -> int | None:
    if credential.kind not in KINDS_WITH_RSA:
        return None
    key = registered_key(credential)
    return key.public_numbers().n if isinstance(key, rsa.RSAPublicKey) else None


def _shared(credential: Credential, other: str, is_known: bool) -> LockgateError:
    where = "the registered key" if is_known else "another new key,"
    return InvalidSettings(
        f"the RSA key of {credential.device} has a prime in common with {where} {other[:16]}: "
        "who has both knows both private halves",
        reason="key refused: a prime in common with another",
        fix="make new keys for both devices, with another library: this one's random numbers are broken; "
        "lockgate credential list shows whose the other is",
    )
