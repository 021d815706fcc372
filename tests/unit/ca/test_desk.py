"""The CA's desk: nothing is issued unrecorded, what is revoked is told, and what is due is done."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from lockgate.ca.desk import Desk, publish_revoked, read_crls
from lockgate.errors import Conflict, InvalidSettings, Unavailable
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.net.trust import load_crls
from lockgate.pki.authority import DAY_SECONDS, SERVER_LIFE_SECONDS, Authority
from lockgate.pki.certificates import (
    certificate_thumbprint,
    certificates_from_pem,
    certificates_to_pem,
    generate_key,
    private_key_to_pem,
)
from lockgate.pki.revocation import Known
from lockgate.store.certificates import certificates, latest_list
from lockgate.store.registry_db import Change, RegistryDb
from tests.support.registry import NOW

KEY = generate_key("ec").public_key()


def add(registry: RegistryDb, name: str, leaf: x509.Certificate) -> None:
    pem = certificates_to_pem(leaf).decode()
    credential = Credential(0, name, CredentialKind.X509, pem, certificate_thumbprint(leaf), NOW)
    registry.add_device(Device(name, created_at=NOW, credentials=(credential,)), actor="anna", now=NOW)


def changes(registry: RegistryDb) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in registry.changes_since(0)]


def test_a_new_home_knows_its_own_certificates(home: Home, desk: Desk, registry: RegistryDb) -> None:
    recorded = {each.subject: each for each in certificates(registry)}
    assert set(recorded) == {"authority", "server"}
    assert recorded["server"].issuer == desk.issuing.thumbprint == recorded["authority"].thumbprint
    assert recorded["server"].pem.encode() in home.server_path.read_bytes()
    assert recorded["authority"].expires_at > recorded["server"].expires_at


def test_what_is_issued_for_a_device_is_on_record_with_its_audit(desk: Desk, registry: RegistryDb) -> None:
    leaf = desk.issue_device("sensor", KEY, now=NOW, life_seconds=DAY_SECONDS)
    private = generate_key("ec")
    subject = x509.Name([])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    other = desk.issue_device_for_request("other", request, now=NOW)
    recorded = {each.serial: each.subject for each in certificates(registry) if each.subject.startswith("device:")}
    assert recorded == {leaf.serial_number: "device:sensor", other.serial_number: "device:other"}
    assert desk.chain_pem(leaf).count(b"BEGIN CERTIFICATE") == 2
    events = [(each.event, each.subject) for each in registry.audit()][1:]
    assert events == [("certificate.issued", "device:sensor"), ("certificate.issued", "device:other")]


def test_many_certificates_are_recorded_in_one_transaction_or_none_of_them(desk: Desk, registry: RegistryDb) -> None:
    def issue_some(count: int) -> None:
        with registry.write() as write:
            for number in range(count):
                desk.issue_device(f"device-{number}", KEY, now=NOW, write=write)
            if count == 2:
                raise InvalidSettings("the third cannot be")

    with pytest.raises(InvalidSettings, match="the third"):
        issue_some(2)
    assert not [each for each in certificates(registry) if each.subject.startswith("device:")]
    issue_some(3)
    assert len([each for each in certificates(registry) if each.subject.startswith("device:")]) == 3


def test_a_revoked_device_is_in_the_next_list_and_the_gate_hears_of_it(
    home: Home, desk: Desk, registry: RegistryDb
) -> None:
    leaf, kept = (desk.issue_device(name, generate_key("ec").public_key(), now=NOW) for name in ("gone", "kept"))
    add(registry, "gone", leaf)
    add(registry, "kept", kept)
    desk.publish_crls(NOW)
    (before,) = read_crls(home.crl_path)
    registry.remove_device("gone", actor="anna", now=NOW)
    assert desk.is_crl_due(NOW)
    publish_revoked(home, registry, "anna", NOW)
    assert not desk.is_crl_due(NOW)
    publish_revoked(home, registry, "anna", NOW)  # nothing more to tell
    (after,) = load_crls(home.crl_path, [desk.issuing.certificate])
    numbers = [each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in (before, after)]
    assert numbers == [1, 2]
    assert len(before) == 0
    assert [each.serial_number for each in after] == [leaf.serial_number]
    assert changes(registry)[-1] == ("tls-files", "ca/crl.pem")
    assert desk.crl_der(desk.issuing.thumbprint) == after.public_bytes(Encoding.DER)
    assert desk.crl_der("unknown") is None


def test_without_the_key_nothing_is_published_and_nothing_fails(home: Home, desk: Desk, registry: RegistryDb) -> None:
    add(registry, "gone", desk.issue_device("gone", KEY, now=NOW))
    registry.remove_device("gone", actor="anna", now=NOW)
    home.issuing_key_path.unlink()
    publish_revoked(home, registry, "anna", NOW)
    assert not home.crl_path.exists()


def test_the_state_of_a_certificate_is_asked_for_by_ocsp(desk: Desk, registry: RegistryDb) -> None:
    leaf = desk.issue_device("sensor", KEY, now=NOW)

    def told() -> ocsp.OCSPCertStatus:
        request = ocsp.OCSPRequestBuilder().add_certificate(leaf, desk.issuing.certificate, hashes.SHA1())
        answer = desk.answer_ocsp(request.build().public_bytes(Encoding.DER), NOW)
        return ocsp.load_der_ocsp_response(answer).certificate_status

    assert told() is ocsp.OCSPCertStatus.GOOD
    add(registry, "sensor", leaf)
    registry.revoke_credentials("sensor", actor="anna", now=NOW)
    assert told() is ocsp.OCSPCertStatus.REVOKED
    assert desk.lookup(desk.issuing.thumbprint, 4711) is Known.UNKNOWN


def test_what_is_due_is_done_once(home: Home, desk: Desk, registry: RegistryDb) -> None:
    assert desk.refresh(NOW) == ("revocation list published", "stapled answer renewed")
    assert desk.refresh(NOW) == ()
    assert desk.refresh(NOW + DAY_SECONDS / 2 - 1) == ()
    assert desk.refresh(NOW + DAY_SECONDS / 2) == ("stapled answer renewed",)
    later = NOW + 7 * DAY_SECONDS / 2
    assert desk.refresh(later) == ("revocation list published", "stapled answer renewed")
    facts = latest_list(registry, desk.issuing.thumbprint)
    assert facts is not None
    assert (facts.number, facts.made_at) == (2, later)
    home.staple_path.write_bytes(b"rubbish")
    assert desk.refresh(later) == ("stapled answer renewed",)
    assert ("staple", "run/server.ocsp") in changes(registry)


def test_the_server_certificate_is_renewed_at_two_thirds_of_its_life(home: Home, desk: Desk) -> None:
    before = home.server_path.read_bytes()
    due = NOW - 3600 + (SERVER_LIFE_SECONDS + 3600) * 2 / 3
    desk.refresh(due - 1)
    assert home.server_path.read_bytes() == before
    assert "server certificate renewed" in desk.refresh(due)
    assert home.server_path.read_bytes() != before
    assert home.server_names() == ("hub.example", "127.0.0.1")
    assert not desk.is_staple_due(due)


def test_a_server_certificate_of_another_ca_is_left_alone(home: Home, desk: Desk) -> None:
    foreign = Authority.create_root("Public CA", now=NOW)
    key = generate_key("ec")
    home.server_path.write_bytes(certificates_to_pem(foreign.issue_server(["hub.example"], key.public_key(), now=NOW)))
    home.server_key_path.write_bytes(private_key_to_pem(key))
    assert desk.refresh(NOW + 2 * SERVER_LIFE_SECONDS / 3) == ("revocation list published",)
    with pytest.raises(Unavailable, match="of another CA"):
        desk.write_staple(NOW)


def test_certificates_of_an_earlier_release_are_adopted(desk: Desk, registry: RegistryDb) -> None:
    authority = desk.home.authority()
    good, bad = (authority.issue_device(name, generate_key("ec").public_key(), now=NOW) for name in ("good", "bad"))
    stranger = Authority.create_root(now=NOW).issue_device("else", generate_key("ec").public_key(), now=NOW)
    for name, leaf in (("good", good), ("bad", bad), ("else", stranger)):
        add(registry, name, leaf)
    registry.revoke_credentials("bad", actor="anna", now=NOW)
    assert desk.adopt(NOW) == 2
    assert desk.adopt(NOW) == 0
    states = {each.subject: each.state(NOW) for each in certificates(registry)}
    assert (states["device:good"], states["device:bad"]) == ("valid", "revoked")
    assert "device:else" not in states


def test_addresses_are_written_into_certificates_when_they_are_set(home: Home, registry: RegistryDb) -> None:
    with home.settings_path.open("a") as file:
        file.write('[pki]\npublic_url = "https://hub.example:8443/"\n')
    desk = Desk(home, registry, "anna")
    leaf = desk.issue_device("sensor", KEY, now=NOW)
    own = desk.issuing.thumbprint
    (point,) = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert [each.value for each in point.full_name] == [f"https://hub.example:8443/pki/{own}.crl"]
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [each.access_location.value for each in access] == [
        "https://hub.example:8443/pki/ocsp", f"https://hub.example:8443/pki/{own}.crt",
    ]  # fmt: skip


def test_an_older_authority_that_lost_its_key_is_named(home: Home, desk: Desk, registry: RegistryDb) -> None:
    home.old_authorities_path.mkdir()
    (home.old_authorities_path / "0123.crt").write_bytes(desk.issuing.certificate_pem())
    with pytest.raises(InvalidSettings, match="an older CA cannot be read"):
        Desk(home, registry, "anna")


def test_the_bundle_holds_the_issuing_ca_and_not_the_root(home: Home, desk: Desk) -> None:
    desk.write_bundle()
    assert certificates_from_pem(home.bundle_path.read_bytes()) == (desk.issuing.certificate,)


def test_changes_are_of_kinds_that_the_gate_knows(registry: RegistryDb) -> None:
    assert registry.changes_since(0) == [Change(1, "server-certificate", "server.crt")]


@pytest.mark.requirement("I7")
def test_a_key_that_the_registry_would_refuse_gets_no_certificate(desk: Desk, registry: RegistryDb) -> None:
    weak = ec.derive_private_key(1, ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(weak, hashes.SHA256())
    with pytest.raises(InvalidSettings, match="is published"):
        desk.issue_device("weak", weak.public_key(), now=NOW)
    with pytest.raises(InvalidSettings, match="is published"):
        desk.issue_device_for_request("weak", request, now=NOW)
    add(registry, "sensor", desk.issue_device("sensor", KEY, now=NOW))
    assert desk.issue_device("sensor", KEY, now=NOW), "a device renews the certificate of its key"
    with pytest.raises(Conflict, match="another device"):
        desk.issue_device("thief", KEY, now=NOW)
    assert {each.subject for each in certificates(registry)} == {"authority", "server", "device:sensor"}
