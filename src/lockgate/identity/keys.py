"""What a DTLS handshake asks of the registry: the key of an identity, and whether a key or a certificate is good.

Who was revoked does not get through the handshake. Whose credential has expired, or who is blocked, does, and is told
so by the door.
"""

from __future__ import annotations

import structlog
from cryptography import x509

from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.identity.credentials import DeviceSource, Secrets
from lockgate.identity.psk import open_key
from lockgate.identity.rpk import find_raw_key
from lockgate.identity.x509 import barred_owner

log = structlog.get_logger()


class DtlsKeyring:
    """The keys of all devices, as the registry has them at the moment of each question (`net.dtls.DtlsKeys`).

    Args:
        devices: the registry.
        vault: opens the pre-shared keys.
    """

    def __init__(self, devices: DeviceSource, vault: Secrets) -> None:
        self._devices = devices
        self._vault = vault

    def psk(self, identity: bytes) -> bytes | None:
        """Give the pre-shared key of an identity, None when it has none that holds."""
        try:
            return open_key(self._devices, self._vault, identity)
        except LockgateError as error:
            # A handshake must not fail by an exception inside the library's callback.
            log.error(Event.SECRET_UNREADABLE, error=str(error), fix=error.fix)
            return None

    def is_known_key(self, spki: bytes) -> bool:
        """Say whether a raw public key (DER SubjectPublicKeyInfo) is of a credential that holds."""
        credential = find_raw_key(self._devices, spki)
        return credential is not None and not credential.is_revoked

    def is_barred(self, certificate: x509.Certificate) -> bool:
        """Say whether a certificate, good by itself, is of somebody revoked or unknown."""
        return bool(barred_owner(self._devices, certificate))
