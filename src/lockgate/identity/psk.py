"""Identity by pre-shared key: DTLS proves that the device has the key of the identity that it names.

The identity is the device's name; a key that took the place of another has one of its own, the name and a suffix, so
that both hold for a while and it is known which one was shown. The registry keeps the key sealed.

Source: RFC 4279 (identities), RFC 7252 section 9.1.3.1, RFC 7925 section 4.2.
"""

from __future__ import annotations

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import DeviceSource, Secrets
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.handles import psk_handle
from lockgate.registry.shared_secrets import MAX_IDENTITY, bound_to, shown_identity


def find_identity(devices: DeviceSource, identity: bytes) -> Credential | None:
    """Give the credential of an identity, revoked ones included; None when it is nobody's."""
    if len(identity) > MAX_IDENTITY:
        return None
    try:
        credential = devices.credential_by_thumbprint(psk_handle(identity.decode("ascii")))
    except UnicodeDecodeError:
        return None
    return credential if credential is not None and credential.kind is CredentialKind.PSK else None


def open_key(devices: DeviceSource, vault: Secrets, identity: bytes) -> bytes | None:
    """Give the key of an identity for a handshake; None when it is nobody's, or was revoked.

    Whose credential has expired, or who is blocked, gets through the handshake and is told so by the door.

    Raises:
        InvalidSettings: when the vault cannot open it.
    """
    credential = find_identity(devices, identity)
    if credential is None or credential.is_revoked:
        return None
    return vault.open(credential.public, bound_to(credential))


def verify_identity(devices: DeviceSource, identity: bytes) -> Credential:
    """Give the credential of an identity whose key was proven.

    Raises:
        AuthenticationFailed: it is nobody's any more.
    """
    credential = find_identity(devices, identity)
    if credential is None:
        shown = shown_identity(identity.decode("ascii", "backslashreplace"))
        raise AuthenticationFailed(
            f"the pre-shared key of {shown!r} is registered to no device",
            reason="device not registered",
            fix="lockgate device add NAME --auth psk --out DIR",
            evidence={"identity": shown},
        )
    return credential
