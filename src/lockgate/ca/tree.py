"""The chain of a home as a tree: the root, the CAs under it, the server's certificate, and the devices' in numbers.

It reads certificates and the registry, never a key, so that anyone who may read the home may look.
"""

from __future__ import annotations

import hashlib

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.ca.desk import older_paths
from lockgate.ca.trusted import foreign_authorities
from lockgate.home import Home
from lockgate.pki.certificates import certificate_thumbprint, certificates_from_pem, names_of
from lockgate.store.certificates import counts, latest_list
from lockgate.store.registry_db import RegistryDb


class CertificateFacts(msgspec.Struct, frozen=True):
    """One certificate: its subject, SHA-256 fingerprint in hex, serial number in hex, and its end in unix seconds."""

    name: str
    fingerprint: str
    serial: str
    expires_at: float
    names: tuple[str, ...] = ()


class IssuerFacts(msgspec.Struct, frozen=True):
    """One issuing CA and what is known of what it issued.

    `id` is the thumbprint of its key; `state` is "issuing", "older" or "foreign"; `devices` counts certificates of
    devices as valid, expired and revoked; `list_number` and `next_list_at` are about its latest revocation list.
    """

    id: str
    state: str
    certificate: CertificateFacts
    devices: dict[str, int]
    list_number: int | None = None
    next_list_at: float | None = None
    server: CertificateFacts | None = None


class CaFacts(msgspec.Struct, frozen=True):
    """All of it; `roots` is the newest first."""

    roots: tuple[CertificateFacts, ...]
    is_root_key_here: bool
    issuers: tuple[IssuerFacts, ...]
    foreign_server: CertificateFacts | None = None


def facts_of(home: Home, registry: RegistryDb, now: float) -> CaFacts:
    """Look a home's certificates over."""
    issuing = certificates_from_pem(home.issuing_path.read_bytes())[0]
    older = [certificates_from_pem(path.read_bytes())[0] for path in older_paths(home)]
    server = certificates_from_pem(home.server_path.read_bytes())[0]
    states = [(issuing, "issuing"), *((each, "older") for each in older)]
    states += [(each, "foreign") for each in foreign_authorities(home)]
    by_issuer = counts(registry, now)
    issuers = [_issuer(registry, certificate, state, by_issuer, server) for certificate, state in states]
    return CaFacts(
        tuple(_facts(each) for each in certificates_from_pem(home.root_pem())),
        home.root_key_path.exists(),
        tuple(issuers),
        None if any(each.server for each in issuers) else _facts(server),
    )


def _issuer(
    registry: RegistryDb,
    certificate: x509.Certificate,
    state: str,
    by_issuer: dict[tuple[str, str], int],
    server: x509.Certificate,
) -> IssuerFacts:
    own = certificate_thumbprint(certificate)
    latest = latest_list(registry, own)
    return IssuerFacts(
        own,
        state,
        _facts(certificate),
        {each: by_issuer.get((own, each), 0) for each in ("valid", "expired", "revoked")},
        latest.number if latest is not None else None,
        latest.next_update if latest is not None else None,
        _facts(server) if server.issuer == certificate.subject else None,
    )


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        certificate.subject.rfc4514_string(),
        hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        f"{certificate.serial_number:x}",
        certificate.not_valid_after_utc.timestamp(),
        names_of(certificate),
    )
