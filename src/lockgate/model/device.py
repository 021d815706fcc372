"""Devices and their credentials, as the registry keeps them. No private key is ever in one."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from lockgate.errors import InvalidSettings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
RESERVED_NAMES = frozenset({"lab", "hub", "lockgate"})


class CredentialKind(StrEnum):
    """How a device proves who it is; the values are what `device add --auth` takes."""

    JWT_ES256 = "jwt-es256"
    JWT_RS256 = "jwt-rs256"
    JWT_EDDSA = "jwt-eddsa"
    X509 = "x509"
    PASSWORD = "password"  # noqa: S105  (a kind, not a password)
    SCRAM_SHA_256 = "scram-sha-256"
    PSK = "psk"
    RPK = "rpk"
    OSCORE = "oscore"
    NOSEC = "nosec"

    @property
    def is_for_coap_alone(self) -> bool:
        """Whether a device of this kind speaks CoAP and cannot speak MQTT."""
        return self in (CredentialKind.PSK, CredentialKind.RPK, CredentialKind.OSCORE, CredentialKind.NOSEC)


class Credential(msgspec.Struct, frozen=True):
    """One way in for one device.

    `public` is what the hub needs to check it and nothing more: a PEM public key (jwt-*, rpk), a PEM certificate
    (x509), an argon2id hash in PHC form (password), a `model.scram` verifier (scram-sha-256), a secret sealed by the
    home's key (psk, oscore), or the address that the device sends from (nosec). `thumbprint` is what it is found by:
    the SHA-256 of the public key's SubjectPublicKeyInfo in hex, "" for passwords, else a handle (`model.handles`).
    Times are unix seconds.
    """

    id: int
    device: str
    kind: CredentialKind
    public: str
    thumbprint: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    is_revoked: bool = False

    def __repr__(self) -> str:
        """Show which it is, and not what it is checked by: of a password that is its hash."""
        which = f"id={self.id}, device={self.device!r}, kind={self.kind.value!r}"
        return f"Credential({which}, thumbprint={self.thumbprint!r}, is_revoked={self.is_revoked})"


class Device(msgspec.Struct, frozen=True):
    """One device of the registry, with everything that decides who it is and what it belongs to.

    `gateways` are the devices that may speak for it; `blocked_groups` those of its groups that are blocked; `metadata`
    what people want to remember about it, and nothing that decides.
    """

    name: str
    is_blocked: bool = False
    created_at: float = 0.0
    groups: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()
    gateways: tuple[str, ...] = ()
    blocked_groups: tuple[str, ...] = ()
    metadata: dict[str, str] = {}

    @property
    def is_shut_out(self) -> bool:
        """Whether the device itself is blocked, or a group that it belongs to."""
        return self.is_blocked or bool(self.blocked_groups)


def check_name(text: str, what: str = "device") -> str:
    """Give back `text` when it may name a device or a group.

    Letters, digits, dot, dash and underscore only, so that a name can never smuggle a wildcard or a level into a
    topic filter, a client id or a path.

    Raises:
        InvalidSettings: when it may not, saying what is allowed.
    """
    if not _NAME.match(text):
        raise InvalidSettings(
            f"{text!r} is no valid {what} name: 1 to 63 letters, digits, '.', '-' or '_', "
            "beginning with a letter or digit"
        )
    if text.lower() in RESERVED_NAMES:
        raise InvalidSettings(f"{text!r} is reserved for the hub itself: choose another {what} name")
    return text


def owns_client_id(device: str, client_id: str) -> bool:
    """Say whether `device` may open a session with `client_id`: its own name, or its name, a slash and a suffix."""
    return client_id == device or client_id.startswith(device + "/")
