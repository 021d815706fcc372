"""Single credentials in registry.db: what ends, what is replaced, what moves in the change log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import Conflict, NotFound
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.store.credentials import revoke_credential, rotate_credential
from lockgate.store.registry_db import RegistryDb


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
