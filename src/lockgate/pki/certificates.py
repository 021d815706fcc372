"""Keys and certificates as values: make them, read them, name them, write them as PEM.

Everything here is a pure function over `cryptography`'s objects; files belong to whoever calls.

A device's certificate names its device in one place, a subjectAltName of the form `urn:lockgate:device:NAME`
(RFC 5280 section 4.2.1.6); the subject's common name repeats it for people and is never read by the hub.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from lockgate.errors import InvalidSettings
from lockgate.model.device import check_name

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

DEVICE_URN = "urn:lockgate:device:"
RSA_BITS = 3072
MIN_RSA_BITS = 2048
MIN_RSA_EXPONENT = 65_537

_MAX_WORDS = 80
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def generate_key(kind: Literal["ec", "rsa", "ed25519"]) -> PrivateKey:
    """Give a new private key: P-256 for "ec", RSA with 3072 bits for "rsa", Ed25519 for "ed25519"."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=MIN_RSA_EXPONENT, key_size=RSA_BITS)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def check_public_key(key: object) -> PublicKey:
    """Give back `key` when it is strong enough to prove a device.

    Raises:
        InvalidSettings: for RSA under 2048 bits or with a small exponent, and for kinds that lockgate does not use.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise InvalidSettings(f"an RSA key needs at least {MIN_RSA_BITS} bits, this one has {key.key_size}")
        if key.public_numbers().e < MIN_RSA_EXPONENT:
            raise InvalidSettings(
                f"an RSA key needs an exponent of at least {MIN_RSA_EXPONENT}, this one has {key.public_numbers().e}"
            )
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise InvalidSettings(f"an elliptic-curve key must be on P-256, P-384 or P-521, not on {key.curve.name}")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise InvalidSettings(f"a key must be elliptic-curve, RSA or Ed25519, not {type(key).__name__}")


def private_key_to_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """Write a private key as PKCS #8 PEM (RFC 5958), encrypted where there is a password.

    Without one it is for a file with mode 0600, and for nothing else.
    """
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def private_key_from_pem(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """Read a private key: an unencrypted one, or with a password an encrypted one.

    Raises:
        InvalidSettings: when the text holds none, the password is wrong, missing or one too many, or the key is of a
            kind that lockgate does not use.
    """
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        if password is not None:
            raise InvalidSettings("the passphrase does not open this private key, or it is none") from error
        raise InvalidSettings("expected an unencrypted private key in PEM form, found something else") from error
    except TypeError as error:  # how cryptography says that a password is missing, or that none is needed
        if password is not None:
            raise InvalidSettings("expected an encrypted private key, found one without a passphrase") from error
        raise InvalidSettings("expected an unencrypted private key, found one that needs a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidSettings("a private key must be elliptic-curve, RSA or Ed25519")
    return key


def public_key_to_pem(key: PublicKey) -> bytes:
    """Write a public key as SubjectPublicKeyInfo PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key_from_pem(pem: bytes) -> PublicKey:
    """Read a public key and check its strength.

    Raises:
        InvalidSettings: when the text holds no public key, or a weak one.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", pem):
            raise InvalidSettings(
                "this is a private key; the hub takes the public half alone",
                fix="keep it on the device, and hand in: openssl pkey -in FILE -pubout",
            ) from error
        if re.search(rb"-----BEGIN [A-Z ]*PUBLIC KEY-----", pem):
            words = str(error).rstrip(".")
            raise InvalidSettings(
                f"the public key cannot be used ({words if len(words) < _MAX_WORDS else 'damaged'}): its exponent or "
                "modulus is out of range, or it is no point of its curve"
            ) from error
        raise InvalidSettings("expected a public key in PEM form, found something else") from error
    return check_public_key(key)


def certificates_to_pem(*certificates: x509.Certificate) -> bytes:
    """Write certificates as PEM, one after the other: the leaf first, as TLS sends them (RFC 8446 section 4.4.2)."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def certificates_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read all the certificates of a PEM text, in their order; there is at least one.

    Raises:
        InvalidSettings: when there is none, or one that cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise InvalidSettings("expected one or more certificates in PEM form, found something else") from error


def spki_thumbprint(key: PublicKey) -> str:
    """Give the SHA-256 of the key's SubjectPublicKeyInfo in DER, in hex: the same for a key and its certificates."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def certificate_thumbprint(certificate: x509.Certificate) -> str:
    """Give the thumbprint of the public key inside `certificate`.

    Raises:
        InvalidSettings: when its key is weak or of a kind that lockgate does not use.
    """
    return spki_thumbprint(certificate_key(certificate))


def certificate_key(certificate: x509.Certificate) -> PublicKey:
    """Give the public key inside `certificate`, checked for its strength.

    Raises:
        InvalidSettings: when it is weak or of a kind that lockgate does not use.
    """
    try:
        return check_public_key(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings("the certificate holds a key that cannot be read") from error


def device_name_of(certificate: x509.Certificate) -> str | None:
    """Give the name of the device that `certificate` speaks for, None when it names none, several, or no valid one."""
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    devices = [uri.removeprefix(DEVICE_URN) for uri in uris if uri.startswith(DEVICE_URN)]
    if len(devices) != 1:
        return None
    try:
        return check_name(devices[0])
    except InvalidSettings:
        return None


def claims_device(certificate: x509.Certificate) -> bool:
    """Say whether `certificate` says anything of a device in our form: also one that is misspelt, or one of several.

    What another CA issues for its own purposes says nothing. Names that cannot be read count as a claim.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return True
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return any(uri.lower().startswith(DEVICE_URN) for uri in uris)  # RFC 8141 section 3.1: letters of either case


def has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Say whether `authority` signed `certificate`: by its signature, not only by its name."""
    if certificate.issuer != authority.subject:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the host names and IP addresses that `certificate` is good for, in its own order."""
    names = _alternative_names(certificate)
    if names is None:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def describe(certificate: x509.Certificate) -> str:
    """Say on one line whom the certificate speaks for, who issued it, until when, and its fingerprint.

    Names are shown as Python string literals would show them, so that none can smuggle a line or a control character
    into a log.
    """
    device = device_name_of(certificate)
    names = ", ".join(names_of(certificate))
    subject = f"device {device}" if device else names or _common_name(certificate.subject)
    until = certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
    fingerprint = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()[:16]
    line = f"{subject}, issued by {_common_name(certificate.issuer)}, valid until {until}, sha256 {fingerprint}"
    return line if line.isprintable() else line.encode("unicode_escape").decode("ascii")


def general_name(text: str) -> x509.DNSName | x509.IPAddress:
    """Give a host name or an IP address in the form that a server certificate holds it (RFC 5280 section 4.2.1.6).

    Raises:
        InvalidSettings: when it is neither: a wildcard, a scoped address, a URL, a name outside ASCII.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return x509.DNSName(_host_name(text))
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise InvalidSettings(f"{text!r} holds a scope, which a certificate cannot: leave out '%{address.scope_id}'")
    return x509.IPAddress(address)


def _host_name(text: str) -> str:
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels) or labels[-1].isdigit():
        raise InvalidSettings(
            f"{text!r} is no host name or IP address: "
            "expected something like hub.example, hub.local, 192.168.1.10 or fd00::10 (write other scripts as xn--...)"
        )
    return host


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    # A certificate comes from the peer: what cannot be parsed names nobody.
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else name.rfc4514_string() or "no name"
