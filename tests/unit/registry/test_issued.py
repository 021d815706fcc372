"""A certificate as the registry writes it down."""

from __future__ import annotations

from lockgate.pki.authority import BACKDATE_SECONDS, DAY_SECONDS, Authority
from lockgate.pki.certificates import certificate_thumbprint, certificates_to_pem, generate_key
from lockgate.registry.issued import issued

NOW = 1_790_000_000.0


def test_a_record_holds_what_a_certificate_says_and_who_signed_it() -> None:
    authority = Authority.create_root(now=NOW)
    leaf = authority.issue_device("sensor", generate_key("ec").public_key(), now=NOW, life_seconds=DAY_SECONDS)
    record = issued(leaf, authority.certificate, "device:sensor", NOW)
    assert (record.issuer, record.serial) == (authority.thumbprint, leaf.serial_number)
    assert record.thumbprint == certificate_thumbprint(leaf)
    assert record.pem == certificates_to_pem(leaf).decode()
    assert (record.subject, record.issued_at, record.expires_at) == ("device:sensor", NOW, NOW + DAY_SECONDS)
    assert (record.revoked_at, record.reason) == (None, 0)
    assert issued(leaf, authority.certificate, "device:sensor").issued_at == NOW - BACKDATE_SECONDS
