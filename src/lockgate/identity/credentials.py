"""What a peer shows to prove who it is, and what identity needs from the rooms around it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec
from cryptography import x509

from lockgate.model.device import Credential, Device

SHOWN_WHOLE_CHARACTERS = 32
SHOWN_CHARACTERS = 12

Proof: TypeAlias = tuple[Credential, float | None]
"""The credential that was proven, and the unix second at which the proof ends; None when it does not."""


class Credentials(msgspec.Struct, frozen=True):
    """What a peer showed, in every door's words alike.

    `certificate` is one that TLS has verified against our CA; `secret` a password or a JWT;
    `is_protected` says whether the connection is encrypted; `host` is the peer's address.

    What only CoAP's peers show: `psk_identity` is the identity whose key DTLS has proven; `raw_public_key` a key whose
    private half DTLS has proven, as DER SubjectPublicKeyInfo; `oscore_id` the id of the OSCORE context that opened the
    message; `is_address_proven` says that `host` receives what is sent to it. A session without a client id of its own
    is called by the device's name and `suffix`, if there is one.
    """

    client_id: str
    user_name: str | None = None
    secret: bytes | None = None
    certificate: x509.Certificate | None = None
    is_protected: bool = True
    host: str = ""
    psk_identity: bytes | None = None
    raw_public_key: bytes | None = None
    oscore_id: bytes | None = None
    is_address_proven: bool = False
    suffix: str = ""

    def __repr__(self) -> str:
        """Show who, never the secret."""
        user_name = self.user_name and self.user_name[:SHOWN_CHARACTERS]
        return f"Credentials(client_id={self.client_id!r}, user_name={user_name!r}, host={self.host!r})"


class DeviceSource(Protocol):
    """What identity needs of the registry."""

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...

    def credential_by_thumbprint(self, thumbprint: str, /) -> Credential | None:
        """Find a credential by the SHA-256 of its SubjectPublicKeyInfo, in hex, or by a handle (`model.handles`)."""
        ...


class Secrets(Protocol):
    """What identity needs of the registry's vault."""

    def open(self, sealed: str, bound_to: str, /) -> bytes:
        """Give a secret that was sealed for `bound_to`."""
        ...


def shown_name(user_name: str, devices: DeviceSource) -> str:
    """Give a user name as logs and `lockgate why` may hold it: of a long one that no device has, the beginning alone.

    A password or a token that was put into the wrong field would else stand there for good.
    """
    if len(user_name) <= SHOWN_WHOLE_CHARACTERS or devices.device(user_name) is not None:
        return user_name
    return f"{user_name[:SHOWN_CHARACTERS]}…"
