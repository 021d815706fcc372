"""The authority: a root, the issuing CA under it, and the certificates of servers and devices.

Source: RFC 5280 sections 4.1 and 4.2 (profile), 4.2.1.1 and 4.2.1.2 (key identifiers), 4.2.1.9 (basic constraints),
4.2.1.12 (extended key usage). Keys of authorities are ECDSA P-256. Two levels:

    root (path length 1)  ->  issuing CA (path length 0)  ->  server and device certificates

Devices hold the root as `ca.pem`; servers and devices show their own certificate followed by the issuing CA's.
Times are unix seconds and come from the caller. Every certificate begins an hour before `now`, so that a peer whose
clock is a little slow accepts it, and none outlives its issuer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from lockgate.errors import InvalidSettings
from lockgate.model.device import check_name
from lockgate.pki.certificates import (
    DEVICE_URN,
    PublicKey,
    certificate_key,
    certificate_thumbprint,
    certificates_from_pem,
    certificates_to_pem,
    check_public_key,
    general_name,
    generate_key,
    private_key_from_pem,
    private_key_to_pem,
)

DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS
ROOT_LIFE_SECONDS = 20 * YEAR_SECONDS
ISSUING_LIFE_SECONDS = 10 * YEAR_SECONDS
SERVER_LIFE_SECONDS = 2 * YEAR_SECONDS
DEVICE_LIFE_SECONDS = 10 * YEAR_SECONDS
BACKDATE_SECONDS = 3600

# Under the public address of a hub; the place holder is the issuer's thumbprint.
CRL_PATH = "/pki/{}.crl"
ISSUER_PATH = "/pki/{}.crt"
OCSP_PATH = "/pki/ocsp"

_MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1: ub-common-name


class Authority:
    """A certificate authority: its certificate and the key that signs for it.

    Args:
        certificate: the authority's own certificate.
        key: the private key that belongs to it; it never shows in `repr`.
        public_url: where its revocation list, its OCSP answers and its certificate can be fetched, as what it issues
            shall say; "" says nothing.

    Raises:
        InvalidSettings: when the certificate is no CA's, or the key does not belong to it.
    """

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, public_url: str = "") -> None:
        if not _is_ca(certificate):
            raise InvalidSettings("the authority's certificate is not one of a certificate authority")
        if certificate_key(certificate) != key.public_key():
            raise InvalidSettings("the authority's key does not belong to its certificate")
        self.certificate = certificate
        self.public_url = public_url.rstrip("/")
        self._key = key

    def __repr__(self) -> str:
        """Show the name, never the key."""
        return f"Authority({self.certificate.subject.rfc4514_string()!r})"

    @classmethod
    def create_root(
        cls, common_name: str = "lockgate root CA", *, now: float, life_seconds: float = ROOT_LIFE_SECONDS
    ) -> Authority:
        """Make a new root: it signs itself, and one level of authorities under it."""
        key = _generate_ca_key()
        subject = _name(common_name)
        builder = _builder(subject, key.public_key(), now, now + life_seconds).issuer_name(subject)
        builder = _as_ca(builder, path_length=1).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(
        cls, certificate_pem: bytes, key_pem: bytes, public_url: str = "", password: bytes | None = None
    ) -> Authority:
        """Read an authority back: the first certificate of `certificate_pem` and its key.

        Raises:
            InvalidSettings: when one of them cannot be read, or they do not belong together.
        """
        key = private_key_from_pem(key_pem, password)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidSettings("the authority's key must be an elliptic-curve key")
        return cls(certificates_from_pem(certificate_pem)[0], key, public_url)

    @property
    def is_root(self) -> bool:
        """Whether this authority signed itself."""
        return self.certificate.subject == self.certificate.issuer

    def certificate_pem(self) -> bytes:
        """Give the authority's certificate as PEM."""
        return certificates_to_pem(self.certificate)

    def key_pem(self) -> bytes:
        """Give the authority's private key as PEM: for its file with mode 0600, and for nothing else."""
        return private_key_to_pem(self._key)

    def encrypted_key_pem(self, password: bytes) -> bytes:
        """Give the authority's private key as PEM that only `password` opens: to be kept somewhere else."""
        return private_key_to_pem(self._key, password)

    def chain_pem(self, leaf: x509.Certificate) -> bytes:
        """Give `leaf` and this authority's certificate as a server or device shows them; a root is left out."""
        return certificates_to_pem(leaf) if self.is_root else certificates_to_pem(leaf, self.certificate)

    @property
    def thumbprint(self) -> str:
        """The SHA-256 of the authority's SubjectPublicKeyInfo, in hex: what the registry knows an issuer by."""
        return certificate_thumbprint(self.certificate)

    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """Give how what this authority signs names its key (RFC 5280 section 4.2.1.1)."""
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """Sign a revocation list."""
        return builder.sign(self._key, hashes.SHA256())

    def sign_ocsp(self, builder: ocsp.OCSPResponseBuilder) -> ocsp.OCSPResponse:
        """Sign an OCSP answer as the issuer itself (RFC 6960 section 4.2.2.2)."""
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
        return builder.sign(self._key, hashes.SHA256())

    def create_issuing(
        self, common_name: str = "lockgate issuing CA", *, now: float, life_seconds: float = ISSUING_LIFE_SECONDS
    ) -> Authority:
        """Make the issuing CA under this root; it signs servers and devices and no further authority."""
        key = _generate_ca_key()
        builder = _builder(_name(common_name), key.public_key(), now, self._end(now, life_seconds))
        return Authority(self._sign(_as_ca(builder, path_length=0)), key)

    def certify(self, issuing: Authority, *, now: float, life_seconds: float = ISSUING_LIFE_SECONDS) -> Authority:
        """Give an issuing CA, with the same key and name, as one under this root: those who hold this root believe it.

        So one key can stand under two roots while devices learn the second.
        """
        own = issuing.certificate
        builder = _builder(own.subject, certificate_key(own), now, self._end(now, life_seconds))
        return Authority(self._sign(_as_ca(builder, path_length=0)), issuing._key, issuing.public_url)

    def issue_server(
        self,
        names: Sequence[str],
        public_key: PublicKey,
        *,
        now: float,
        life_seconds: float = SERVER_LIFE_SECONDS,
    ) -> x509.Certificate:
        """Give a server certificate for `names`: host names and IP addresses by which clients reach the hub.

        Raises:
            InvalidSettings: when there is no name, or one that is neither host name nor IP address.
        """
        if not names:
            raise InvalidSettings("a server certificate needs at least one host name or IP address")
        alternatives = list(dict.fromkeys(general_name(name) for name in names))
        first = str(alternatives[0].value)
        subject = _name(first if len(first) <= _MAX_COMMON_NAME else "lockgate hub")
        return self._issue(
            subject, x509.SubjectAlternativeName(alternatives), public_key, ExtendedKeyUsageOID.SERVER_AUTH,
            now, life_seconds,
        )  # fmt: skip

    def issue_device(
        self, name: str, public_key: PublicKey, *, now: float, life_seconds: float = DEVICE_LIFE_SECONDS
    ) -> x509.Certificate:
        """Give a client certificate that speaks for the device `name`, as `urn:lockgate:device:NAME`.

        Raises:
            InvalidSettings: when the name is no valid device name, or the key is weak.
        """
        uri = x509.UniformResourceIdentifier(DEVICE_URN + check_name(name))
        return self._issue(
            _name(name), x509.SubjectAlternativeName([uri]), public_key, ExtendedKeyUsageOID.CLIENT_AUTH,
            now, life_seconds,
        )  # fmt: skip

    def issue_device_for_request(
        self,
        name: str,
        request: x509.CertificateSigningRequest,
        *,
        now: float,
        life_seconds: float = DEVICE_LIFE_SECONDS,
    ) -> x509.Certificate:
        """Give a client certificate for the key of a certificate request (RFC 2986).

        Only the key is taken from the request; its subject and extensions are ignored: a device does not name itself.

        Raises:
            InvalidSettings: when the request is not signed by its own key, or as for `issue_device`.
        """
        if not request.is_signature_valid:
            raise InvalidSettings("the certificate request is not signed by the key that it asks a certificate for")
        return self.issue_device(name, check_public_key(request.public_key()), now=now, life_seconds=life_seconds)

    def _issue(
        self,
        subject: x509.Name,
        names: x509.SubjectAlternativeName,
        public_key: PublicKey,
        usage: x509.ObjectIdentifier,
        now: float,
        life_seconds: float,
    ) -> x509.Certificate:
        builder = (
            _builder(subject, check_public_key(public_key), now, self._end(now, life_seconds))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(names, critical=False)
        )
        for extension in self._addresses():
            builder = builder.add_extension(extension, critical=False)
        return self._sign(builder)

    def _addresses(self) -> tuple[x509.ExtensionType, ...]:
        """Give where the state of a certificate can be asked for (RFC 5280 sections 4.2.1.13 and 4.2.2.1)."""
        if not self.public_url:
            return ()
        crl, issuer = (_uri(self.public_url + path.format(self.thumbprint)) for path in (CRL_PATH, ISSUER_PATH))
        return (
            x509.CRLDistributionPoints([x509.DistributionPoint([crl], None, None, None)]),
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(AuthorityInformationAccessOID.OCSP, _uri(self.public_url + OCSP_PATH)),
                    x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, issuer),
                ]
            ),
        )

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return (
            builder.issuer_name(self.certificate.subject)
            .add_extension(self.key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _end(self, now: float, life_seconds: float) -> float:
        """Give the last second of a certificate: none outlives its issuer."""
        own_end = self.certificate.not_valid_after_utc.timestamp()
        if now >= own_end:
            ended = self.certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
            raise InvalidSettings(f"the certificate authority itself expired at {ended}: it can issue nothing more")
        return min(now + life_seconds, own_end)


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _generate_ca_key() -> ec.EllipticCurvePrivateKey:
    key = generate_key("ec")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, key: PublicKey, now: float, end: float) -> x509.CertificateBuilder:
    """Begin a certificate: random serial number (section 4.1.2.2), validity, key and its identifier."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - BACKDATE_SECONDS))
        .not_valid_after(_time(end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _as_ca(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _key_usage(key_cert_sign=True, crl_sign=True), critical=True
    )


def _key_usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
