"""The certificates that our CA issued: recorded once, revoked with their credential or device, listed by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import Conflict
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.store.certificates import (
    IssuedCertificate,
    Reason,
    begin_list,
    certificate,
    certificates,
    counts,
    has_unlisted,
    latest_list,
    record,
    revoke_certificate,
    revoke_of_device,
    revoked_by,
)
from lockgate.store.registry_db import RegistryDb

BIG = 2**158 + 9  # a serial number does not fit into SQLite's integers


def issued(serial: int, device: str = "a", key: str = "k1", **changes: object) -> IssuedCertificate:
    made = IssuedCertificate("ca", serial, f"device:{device}", key, f"PEM {serial}", 10.0, 1000.0)
    return msgspec.structs.replace(made, **changes)


def credential(key: str, pem: str, device: str = "a") -> Credential:
    return Credential(0, device, CredentialKind.X509, pem, key)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


def note(db: RegistryDb, *all_issued: IssuedCertificate) -> None:
    with db.write() as write:
        for each in all_issued:
            record(write, each)


def revoked(db: RegistryDb) -> dict[int, int]:
    return {each.serial: each.reason for each in certificates(db) if each.revoked_at is not None}


def test_a_certificate_comes_back_as_it_was_recorded(db: RegistryDb) -> None:
    note(db, issued(BIG), issued(2, "b", "k2", issued_at=5.0))
    assert certificate(db, "ca", BIG) == issued(BIG)
    assert certificate(db, "ca", 3) is None
    assert certificate(db, "other", BIG) is None
    assert [each.serial for each in certificates(db)] == [2, BIG]
    assert certificates(db, "device:b") == [issued(2, "b", "k2", issued_at=5.0)]


def test_the_same_certificate_may_be_recorded_twice_and_another_of_its_number_never(db: RegistryDb) -> None:
    note(db, issued(1), issued(1))
    with pytest.raises(Conflict, match="same number"):
        note(db, issued(1, pem="PEM of another"))
    assert certificates(db) == [issued(1)]


def test_revoking_a_devices_credentials_revokes_its_certificates_in_the_same_transaction(db: RegistryDb) -> None:
    note(db, issued(1), issued(2, key="k2"), issued(3, "b", "k3"))
    keys = (credential("k1", "PEM 1"), credential("k2", "PEM 2"))
    db.add_device(Device("a", credentials=keys), actor="anna", now=100.0)
    db.add_device(Device("b", credentials=(credential("k3", "PEM 3", "b"),)), actor="anna", now=100.0)
    db.revoke_credentials("a", actor="anna", now=100.0)
    assert revoked(db) == {1: Reason.UNSPECIFIED, 2: Reason.UNSPECIFIED}
    first = certificate(db, "ca", 1)
    assert first is not None
    assert (first.revoked_at or 0) > 1_700_000_000


def test_removing_a_device_revokes_all_its_certificates_even_those_of_no_credential(db: RegistryDb) -> None:
    note(db, issued(1), issued(2, key="kept nowhere"), issued(3, "ab", "k3"))
    db.add_device(Device("a", credentials=(credential("k1", "PEM 1"),)), actor="anna", now=100.0)
    db.remove_device("a", actor="anna", now=100.0)
    assert revoked(db) == {1: Reason.CESSATION_OF_OPERATION, 2: Reason.CESSATION_OF_OPERATION}


def test_over_one_key_the_renewed_certificate_stays_good_when_the_old_one_goes(db: RegistryDb) -> None:
    note(db, issued(1), issued(2))
    keys = (credential("k1", "PEM 1"), credential("k1", "PEM 2"))
    old, new = db.add_device(Device("a", credentials=keys), actor="anna", now=100.0).credentials
    with db.write() as write:
        write.execute("UPDATE credential SET is_revoked = 1 WHERE id = ?", (old.id,))
    assert set(revoked(db)) == {1}
    with db.write() as write:
        write.execute("DELETE FROM credential WHERE id = ?", (new.id,))
    assert revoked(db) == {1: Reason.UNSPECIFIED, 2: Reason.CESSATION_OF_OPERATION}


def test_a_reason_that_was_given_first_stays(db: RegistryDb) -> None:
    note(db, issued(1), issued(2, key="k2"))
    db.add_device(Device("a", credentials=(credential("k1", "PEM 1"),)), actor="anna", now=100.0)
    with db.write() as write:
        assert revoke_of_device(write, "a", Reason.KEY_COMPROMISE, 50.0, ["k1", "unknown"]) == 1
        assert revoke_of_device(write, "a", Reason.SUPERSEDED, 60.0) == 1
    db.remove_device("a", actor="anna", now=100.0)
    assert revoked(db) == {1: Reason.KEY_COMPROMISE, 2: Reason.SUPERSEDED}
    assert [(each.serial, each.revoked_at) for each in revoked_by(db, "ca", 0.0)] == [(1, 50.0), (2, 60.0)]


def test_one_certificate_is_revoked_once(db: RegistryDb) -> None:
    note(db, issued(BIG))
    with db.write() as write:
        assert revoke_certificate(write, "ca", BIG, Reason.SUPERSEDED, 20.0)
        assert not revoke_certificate(write, "ca", BIG, Reason.KEY_COMPROMISE, 30.0)
    assert revoked(db) == {BIG: Reason.SUPERSEDED}


def test_a_list_has_the_next_number_and_names_all_that_is_revoked(db: RegistryDb) -> None:
    note(db, issued(1), issued(2), issued(3, issuer="older"))
    assert latest_list(db, "ca") is None
    assert not has_unlisted(db, "ca")
    with db.write() as write:
        revoke_certificate(write, "ca", 1, Reason.SUPERSEDED, 20.0)
    assert has_unlisted(db, "ca")
    assert not has_unlisted(db, "older")
    with db.write() as write:
        assert begin_list(write, "ca", 30.0, 90.0) == 1
    assert not has_unlisted(db, "ca")
    with db.write() as write:
        assert begin_list(write, "ca", 40.0, 100.0) == 2
        assert begin_list(write, "older", 40.0, 100.0) == 1
    facts = latest_list(db, "ca")
    assert facts is not None
    assert (facts.number, facts.made_at, facts.next_update) == (2, 40.0, 100.0)


def test_the_expired_are_left_out_when_asked(db: RegistryDb) -> None:
    note(db, issued(1, expires_at=50.0, revoked_at=20.0), issued(2, revoked_at=20.0))
    assert [each.serial for each in revoked_by(db, "ca", 50.0)] == [2]
    assert revoked_by(db, "other", 0.0) == []


def test_certificates_of_devices_are_counted_by_issuer_and_state(db: RegistryDb) -> None:
    note(
        db, issued(1), issued(2, expires_at=50.0), issued(3, revoked_at=20.0), issued(4, issuer="older"),
        issued(5, subject="server"),
    )  # fmt: skip
    assert counts(db, 50.0) == {
        ("ca", "expired"): 1, ("ca", "revoked"): 1, ("ca", "valid"): 1, ("older", "valid"): 1,
    }  # fmt: skip
    assert [each.state(50.0) for each in certificates(db)] == ["valid", "expired", "revoked", "valid", "valid"]
