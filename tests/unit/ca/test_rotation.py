"""Rotation: the new CA issues, the old one is believed until it is retired, and the root's key may be elsewhere."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from lockgate.ca.desk import Desk, read_crls
from lockgate.ca.rotation import (
    distrust_foreign,
    export_root_key,
    finish_root,
    read_root,
    retire,
    rotate_issuing,
    rotate_root,
    rotate_tickets,
    trust_foreign,
)
from lockgate.errors import Conflict, InvalidSettings, NotFound
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import (
    certificate_thumbprint,
    certificates_from_pem,
    certificates_to_pem,
    generate_key,
    has_issued,
)
from lockgate.store.certificates import Reason, certificates
from lockgate.store.registry_db import RegistryDb
from tests.support.registry import NOW

PASSPHRASE = "correct horse battery staple"


def add(registry: RegistryDb, name: str, leaf: x509.Certificate) -> None:
    pem = certificates_to_pem(leaf).decode()
    credential = Credential(0, name, CredentialKind.X509, pem, certificate_thumbprint(leaf), NOW)
    registry.add_device(Device(name, created_at=NOW, credentials=(credential,)), actor="anna", now=NOW)


def issue(desk: Desk, name: str) -> x509.Certificate:
    leaf = desk.issue_device(name, generate_key("ec").public_key(), now=NOW)
    add(desk.registry, name, leaf)
    return leaf


def bundle(home: Home) -> set[str]:
    return {certificate_thumbprint(each) for each in certificates_from_pem(home.bundle_path.read_bytes())}


def test_after_a_rotation_the_new_ca_issues_and_both_are_believed(home: Home, desk: Desk) -> None:
    old = issue(desk, "old")
    new_desk = rotate_issuing(desk, read_root(home), NOW)
    assert new_desk.issuing.thumbprint != desk.issuing.thumbprint
    assert [each.thumbprint for each in new_desk.older] == [desk.issuing.thumbprint]
    assert bundle(home) == {new_desk.issuing.thumbprint, desk.issuing.thumbprint}
    server, between = certificates_from_pem(home.server_path.read_bytes())
    assert has_issued(new_desk.issuing.certificate, server)
    assert between == new_desk.issuing.certificate
    assert has_issued(certificates_from_pem(home.root_pem())[0], between)
    assert home.server_names() == ("hub.example", "127.0.0.1")
    assert [each.issuer for each in read_crls(home.crl_path)] == [each.certificate.subject for each in new_desk.all]
    new = issue(new_desk, "new")
    assert has_issued(new_desk.issuing.certificate, new)
    assert not has_issued(new_desk.issuing.certificate, old)
    for path in (*home.path.glob("ca/**/*.key"), *home.path.glob("ca/**/*.crt")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert new_desk.refresh(NOW) == ()


def test_what_an_old_ca_issued_can_still_be_revoked(home: Home, desk: Desk) -> None:
    old = issue(desk, "old")
    new_desk = rotate_issuing(desk, read_root(home), NOW)
    desk.registry.revoke_credentials("old", actor="anna", now=NOW)
    new_desk.publish_crls(NOW)
    listed = {each.issuer: [entry.serial_number for entry in each] for each in read_crls(home.crl_path)}
    assert listed[desk.issuing.certificate.subject] == [old.serial_number]
    assert listed[new_desk.issuing.certificate.subject] == []


def test_an_old_ca_is_retired_only_when_nothing_good_rests_on_it(home: Home, desk: Desk) -> None:
    issue(desk, "old")
    new_desk = rotate_issuing(desk, read_root(home), NOW)
    beginning = desk.issuing.thumbprint[:8]
    with pytest.raises(Conflict, match=r"1 credentials rest on certificates .* \(old"):
        retire(new_desk, beginning, NOW)
    assert len(bundle(home)) == 2
    retire(new_desk, beginning, NOW, is_forced=True)
    assert bundle(home) == {new_desk.issuing.thumbprint}
    device = desk.registry.device("old")
    assert device is not None
    assert device.credentials[0].is_revoked
    assert list(home.old_authorities_path.iterdir()) == []
    states = {each.thumbprint: (each.state(NOW), each.reason) for each in certificates(desk.registry, "authority")}
    assert states[desk.issuing.thumbprint] == ("revoked", Reason.SUPERSEDED)
    assert states[new_desk.issuing.thumbprint] == ("valid", 0)
    with pytest.raises(NotFound, match="no single older CA"):
        retire(Desk(home, desk.registry, "anna"), beginning, NOW)


@pytest.mark.parametrize("beginning", ["", "zz"])
def test_only_an_older_ca_can_be_retired(desk: Desk, beginning: str) -> None:
    with pytest.raises(NotFound, match="no single older CA"):
        retire(desk, beginning or desk.issuing.thumbprint, NOW)


def test_the_roots_key_is_kept_elsewhere_and_asked_for(home: Home, desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "root-key.pem"
    with pytest.raises(InvalidSettings, match="at least 12 characters"):
        export_root_key(desk, path, "too short", NOW)
    path.write_text("in the way")
    with pytest.raises(InvalidSettings, match="cannot be made"):
        export_root_key(desk, path, PASSPHRASE, NOW)
    assert home.root_key_path.exists()
    path.unlink()
    export_root_key(desk, path, PASSPHRASE, NOW)
    assert not home.root_key_path.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    with pytest.raises(InvalidSettings, match="kept elsewhere"):
        read_root(home)
    with pytest.raises(InvalidSettings, match="does not open"):
        read_root(home, path, "another passphrase")
    with pytest.raises(InvalidSettings, match="needs a password"):
        read_root(home, path)
    new_desk = rotate_issuing(desk, read_root(home, path, PASSPHRASE), NOW)
    assert new_desk.issuing.thumbprint != desk.issuing.thumbprint
    issue(new_desk, "sensor")


def test_a_foreign_ca_is_believed_until_it_is_not(home: Home, desk: Desk) -> None:
    plant = Authority.create_root("Plant CA", now=NOW)
    trust_foreign(desk, plant.certificate_pem(), None, NOW)
    assert bundle(home) == {desk.issuing.thumbprint, plant.thumbprint}
    leaf = plant.issue_device("machine", generate_key("ec").public_key(), now=NOW)
    add(desk.registry, "machine", leaf)
    add(desk.registry, "ours", issue_only(desk))
    with pytest.raises(Conflict, match="1 credentials rest"):
        distrust_foreign(desk, plant.thumbprint[:8], NOW)
    distrust_foreign(desk, plant.thumbprint[:8], NOW, is_forced=True)
    assert bundle(home) == {desk.issuing.thumbprint}
    revoked = {each.name: each.credentials[0].is_revoked for each in desk.registry.devices()}
    assert revoked == {"machine": True, "ours": False}
    events = [each.event for each in desk.registry.audit()]
    assert events.count("authority.trusted") == events.count("authority.distrusted") == 1


def issue_only(desk: Desk) -> x509.Certificate:
    return desk.issue_device("ours", generate_key("ec").public_key(), now=NOW)


def test_new_ticket_keys_are_a_change_for_the_gate(desk: Desk) -> None:
    rotate_tickets(desk.registry, "anna", NOW)
    assert [(each.kind, each.name) for each in desk.registry.changes_since(1)] == [("tls-files", "ticket keys")]


def verifies(home: Home, folder: Path, root: bytes) -> bool:
    """Say whether openssl believes the hub's certificate as a device does that holds `root`."""
    (folder / "root.pem").write_bytes(root)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "hub.example", "-attime",
         str(int(NOW)), "-no-CApath", "-no-CAstore", "-CAfile", folder / "root.pem", "-untrusted", home.server_path,
         home.server_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def test_a_new_root_reaches_devices_before_the_hub_shows_it(home: Home, desk: Desk, tmp_path: Path) -> None:
    old_root = home.root_pem()
    issue(desk, "old")
    between = rotate_root(desk, read_root(home), NOW)
    both = home.root_pem()
    new_root, kept = certificates_from_pem(both)
    assert certificates_to_pem(kept) == old_root
    new = certificates_to_pem(new_root)
    assert [verifies(home, tmp_path, root) for root in (old_root, both, new)] == [True, True, False]
    assert bundle(home) == {desk.issuing.thumbprint, between.issuing.thumbprint}
    leaf = issue(between, "new")
    for act in (rotate_root, rotate_issuing):
        with pytest.raises(Conflict, match="on its way"):
            act(between, read_root(home), NOW)
    after = finish_root(between, NOW)
    assert home.root_pem() == new
    assert [verifies(home, tmp_path, root) for root in (old_root, both, new)] == [False, True, True]
    assert after.issuing.thumbprint == between.issuing.thumbprint
    assert has_issued(after.issuing.certificate, leaf)
    assert has_issued(new_root, after.issuing.certificate)
    with pytest.raises(NotFound, match="no new root"):
        finish_root(after, NOW)
    rotate_issuing(after, read_root(home), NOW)
    assert verifies(home, tmp_path, new)
