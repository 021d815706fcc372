"""What people do to the registry: checked, written, audited, and never refused without a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.errors import Conflict, InvalidSettings, LockgateError, NotFound, TopicFilterInvalid
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.registry.registrar import Registrar, check_rule_filter
from lockgate.store.registry_db import RegistryDb


def key() -> Credential:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(serialization.Encoding.PEM, spki)
    return Credential(0, "", CredentialKind.JWT_ES256, public.decode())


KEY = key()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


@pytest.fixture
def registrar(db: RegistryDb) -> Registrar:
    return Registrar(db, "anna", lambda: 1000.0)


def test_a_device_is_added_with_all_it_needs(registrar: Registrar, db: RegistryDb) -> None:
    rule = Rule("device:dev", Operation.RECEIVE, "alarms/${device}/#")
    added = registrar.add_device("dev", [KEY], ["g", "g"], [rule])
    assert db.device("dev") == added
    assert (added.created_at, added.groups, added.credentials[0].id) == (1000.0, ("g",), 1)
    assert [one.filter for one in db.rules("device:dev")] == ["alarms/${device}/#"]
    assert [(one.actor, one.at) for one in db.audit()] == [("anna", 1000.0)]


def test_a_second_key_stands_beside_the_first_and_revoking_takes_both(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_device("dev", [KEY])
    assert registrar.add_credential("dev", key()).id == 2
    assert registrar.revoke("dev") == 2


def test_block_unblock_groups_and_remove(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_device("dev", [KEY])
    registrar.block("dev")
    registrar.join("dev", "g")
    found = db.device("dev")
    assert found is not None
    assert (found.is_blocked, found.groups) == (True, ("g",))
    registrar.unblock("dev")
    registrar.leave("dev", "g")
    found = db.device("dev")
    assert found is not None
    assert (found.is_blocked, found.groups) == (False, ())
    registrar.remove("dev")
    assert db.devices() == []


def test_rules_are_added_and_removed_by_number(registrar: Registrar, db: RegistryDb) -> None:
    added = registrar.add_rule(Rule("group:g", Operation.PUBLISH, "x/${client_id}", Effect.DENY))
    assert db.rules() == [added]
    registrar.remove_rule(added.id)
    assert db.rules() == []


PUBLISH = Operation.PUBLISH


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda r: r.add_device("no/name", [KEY]), InvalidSettings),
        (lambda r: r.add_device("lab", [KEY]), InvalidSettings),
        (lambda r: r.add_device("dev", []), InvalidSettings),
        (lambda r: r.add_device("dev", [KEY], ["+"]), InvalidSettings),
        (lambda r: r.add_device("dev", [KEY], [], [Rule("everyone", PUBLISH, "#")]), InvalidSettings),
        (lambda r: r.add_device("dev", [KEY], [], [Rule("device:dev", PUBLISH, "a#")]), TopicFilterInvalid),
        (lambda r: r.add_device("there", [key()]), Conflict),
        (lambda r: r.add_device("dev", [KEY]), Conflict),
        (lambda r: r.add_credential("nobody", key()), NotFound),
        (lambda r: r.add_credential("there", Credential(0, "", CredentialKind.X509, "x")), InvalidSettings),
        (lambda r: r.block("nobody"), NotFound),
        (lambda r: r.unblock("nobody"), NotFound),
        (lambda r: r.revoke("nobody"), NotFound),
        (lambda r: r.remove("nobody"), NotFound),
        (lambda r: r.join("nobody", "g"), NotFound),
        (lambda r: r.join("there", "#"), InvalidSettings),
        (lambda r: r.leave("there", "g"), NotFound),
        (lambda r: r.add_rule(Rule("device:nobody", PUBLISH, "x")), NotFound),
        (lambda r: r.add_rule(Rule("group:a/b", PUBLISH, "x")), InvalidSettings),
        (lambda r: r.add_rule(Rule("everybody", PUBLISH, "x")), InvalidSettings),
        (lambda r: r.add_rule(Rule("everyone", PUBLISH, "x", max_qos=3)), InvalidSettings),
        (lambda r: r.add_rule(Rule("everyone", PUBLISH, "${group}/x")), InvalidSettings),
        (lambda r: r.remove_rule(99), NotFound),
    ],
)
def test_every_refusal_has_a_fix_and_changes_nothing(
    registrar: Registrar, db: RegistryDb, act: Callable[[Registrar], object], error: type[LockgateError]
) -> None:
    registrar.add_device("there", [KEY])
    before = (db.snapshot(), db.audit())
    with pytest.raises(error) as caught:
        act(registrar)
    assert caught.value.fix
    assert (db.snapshot(), db.audit()) == before


@pytest.mark.parametrize("text", ["a", "#", "+/b", "${device}", "x/${client_id}/#", "pre-${device}-post/+"])
def test_filters_that_may_stand_in_a_rule(text: str) -> None:
    check_rule_filter(text)


@pytest.mark.parametrize("text", ["", "a#", "${device}+", "${device", "${}", "${Device}", "$${device}${x}", "a\x00"])
def test_filters_that_may_not(text: str) -> None:
    with pytest.raises((TopicFilterInvalid, InvalidSettings)):
        check_rule_filter(text)
