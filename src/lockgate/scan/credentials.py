"""Devices' credentials as several checks look at them."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.device import Credential, CredentialKind
from lockgate.pki.certificates import PublicKey, certificate_key, certificates_from_pem, public_key_from_pem
from lockgate.scan.subject import Subject

RENEW = "lockgate device rotate {device} --out DIR # and bring it the new one before that"


def live(subject: Subject) -> Iterator[Credential]:
    """Give the credentials that open a door now: neither revoked nor expired."""
    for device in subject.need(subject.devices, "registry"):
        for credential in device.credentials:
            if not credential.is_revoked and (credential.expires_at is None or credential.expires_at > subject.now):
                yield credential


def has_public_key(credential: Credential) -> bool:
    """Say whether a credential holds a public key: passwords, shared secrets and addresses are none."""
    return credential.kind.value.startswith("jwt-") or credential.kind in (CredentialKind.X509, CredentialKind.RPK)


def public_key(credential: Credential) -> PublicKey:
    """Read the public key of a credential that has one, and check its strength.

    Raises:
        InvalidSettings: when it cannot be read, or is weak.
    """
    pem = credential.public.encode()
    if credential.kind is CredentialKind.X509:
        return certificate_key(certificates_from_pem(pem)[0])
    return public_key_from_pem(pem)
