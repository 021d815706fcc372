"""Identity by raw public key: DTLS proves the private half; the registry knows whose key it is.

There is no certificate, and so no name, no end and no chain: the key itself is the identity.

Source: RFC 7250 (raw public keys in TLS), RFC 7252 section 9.1.3.2.
"""

from __future__ import annotations

import hashlib

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import DeviceSource
from lockgate.model.device import Credential, CredentialKind


def find_raw_key(devices: DeviceSource, spki: bytes) -> Credential | None:
    """Give the credential of a raw public key, one that holds before one that was revoked; None when it is nobody's.

    Args:
        devices: the registry.
        spki: the key as DER SubjectPublicKeyInfo.
    """
    thumbprint = hashlib.sha256(spki).hexdigest()
    found = devices.credential_by_thumbprint(thumbprint)
    device = devices.device(found.device) if found is not None else None
    if device is None:
        return None
    # The device may have a certificate over the same key, or sign tokens by it: those are other ways in.
    of_kind = [c for c in device.credentials if c.thumbprint == thumbprint and c.kind is CredentialKind.RPK]
    return max(of_kind, key=lambda c: (not c.is_revoked, c.id), default=None)


def verify_raw_key(devices: DeviceSource, spki: bytes) -> Credential:
    """Give the credential of a raw public key that was proven.

    Raises:
        AuthenticationFailed: it is registered to nobody.
    """
    credential = find_raw_key(devices, spki)
    if credential is None:
        thumbprint = hashlib.sha256(spki).hexdigest()
        raise AuthenticationFailed(
            f"the raw public key {thumbprint[:16]} is registered to no device",
            reason="device not registered",
            fix="lockgate device add NAME --auth rpk --public-key FILE --out DIR",
            evidence={"key": thumbprint},
        )
    return credential
