"""The look-up in revocation lists: who is named by whom, and which lists take more than a look-up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from lockgate.net.context import TlsContext
from lockgate.net.failures import TlsReason
from lockgate.net.revoked import Named
from tests.support.certificates import Authority, Issued
from tests.support.tls import Pair, client_context

NOW = datetime.now(UTC)
CA = Authority("Devices CA")
SERVER = CA.issue("hub", names=["localhost"], purpose="server")
GOOD, BAD = CA.issue("good"), CA.issue("bad")
ISSUING_POINT = x509.IssuingDistributionPoint(
    full_name=None, relative_name=None, only_contains_user_certs=True, only_contains_ca_certs=False,
    only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False,
)  # fmt: skip


def revoked_list(
    *serials: int,
    authority: Authority = CA,
    extension: tuple[x509.ExtensionType, bool] | None = None,
    of_entries: tuple[x509.ExtensionType, bool] | None = None,
) -> x509.CertificateRevocationList:
    """Make a list that names these serial numbers; with one more extension of the list, or of each entry."""
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, NOW, NOW + timedelta(days=1))
    builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    if extension is not None:
        builder = builder.add_extension(*extension)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        if of_entries is not None:
            entry = entry.add_extension(*of_entries)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256())


def certificate_of(subject: x509.Name, *extensions: x509.ExtensionType, serial: int = 7) -> x509.Certificate:
    """Make a certificate of a CA by this name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial, NOW, NOW + timedelta(days=1))
    for each in extensions:
        builder = builder.add_extension(each, critical=True)
    return builder.sign(key, hashes.SHA256())


def holds(named: Named, certificate: x509.Certificate) -> bool:
    engine: Any = crypto.X509.from_cryptography(certificate)
    return named.holds(engine._x509)


def meets(crl: x509.CertificateRevocationList, client: Issued) -> Pair:
    """Shake hands with a hub that has this list."""
    server = TlsContext([SERVER.certificate], SERVER.key, [CA.certificate], crls=[crl])
    return Pair(server, client_context(CA, client)).shake_hands()


def test_a_certificate_is_named_by_its_issuer_and_its_number_together() -> None:
    other = Authority("Others CA")
    named = Named.of([CA.certificate, other.certificate], [revoked_list(BAD.certificate.serial_number)])
    assert named
    assert holds(named, BAD.certificate)
    assert not holds(named, GOOD.certificate)
    namesake = certificate_of(other.certificate.subject, serial=BAD.certificate.serial_number)
    assert not holds(named, namesake), "a number says nothing without its issuer"


@pytest.mark.parametrize("serial", [1, 127, 128, 255, 256, 2**158 + 1, 2**159 - 1])
def test_numbers_of_any_length_are_found(serial: int) -> None:
    certificate = certificate_of(CA.certificate.subject, serial=serial)
    named = Named.of([CA.certificate], [revoked_list(serial)])
    assert named
    assert holds(named, certificate)
    assert not holds(named, certificate_of(CA.certificate.subject, serial=serial + 1))


def test_an_issuer_is_known_in_another_spelling_as_the_engine_knows_it() -> None:
    named = Named.of([CA.certificate], [revoked_list(9)])
    assert named
    shouted = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DEVICES  CA")])
    assert holds(named, certificate_of(shouted, serial=9))


def test_lists_that_name_nobody_cost_no_look_up() -> None:
    named = Named.of([CA.certificate], [revoked_list()])
    assert named is not None
    assert not named


@pytest.mark.parametrize(
    "crl",
    [
        revoked_list(5, extension=(ISSUING_POINT, True)),
        revoked_list(5, extension=(x509.DeltaCRLIndicator(1), True)),
        revoked_list(5, extension=(x509.CRLReason(x509.ReasonFlags.key_compromise), False)),
        revoked_list(5, of_entries=(x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)),
        revoked_list(5, of_entries=(x509.CRLReason(x509.ReasonFlags.key_compromise), True)),
        revoked_list(5, of_entries=(x509.CertificateIssuer([x509.DNSName("other")]), True)),
    ],
)
def test_a_list_that_says_more_is_left_to_the_engine(crl: x509.CertificateRevocationList) -> None:
    assert Named.of([CA.certificate], [revoked_list(), crl]) is None


def test_a_list_of_somebody_who_may_not_sign_lists_is_left_to_the_engine() -> None:
    def usage(*, crl_sign: bool) -> x509.KeyUsage:
        return x509.KeyUsage(False, False, False, False, False, True, crl_sign, False, False)

    subject = CA.certificate.subject
    assert Named.of([certificate_of(subject, usage(crl_sign=True))], [revoked_list(5)])
    assert Named.of([certificate_of(subject, usage(crl_sign=False))], [revoked_list(5)]) is None


def test_a_list_that_two_authorities_may_have_made_is_left_to_the_engine() -> None:
    twins = [CA.certificate, certificate_of(CA.certificate.subject)]
    assert Named.of(twins, [revoked_list(5)]) is None


@pytest.mark.parametrize("extension", [None, (ISSUING_POINT, True)])
def test_whoever_reads_the_list_the_client_hears_the_same(extension: tuple[x509.ExtensionType, bool] | None) -> None:
    crl = revoked_list(BAD.certificate.serial_number, extension=extension)
    assert (Named.of([CA.certificate], [crl]) is None) is (extension is not None)
    assert meets(crl, GOOD).stream.is_established
    refused = meets(crl, BAD)
    assert not refused.stream.is_established
    assert refused.failure is not None
    assert refused.failure.reason is TlsReason.CERTIFICATE_REVOKED
    assert "'bad' was revoked" in refused.failure.message
    assert "revoked" in str(refused.client_error).lower()
