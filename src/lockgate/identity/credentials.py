"""What a peer shows to prove who it is, and what identity needs from the rooms around it."""

from __future__ import annotations

from typing import Protocol

import msgspec
from cryptography import x509

from lockgate.model.device import Credential, Device


class Credentials(msgspec.Struct, frozen=True):
    """What a peer showed, in every door's words alike.

    `certificate` is one that TLS has verified against our CA; `secret` a password or a JWT;
    `is_protected` says whether the connection is encrypted; `host` is the peer's address.
    """

    client_id: str
    user_name: str | None = None
    secret: bytes | None = None
    certificate: x509.Certificate | None = None
    is_protected: bool = True
    host: str = ""

    def __repr__(self) -> str:
        """Show who, never the secret."""
        return f"Credentials(client_id={self.client_id!r}, user_name={self.user_name!r}, host={self.host!r})"


class DeviceSource(Protocol):
    """What identity needs of the registry."""

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...

    def credential_by_thumbprint(self, thumbprint: str, /) -> Credential | None:
        """Find a credential by the SHA-256 of its SubjectPublicKeyInfo, in hex."""
        ...
