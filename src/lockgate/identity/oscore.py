"""Identity by OSCORE context: who can protect a message by the keys of a context is its device.

A device and the hub share a master secret and a salt; each message names the context by the device's id. Deriving the
keys, the replay window and the protection itself are the library's (aiocoap).

Source: RFC 8613 sections 3 (security context) and 8.2 (verifying a request).
"""

from __future__ import annotations

import msgspec

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import DeviceSource, Secrets
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.handles import oscore_handle
from lockgate.registry.shared_secrets import OSCORE_SECRET_BYTES, bound_to

HUB_ID = b"\x00"
"""The id under which the hub sends in every context. A device's is longer, and so never the same."""


class OscoreSecrets(msgspec.Struct, frozen=True):
    """What both ends of a context share; `device_id` is the hub's Recipient ID, `hub_id` its Sender ID."""

    credential_id: int
    device: str
    master_secret: bytes
    master_salt: bytes
    device_id: bytes
    hub_id: bytes = HUB_ID

    def __repr__(self) -> str:
        """Show whose it is, never the secret."""
        return f"OscoreSecrets({self.device!r}, credential_id={self.credential_id}, id={self.device_id.hex()})"


def find_context(devices: DeviceSource, vault: Secrets, device_id: bytes) -> OscoreSecrets | None:
    """Give the context of an id; None when it is nobody's, or was revoked.

    Raises:
        InvalidSettings: when the vault cannot open it.
    """
    credential = _find(devices, device_id)
    if credential is None or credential.is_revoked:
        return None
    shared = vault.open(credential.public, bound_to(credential))
    secret, salt = shared[:OSCORE_SECRET_BYTES], shared[OSCORE_SECRET_BYTES:]
    return OscoreSecrets(credential.id, credential.device, secret, salt, device_id)


def verify_context(devices: DeviceSource, device_id: bytes) -> Credential:
    """Give the credential of a context by which a message was opened.

    Raises:
        AuthenticationFailed: it is nobody's any more.
    """
    credential = _find(devices, device_id)
    if credential is None:
        raise AuthenticationFailed(
            f"the OSCORE context {device_id.hex()} is registered to no device",
            reason="device not registered",
            fix="lockgate device add NAME --auth oscore --out DIR",
            evidence={"oscore id": device_id.hex()},
        )
    return credential


def _find(devices: DeviceSource, device_id: bytes) -> Credential | None:
    found = devices.credential_by_thumbprint(oscore_handle(device_id))
    return found if found is not None and found.kind is CredentialKind.OSCORE else None
