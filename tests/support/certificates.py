"""Certificates made fresh for each run: a small CA that issues good ones and each kind of bad one.

`Authority("Hub CA").issue("sensor")` gives a client certificate; `purpose="server"` with `names=` a server's;
`valid_from`, `valid_until`, `purpose` and another `Authority` make the bad ones. Nothing here is used in production.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Purpose = Literal["client", "server", "any"]

_USAGES = {
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
}
_SERIALIZED = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


class Issued(msgspec.Struct, frozen=True):
    """A certificate, its key, and the CA certificates between it and the root (the root left out)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate and its chain, leaf first."""
        return b"".join(pem(each) for each in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The private key, not encrypted."""
        return self.key.private_bytes(serialization.Encoding.PEM, *_SERIALIZED)

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write `stem`.pem and `stem`.key.pem (0600) and give back their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key.pem"
        certificate.write_bytes(self.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key


class Authority:
    """A certificate authority for tests; P-256 throughout."""

    def __init__(self, name: str = "Test CA", parent: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = (parent.certificate, parent.key) if parent else (None, self.key)
        self.certificate: x509.Certificate = _certificate(
            name,
            self.key,
            issuer,
            issuer_key,
            [x509.BasicConstraints(ca=True, path_length=None)],
            _years(-1),
            _years(10),
        )
        self.chain: tuple[x509.Certificate, ...] = (self.certificate, *parent.chain) if parent else ()

    @classmethod
    def from_home(cls, home: Path) -> Authority:
        """Take the issuing CA of a hub's home, key and all, to issue what the hub itself never would."""
        made = cls.__new__(cls)
        made.certificate = x509.load_pem_x509_certificate((home / "ca" / "issuing.crt").read_bytes())
        key = serialization.load_pem_private_key((home / "ca" / "issuing.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        made.key = key
        made.chain = (made.certificate,)
        return made

    @property
    def pem(self) -> bytes:
        """This authority's certificate."""
        return pem(self.certificate)

    def issue(
        self,
        name: str = "sensor",
        *,
        names: Sequence[str] = (),
        purpose: Purpose = "client",
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Issued:
        """Issue a certificate for the subject `name`; `names` are DNS names and addresses for its SAN."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        extensions = _leaf_extensions(names, purpose)
        times = valid_from or _years(-0.1), valid_until or _years(1)
        return Issued(_certificate(name, key, self.certificate, self.key, extensions, *times), key, self.chain)

    def issue_expired(
        self, name: str = "sensor", *, ago: timedelta = timedelta(days=3), purpose: Purpose = "client"
    ) -> Issued:
        """Issue a certificate whose validity ended `ago` before now."""
        end = datetime.now(UTC) - ago
        return self.issue(
            name, names=["localhost"], purpose=purpose, valid_from=end - timedelta(days=30), valid_until=end
        )

    def issue_future(
        self, name: str = "sensor", *, ahead: timedelta = timedelta(days=3), purpose: Purpose = "client"
    ) -> Issued:
        """Issue a certificate whose validity begins `ahead` of now."""
        start = datetime.now(UTC) + ahead
        return self.issue(
            name, names=["localhost"], purpose=purpose, valid_from=start, valid_until=start + timedelta(days=30)
        )

    def crl(self, *revoked: x509.Certificate) -> bytes:
        """Give its revocation list with these certificates, as PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(datetime.now(UTC) - timedelta(hours=1))
            .next_update(datetime.now(UTC) + timedelta(days=1))
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(datetime.now(UTC)).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def self_signed(name: str = "sensor", *, names: Sequence[str] = (), purpose: Purpose = "client") -> Issued:
    """Make a certificate that no CA has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Issued(_certificate(name, key, None, key, _leaf_extensions(names, purpose), _years(-0.1), _years(1)), key)


def forged(authority: Authority, name: str = "sensor") -> Issued:
    """Make a certificate that names `authority` as its issuer, its key id included, but was signed by another key."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    extensions = _leaf_extensions((), "client")
    return Issued(_certificate(name, key, authority.certificate, other, extensions, _years(-0.1), _years(1)), key)


def pem(certificate: x509.Certificate) -> bytes:
    """Give back one certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _years(count: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=365 * count)


def _leaf_extensions(names: Sequence[str], purpose: Purpose) -> list[x509.ExtensionType]:
    extensions: list[x509.ExtensionType] = [x509.BasicConstraints(ca=False, path_length=None)]
    if purpose in _USAGES:
        extensions.append(x509.ExtendedKeyUsage(_USAGES[purpose]))
    if names:
        extensions.append(x509.SubjectAlternativeName([_general_name(name) for name in names]))
    return extensions


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType],
    valid_from: datetime,
    valid_until: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value if issuer else None
    if signer:
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer)
        builder = builder.add_extension(authority, critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256())
