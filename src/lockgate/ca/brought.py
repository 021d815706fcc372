"""Certificates that a device holds already, from its maker's CA: looked over before they are registered.

What is refused here would be refused in the handshake, where nobody sits who could mend it. The private key is never
asked for: that the device has it, each of its handshakes proves. Source: RFC 5280 sections 4.2.1.3 and 4.2.1.12.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from lockgate.ca.desk import read_crls
from lockgate.errors import InvalidSettings
from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.net.trust import why_not_believed
from lockgate.pki.certificates import certificates_from_pem, certificates_to_pem, describe
from lockgate.provision.bundle import NewCredential
from lockgate.registry.keys import check_credential

_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def check_brought(home: Home, name: str, pem: str, now: float) -> str:
    """Give a device's certificate and what it shows along with it, as PEM, when the gate would believe it now.

    Args:
        home: the hub's.
        name: the device's name.
        pem: its certificate, followed by those between it and a CA that is trusted.
        now: unix seconds.

    Raises:
        InvalidSettings: it cannot be read, is out of its time, weak, of another device, revoked, not for clients, or of
            a CA that is not trusted.
    """
    if _PRIVATE.search(pem):
        raise InvalidSettings(
            "the file holds a private key; the hub takes the certificate alone",
            fix="keep the key on the device, and hand in: openssl x509 -in FILE",
        )
    check_credential(name, NewCredential(CredentialKind.X509, pem), now)
    chain = certificates_from_pem(pem.encode())
    _check_use(chain[0])
    words = why_not_believed(chain, certificates_from_pem(home.bundle_path.read_bytes()), now)
    if words:
        issuer = chain[-1].issuer.rfc4514_string()
        raise InvalidSettings(
            f"the certificate ({describe(chain[0])}) does not lead to a CA that the hub trusts: {words}",
            fix=f"lockgate ca trust CA.pem, with the certificate of {issuer or 'its issuer'}; or add to the file "
            "what is between them",
        )
    for each in read_crls(home.crl_path):
        if each.issuer == chain[0].issuer and each.get_revoked_certificate_by_serial_number(chain[0].serial_number):
            raise InvalidSettings("its CA has revoked the certificate", fix="give the device a new one")
    return certificates_to_pem(*chain).decode()


def _check_use(leaf: x509.Certificate) -> None:
    # As the engine judges a client: what is not said is allowed, and `any` is not said for a client.
    fix = "have it issued for TLS clients: extendedKeyUsage = clientAuth, keyUsage = digitalSignature"
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise InvalidSettings(
                "the certificate is not for clients: its extended key usage lacks clientAuth", fix=fix
            )
    except x509.ExtensionNotFound:
        pass
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.digital_signature:
            raise InvalidSettings(
                "the key of the certificate may not sign: its key usage lacks digitalSignature", fix=fix
            )
    except x509.ExtensionNotFound:
        pass
