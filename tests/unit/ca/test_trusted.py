"""Foreign CAs: let in by their certificate, never by a name that is ours."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.ca.trusted import add_foreign, find_foreign, foreign_authorities, foreign_crls, remove_foreign
from lockgate.errors import Conflict, InvalidSettings, NotFound
from lockgate.home import Home
from lockgate.pki.authority import DAY_SECONDS, Authority
from lockgate.pki.certificates import certificate_thumbprint, certificates_to_pem, generate_key
from lockgate.pki.revocation import build_crl, crl_to_der, crls_to_pem
from tests.support.registry import NOW

PLANT = Authority.create_root("Plant CA", now=NOW)
OTHER = Authority.create_root("Other CA", now=NOW)


def test_a_foreign_ca_goes_in_with_its_list_and_out_with_it(home: Home) -> None:
    assert (foreign_authorities(home), foreign_crls(home)) == ([], [])
    first, second = build_crl(PLANT, [], 1, NOW), build_crl(PLANT, [], 2, NOW)
    add_foreign(home, PLANT.certificate_pem(), crls_to_pem([first]), NOW)
    add_foreign(home, PLANT.certificate_pem(), crl_to_der(second), NOW)
    add_foreign(home, OTHER.certificate_pem(), None, NOW)
    assert {each.subject for each in foreign_authorities(home)} == {
        PLANT.certificate.subject,
        OTHER.certificate.subject,
    }
    assert [each.public_bytes(Encoding.DER) for each in foreign_crls(home)] == [crl_to_der(second)]
    found = find_foreign(home, PLANT.thumbprint[:6])
    assert certificate_thumbprint(found) == PLANT.thumbprint
    remove_foreign(home, found)
    assert foreign_authorities(home) == [OTHER.certificate]
    assert foreign_crls(home) == []


@pytest.mark.parametrize("beginning", ["", "zz"])
def test_a_beginning_that_names_no_single_ca_finds_none(home: Home, beginning: str) -> None:
    add_foreign(home, PLANT.certificate_pem(), None, NOW)
    with pytest.raises(NotFound, match="no single trusted CA"):
        find_foreign(home, beginning)


def test_a_ca_that_bears_the_name_of_ours_is_refused(home: Home) -> None:
    for ours in (home.root_path, home.issuing_path):
        pem = ours.read_bytes()
        with pytest.raises(Conflict, match="the name of our own CA"):
            add_foreign(home, pem, None, NOW)
    name = home.authority().certificate.subject.rfc4514_string().removeprefix("CN=")
    with pytest.raises(Conflict, match="the name of our own CA"):
        add_foreign(home, Authority.create_root(name, now=NOW).certificate_pem(), None, NOW)


def test_what_is_no_ca_or_has_expired_is_refused(home: Home) -> None:
    leaf = PLANT.issue_device("sensor", generate_key("ec").public_key(), now=NOW)
    with pytest.raises(InvalidSettings, match="CN=sensor is no certificate authority"):
        add_foreign(home, certificates_to_pem(leaf), None, NOW)
    with pytest.raises(InvalidSettings, match="Plant CA expired"):
        add_foreign(home, PLANT.certificate_pem(), None, NOW + 40 * 365 * DAY_SECONDS)
    with pytest.raises(InvalidSettings, match="PEM"):
        add_foreign(home, b"rubbish", None, NOW)


def test_a_list_of_another_ca_or_of_nobody_is_refused(home: Home) -> None:
    imitation = Authority.create_root("Plant CA", now=NOW)
    for crl, reason in (
        (crls_to_pem([build_crl(OTHER, [], 1, NOW)]), "not signed by CN=Plant CA"),
        (crls_to_pem([build_crl(imitation, [], 1, NOW)]), "not signed by CN=Plant CA"),
        (b"rubbish", "cannot be read"),
    ):
        with pytest.raises(InvalidSettings, match=reason):
            add_foreign(home, PLANT.certificate_pem(), crl, NOW)
    assert foreign_authorities(home) == []
