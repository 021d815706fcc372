"""Identity by address: no proof at all, for devices that can do nothing else on a network that nobody else is on.

Whoever can send from the address, or read what goes to it, is the device. The door takes this for an identity only
after the address has answered (RFC 9175 Echo), only where its operator has opened it, and only of a device that was
given this kind, by name, with both of its options.

Source: RFC 7252 section 9 (NoSec).
"""

from __future__ import annotations

from lockgate.errors import AuthenticationFailed, InvalidSettings
from lockgate.identity.credentials import DeviceSource
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.handles import address_handle


def verify_address(devices: DeviceSource, host: str) -> Credential:
    """Give the credential of an address that has answered.

    Raises:
        AuthenticationFailed: no device without protection is registered for it.
    """
    try:
        credential = devices.credential_by_thumbprint(address_handle(host))
    except InvalidSettings:
        credential = None
    if credential is None or credential.kind is not CredentialKind.NOSEC:
        raise AuthenticationFailed(
            f"no device without protection is registered for the address {host}",
            reason="device not registered",
            fix="have the device speak coaps (DTLS), which needs no such exception",
            evidence={"address": host},
        )
    return credential
