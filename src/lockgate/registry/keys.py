"""Credentials as people hand them in: read, checked for their kind and strength, and named by their thumbprint."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.handles import address_handle, canonical_address
from lockgate.model.mosquitto_hash import MosquittoHash, is_mosquitto_hash
from lockgate.model.scram import ScramVerifier
from lockgate.pki.certificates import (
    PublicKey,
    certificate_key,
    certificates_from_pem,
    certificates_to_pem,
    claims_device,
    device_name_of,
    public_key_from_pem,
    public_key_to_pem,
    spki_thumbprint,
)
from lockgate.registry.shared_secrets import binding, read_oscore, read_psk
from lockgate.registry.vault import Vault
from lockgate.registry.weaknesses import NEW_KEY, check_weaknesses

_PASSWORDS = {CredentialKind.PASSWORD: "argon2id", CredentialKind.SCRAM_SHA_256: "SCRAM-SHA-256"}
_OTHER_WORDS = {
    CredentialKind.PSK: "shared key",
    CredentialKind.OSCORE: "AES-CCM-16-64-128",
    CredentialKind.NOSEC: "nothing",
}
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
CLOCK_TOLERANCE_SECONDS = 300
"""How far ahead the clock of a machine that makes certificates may be."""


class Offered(Protocol):
    """A credential that somebody wants to register: what `model.Credential` holds, before it has a number."""

    @property
    def kind(self) -> CredentialKind:
        """How it proves the device."""
        ...

    @property
    def public(self) -> str:
        """A public key or a certificate in PEM form, an argon2id hash, a SCRAM verifier, or an address (nosec).

        A token's key may come in a certificate (RSA_X509_PEM, ES256_X509_PEM): then it ends with that. What a device
        shares with the hub comes as it is (see `shared_secrets`), and is kept sealed.
        """
        ...

    @property
    def expires_at(self) -> float | None:
        """The unix second at which it ends, None for never."""
        ...


def check_credential(device: str, offered: Offered, now: float, vault: Vault | None = None) -> Credential:
    """Give the credential as the registry keeps it: checked, in one form, with its thumbprint and its end.

    Args:
        device: whose it is to be.
        offered: what was handed in.
        now: unix seconds.
        vault: seals what the device shares with the hub; needed for psk and oscore alone.

    Raises:
        InvalidSettings: when it cannot be read, is of another kind, too weak, of another device, or has expired.
    """
    read_secret = _SECRET_READERS.get(offered.kind)
    expires_at: float | None = None
    if read_secret is None:
        public, thumbprint, expires_at = _READERS[offered.kind](device, offered.public, now)
    else:
        secret, thumbprint = read_secret(device, offered.public)
        if vault is None:
            raise InvalidSettings(f"a credential of kind {offered.kind} can be registered only where it can be sealed")
        public = vault.seal(secret, binding(device, offered.kind, thumbprint))
    ends = [end for end in (offered.expires_at, expires_at) if end is not None]
    if ends and min(ends) <= now:
        when = datetime.fromtimestamp(min(ends), UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise InvalidSettings(f"the {offered.kind} credential of {device} has expired on {when}", fix=NEW_KEY)
    return Credential(0, device, offered.kind, public, thumbprint, now, min(ends, default=None))


def algorithm_of(credential: Credential) -> str:
    """Say in a few words what a registered credential is made of: RSA-3072, P-256, Ed25519, argon2id."""
    if is_mosquitto_hash(credential.public):
        return "mosquitto's SHA-512"
    if credential.kind in _PASSWORDS:
        return _PASSWORDS[credential.kind]
    if credential.kind in _OTHER_WORDS:
        return _OTHER_WORDS[credential.kind]
    key = registered_key(credential)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVE_NAMES.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "unreadable"


def registered_key(credential: Credential) -> object:
    """Give the public key of a registered credential; None when it is none that can be read."""
    pem = credential.public.encode()
    try:
        if credential.kind is CredentialKind.X509:
            return certificates_from_pem(pem)[0].public_key()
        return serialization.load_pem_public_key(pem)
    except (InvalidSettings, ValueError, UnsupportedAlgorithm):
        return None


def _read_es256(device: str, public: str, now: float) -> tuple[str, str, float | None]:
    key, end = _read_key(public, now)
    # RFC 7518 section 3.4: ES256 is ECDSA on P-256.
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidSettings(f"jwt-es256 needs a key on P-256; {device} came with {_describe(key)}", fix=NEW_KEY)
    return _checked(key, end)


def _read_rs256(device: str, public: str, now: float) -> tuple[str, str, float | None]:
    key, end = _read_key(public, now)
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidSettings(f"jwt-rs256 needs an RSA key; {device} came with {_describe(key)}", fix=NEW_KEY)
    return _checked(key, end)


def _read_eddsa(device: str, public: str, now: float) -> tuple[str, str, float | None]:
    key, end = _read_key(public, now)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InvalidSettings(f"jwt-eddsa needs an Ed25519 key; {device} came with {_describe(key)}", fix=NEW_KEY)
    return _checked(key, end)


def _read_raw_key(device: str, public: str, now: float) -> tuple[str, str, float | None]:
    key, end = _read_key(public, now)
    # RFC 7252 section 9.1.3.2: the suite that all must have is ECDHE_ECDSA, with P-256.
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidSettings(f"rpk needs a key on P-256; {device} came with {_describe(key)}", fix=NEW_KEY)
    return _checked(key, end)


def _read_address(device: str, public: str, _now: float) -> tuple[str, str, None]:
    address = ipaddress.ip_address(canonical_address(public))
    if address.is_multicast or address.is_unspecified:
        raise InvalidSettings(f"no device sends from {address}", fix=f"name the address that {device} has")
    return str(address), address_handle(public), None


def _checked(key: PublicKey, end: float | None) -> tuple[str, str, float | None]:
    thumbprint = spki_thumbprint(key)
    check_weaknesses(key, thumbprint)
    return public_key_to_pem(key).decode(), thumbprint, end


def _read_certificate(device: str, public: str, now: float) -> tuple[str, str, float]:
    try:
        certificate = certificates_from_pem(public.encode())[0]
        key = certificate_key(certificate)
    except InvalidSettings as error:
        error.fix = error.fix or NEW_KEY
        raise
    _check_begun(certificate, now)
    named = device_name_of(certificate)
    if named is None and claims_device(certificate):
        raise InvalidSettings(
            "the certificate names several devices, or one that no device can be called",
            fix=f"have it made with the one name urn:lockgate:device:{device}, or with none of that form",
        )
    if named is not None and named != device:
        raise InvalidSettings(
            f"the certificate names the device {named}, not {device}", fix=f"register it as {named}, or make a new one"
        )
    thumbprint = spki_thumbprint(key)
    check_weaknesses(key, thumbprint)
    return certificates_to_pem(certificate).decode(), thumbprint, certificate.not_valid_after_utc.timestamp()


def _check_begun(certificate: x509.Certificate, now: float) -> None:
    begin = certificate.not_valid_before_utc
    if begin.timestamp() > now + CLOCK_TOLERANCE_SECONDS:
        raise InvalidSettings(
            f"the certificate is not valid before {begin:%Y-%m-%d %H:%M UTC}",
            fix="check the clocks of this machine and of the one that made it, or come back then",
        )


def _read_password(device: str, public: str, _now: float) -> tuple[str, str, None]:
    # The text itself may be a password by mistake: it is never repeated.
    if is_mosquitto_hash(public):
        return MosquittoHash.from_text(public).text, "", None
    if not public.startswith("$argon2id$"):
        raise InvalidSettings(
            f"the registry takes an argon2id hash for {device}, in PHC form, and no other form of a password",
            fix="lockgate device add --auth password makes and hashes one",
        )
    return public, "", None


def _read_scram(device: str, public: str, _now: float) -> tuple[str, str, None]:
    try:
        return ScramVerifier.from_text(public).to_text(), "", None
    except InvalidSettings as error:
        raise InvalidSettings(
            f"the registry takes a SCRAM verifier for {device}, and no other form of a password: {error}",
            fix="lockgate device add --auth scram-sha-256 makes a password and its verifier",
        ) from error


_READERS: Mapping[CredentialKind, Callable[[str, str, float], tuple[str, str, float | None]]] = {
    CredentialKind.JWT_ES256: _read_es256,
    CredentialKind.JWT_RS256: _read_rs256,
    CredentialKind.JWT_EDDSA: _read_eddsa,
    CredentialKind.X509: _read_certificate,
    CredentialKind.PASSWORD: _read_password,
    CredentialKind.SCRAM_SHA_256: _read_scram,
    CredentialKind.RPK: _read_raw_key,
    CredentialKind.NOSEC: _read_address,
}
_SECRET_READERS: Mapping[CredentialKind, Callable[[str, str], tuple[bytes, str]]] = {
    CredentialKind.PSK: read_psk,
    CredentialKind.OSCORE: read_oscore,
}


def _read_key(public: str, now: float) -> tuple[PublicKey, float | None]:
    """Give the key of a PEM public key or certificate, and when it ends."""
    pem = public.encode()
    try:
        if "-----BEGIN CERTIFICATE-----" not in public:
            return public_key_from_pem(pem), None
        certificate = certificates_from_pem(pem)[0]
        key = certificate_key(certificate)
    except InvalidSettings as error:
        error.fix = error.fix or NEW_KEY
        raise
    _check_begun(certificate, now)
    return key, certificate.not_valid_after_utc.timestamp()


def _describe(key: PublicKey) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"one on {key.curve.name}"
    return "an RSA key" if isinstance(key, rsa.RSAPublicKey) else "an Ed25519 key"
