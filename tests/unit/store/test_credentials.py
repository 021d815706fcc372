"""Single credentials in registry.db: what ends, what is replaced, what moves in the change log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import Conflict, NotAuthorized, NotFound, ShutOut
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.mosquitto_hash import PREFIX
from lockgate.store.credentials import (
    expire_credential,
    mosquitto_credentials,
    renew_credential,
    replace_hashes,
    revoke_credential,
    rotate_credential,
)
from lockgate.store.registry_db import RegistryDb
from tests.unit.model.test_mosquitto_hash import ONCE


def credential(device: str, key: str) -> Credential:
    return Credential(0, device, CredentialKind.JWT_ES256, "PEM", key)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        for name in ("a", "b"):
            db.add_device(Device(name, credentials=(credential(name, f"key of {name}"),)), actor="anna", now=1.0)
        yield db


def test_revoking_one_leaves_the_others(db: RegistryDb) -> None:
    db.add_credential(credential("a", "second"), actor="anna", now=1.0)
    start = db.last_sequence
    assert revoke_credential(db, 1, actor="anna", now=2.0) == "a"
    assert [(c.id, c.is_revoked) for c in (db.device("a") or Device("")).credentials] == [(1, True), (3, False)]
    assert [(each.kind, each.name) for each in db.changes_since(start)] == [("device", "a")]
    with pytest.raises(NotFound):
        revoke_credential(db, 99, actor="anna", now=2.0)


def test_a_credential_has_an_heir_beside_it(db: RegistryDb) -> None:
    made = renew_credential(db, credential("a", "next"), "key of a", 10.0, actor="a (device)", now=2.0)
    device = db.device("a")
    assert device is not None
    assert [(c.id, c.thumbprint, c.is_revoked) for c in device.credentials] == [
        (1, "key of a", False),
        (made.id, "next", False),
    ]
    assert db.audit()[-1].details["follows"] == "key of a"


def test_what_is_not_the_devices_or_was_revoked_has_no_heir(db: RegistryDb) -> None:
    for follows in ("key of b", "nobody's", ""):
        with pytest.raises(ShutOut):
            renew_credential(db, credential("a", "next"), follows, 10.0, actor="a (device)", now=2.0)
    revoke_credential(db, 1, actor="anna", now=2.0)
    before = (db.snapshot(), db.audit())
    with pytest.raises(ShutOut) as caught:
        renew_credential(db, credential("a", "next"), "key of a", 10.0, actor="a (device)", now=2.0)
    assert caught.value.reason == "credential revoked"
    with pytest.raises(NotFound):
        renew_credential(db, credential("c", "next"), "key of a", 10.0, actor="a (device)", now=2.0)
    assert (db.snapshot(), db.audit()) == before


def test_what_was_told_to_end_early_has_no_heir(db: RegistryDb) -> None:
    expire_credential(db, 1, 5.0, actor="anna", now=2.0)
    with pytest.raises(NotAuthorized) as caught:
        renew_credential(db, credential("a", "next"), "key of a", 10.0, actor="a (device)", now=2.0)
    assert caught.value.reason == "credential is being replaced"
    assert renew_credential(db, credential("a", "next"), "key of a", 5.0, actor="a (device)", now=2.0)


def test_rotation_is_one_act_that_happens_or_does_not(db: RegistryDb) -> None:
    before = (db.snapshot(), db.audit())
    with pytest.raises(Conflict, match="another device"):
        rotate_credential(db, credential("a", "key of b"), 10.0, actor="anna", now=2.0)
    with pytest.raises(NotFound):
        rotate_credential(db, credential("nobody", "k"), 10.0, actor="anna", now=2.0)
    assert (db.snapshot(), db.audit()) == before
    made, ending = rotate_credential(db, credential("a", "new"), 10.0, actor="anna", now=2.0)
    assert ((db.device("a") or Device("")).credentials[-1], ending) == (made, 1)
    assert (db.device("a") or Device("")).credentials[0].expires_at == 10.0


def test_revoked_credentials_get_no_new_end(db: RegistryDb) -> None:
    revoke_credential(db, 1, actor="anna", now=2.0)
    assert rotate_credential(db, credential("a", "new"), 10.0, actor="anna", now=2.0)[1] == 0
    assert (db.device("a") or Device("")).credentials[0].expires_at is None


@pytest.mark.requirement("F19")
def test_only_hashes_of_mosquitto_are_replaced_and_only_by_argon2id(db: RegistryDb) -> None:
    old, ours = PREFIX + ONCE, "$argon2id$v=19$ours"
    for name, public in (("old", old), ("ours", ours), ("other", old)):
        held = Credential(0, name, CredentialKind.PASSWORD, public)
        db.add_device(Device(name, credentials=(held,)), actor="anna", now=1.0)
    assert mosquitto_credentials(db, [1, 3, 4, 5, 99]) == {3, 5}
    start = db.last_sequence
    new = "$argon2id$v=19$new"
    assert replace_hashes(db, {1: new, 3: new, 4: new, 5: "plain", 99: new}, actor="office", now=2.0) == 1
    found = {name: (db.device(name) or Device("")).credentials[0].public for name in ("a", "old", "ours", "other")}
    assert found == {"a": "PEM", "old": new, "ours": ours, "other": old}
    assert [(each.kind, each.name) for each in db.changes_since(start)] == [("device", "old")]
    assert (db.audit()[-1].event, db.audit()[-1].actor) == ("credential.rehashed", "office")


def test_a_credential_may_end_earlier_and_never_later(db: RegistryDb) -> None:
    start = db.last_sequence
    assert expire_credential(db, 1, 10.0, actor="anna", now=2.0) == "a"
    assert expire_credential(db, 1, 9.0, actor="anna", now=2.0) == "a"
    assert (db.device("a") or Device("")).credentials[0].expires_at == 9.0
    assert [(each.kind, each.name) for each in db.changes_since(start)] == [("device", "a")] * 2
    assert (db.audit()[-1].event, db.audit()[-1].details) == ("credential.expires", {"credential": "1", "at": "9"})
    with pytest.raises(Conflict, match="ends as early"):
        expire_credential(db, 1, 11.0, actor="anna", now=2.0)
    revoke_credential(db, 2, actor="anna", now=2.0)
    with pytest.raises(Conflict, match="was revoked"):
        expire_credential(db, 2, 11.0, actor="anna", now=2.0)
    with pytest.raises(NotFound):
        expire_credential(db, 99, 11.0, actor="anna", now=2.0)
    assert (db.device("b") or Device("")).credentials[0].expires_at is None
