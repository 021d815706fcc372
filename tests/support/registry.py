"""A registry in memory, and keys of devices: what identity, policy and hub see of the registry, without a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from argon2 import PasswordHasher
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lockgate.identity.scram import make_verifier
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.epoch import Epoch
from lockgate.model.handles import address_handle, oscore_handle, psk_handle
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.pki.certificates import spki_thumbprint
from lockgate.registry.refusals import RefusalLog
from lockgate.registry.shared_secrets import binding
from lockgate.registry.vault import Vault

NOW = 1_800_000_000.0
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes as argon2id does, in microseconds: for tests alone."""

EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65_537, 2048)

ED_KEY = ed25519.Ed25519PrivateKey.generate()

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_T = TypeVar("_T")


class FakeRegistry:
    """Devices and rules, as `DeviceSource` and `RuleSource` ask for them; every change moves the epoch."""

    def __init__(self) -> None:
        self.clock = Epoch()
        self.devices: dict[str, Device] = {}
        self.rules: list[Rule] = []
        self._last_credential = 0

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        return self.devices.get(name)

    def credential_by_thumbprint(self, thumbprint: str, /) -> Credential | None:
        """Find a credential by its key."""
        found = [c for d in self.devices.values() for c in d.credentials if c.thumbprint == thumbprint]
        return min(found, key=lambda c: (c.is_revoked, -c.id), default=None)

    def rules_for(self, device: str, /) -> tuple[Rule, ...]:
        """Give the rules of a device, its groups and everyone."""
        known = self.devices.get(device)
        groups = known.groups if known is not None else ()
        subjects = {f"device:{device}", *(f"group:{group}" for group in groups), "everyone"}
        return tuple(rule for rule in self.rules if rule.subject in subjects)

    def add(self, name: str, *credentials: Credential, groups: tuple[str, ...] = ()) -> Device:
        """Register a device; without credentials it gets a password that nobody knows."""
        made = []
        for credential in credentials or (Credential(0, name, CredentialKind.PASSWORD, "nobody knows it"),):
            self._last_credential += 1
            made.append(msgspec.structs.replace(credential, id=self._last_credential, device=name))
        self.devices[name] = Device(name, groups=groups, credentials=tuple(made))
        self.clock.move()
        return self.devices[name]

    def change(self, name: str, **fields: object) -> None:
        """Change fields of a device."""
        self.devices[name] = msgspec.structs.replace(self.devices[name], **fields)
        self.clock.move()

    def change_credentials(self, name: str, **fields: object) -> None:
        """Change fields of all credentials of a device."""
        self.change(
            name, credentials=tuple(msgspec.structs.replace(c, **fields) for c in self.devices[name].credentials)
        )

    def remove(self, name: str) -> None:
        """Remove a device."""
        del self.devices[name]
        self.clock.move()

    def allow(
        self,
        subject: str,
        operation: Operation,
        pattern: str,
        max_qos: int = 2,
        retain: bool = True,
        size: int | None = None,
        rate: float | None = None,
    ) -> Rule:
        """Add an allow rule."""
        levels = tuple(range(max_qos + 1))
        number = len(self.rules) + 1
        return self._add_rule(Rule(subject, operation, pattern, Effect.ALLOW, levels, retain, number, size, rate))

    def deny(self, subject: str, operation: Operation, pattern: str) -> Rule:
        """Add a deny rule."""
        return self._add_rule(Rule(subject, operation, pattern, Effect.DENY, id=len(self.rules) + 1))

    def principal(self, name: str, client_id: str = "") -> Principal:
        """Give a principal as identity would after a proof by the device's first credential."""
        return Principal(name, client_id or name, "x509", self.devices[name].credentials[0].id)

    def _add_rule(self, rule: Rule) -> Rule:
        self.rules.append(rule)
        self.clock.move()
        return rule


def es256(key: ec.EllipticCurvePrivateKey = EC_KEY) -> Credential:
    """Give the credential of a device that signs tokens with a P-256 key."""
    return Credential(0, "", CredentialKind.JWT_ES256, public_pem(key).decode(), spki_thumbprint(key.public_key()))


def rs256(key: rsa.RSAPrivateKey = RSA_KEY) -> Credential:
    """Give the credential of a device that signs tokens with an RSA key."""
    return Credential(0, "", CredentialKind.JWT_RS256, public_pem(key).decode(), spki_thumbprint(key.public_key()))


def eddsa(key: ed25519.Ed25519PrivateKey = ED_KEY) -> Credential:
    """Give the credential of a device that signs tokens with an Ed25519 key."""
    return Credential(0, "", CredentialKind.JWT_EDDSA, public_pem(key).decode(), spki_thumbprint(key.public_key()))


def x509_key(key: ec.EllipticCurvePrivateKey, expires_at: float | None = None) -> Credential:
    """Give the credential of a device that shows a certificate over a P-256 key."""
    thumbprint = spki_thumbprint(key.public_key())
    return Credential(0, "", CredentialKind.X509, "a certificate", thumbprint, expires_at=expires_at)


def password(secret: str) -> Credential:
    """Give the credential of a device with a password."""
    return Credential(0, "", CredentialKind.PASSWORD, CHEAP_HASHER.hash(secret))


def scram(secret: str) -> Credential:
    """Give the credential of a device that proves by SCRAM that it knows a password."""
    return Credential(0, "", CredentialKind.SCRAM_SHA_256, make_verifier(secret).to_text())


def psk(vault: Vault, device: str, key: bytes, identity: str = "") -> Credential:
    """Give the credential of a device that shares a key with the hub."""
    return _sealed(vault, device, CredentialKind.PSK, psk_handle(identity or device), key)


def oscore(
    vault: Vault, device: str, device_id: bytes, secret: bytes = b"s" * 16, salt: bytes = b"t" * 8
) -> Credential:
    """Give the credential of a device that protects its messages by OSCORE."""
    return _sealed(vault, device, CredentialKind.OSCORE, oscore_handle(device_id), secret + salt)


def rpk(key: ec.EllipticCurvePrivateKey = EC_KEY) -> Credential:
    """Give the credential of a device with a raw public key."""
    return Credential(0, "", CredentialKind.RPK, public_pem(key).decode(), spki_thumbprint(key.public_key()))


def nosec(address: str) -> Credential:
    """Give the credential of a device without protection."""
    return Credential(0, "", CredentialKind.NOSEC, address, address_handle(address))


def spki(key: SigningKey) -> bytes:
    """Write the public half of a key as DER SubjectPublicKeyInfo: a raw public key."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _sealed(vault: Vault, device: str, kind: CredentialKind, handle: str, secret: bytes) -> Credential:
    return Credential(0, device, kind, vault.seal(secret, binding(device, kind, handle)), handle)


def public_pem(key: SigningKey) -> bytes:
    """Write the public half of a key as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def counting(function: Callable[..., _T], calls: list[tuple[object, ...]]) -> Callable[..., _T]:
    """Wrap a function so that each call's arguments are noted in `calls`."""

    def wrapped(*arguments: object) -> _T:
        calls.append(arguments)
        return function(*arguments)

    return wrapped


def recent(log: RefusalLog) -> list[Refusal]:
    """Give what a log of refusals remembers, newest first."""
    return [entry.refusal for entry in reversed(log._entries.values())]
