"""What people do to the registry: checked, written, audited, and never refused without a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.errors import Conflict, InvalidSettings, LockgateError, NotFound, QuotaExceeded, TopicFilterInvalid
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.registry.registrar import Registrar
from lockgate.registry.rules import check_rule_filter
from lockgate.settings import RegistrySettings
from lockgate.store.groups import bindings, groups
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


@pytest.mark.requirement("I5")
def test_three_keys_of_one_device_overlap_and_single_ones_are_revoked(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_device("dev", [KEY])
    second = registrar.add_credential("dev", msgspec.structs.replace(key(), expires_at=9000.0))
    third, ending = registrar.rotate("dev", key(), 3600.0)
    assert (second.id, third.id, ending) == (2, 3, 2)
    ends = [(one.id, one.expires_at, one.is_revoked) for one in (db.device("dev") or Device("")).credentials]
    assert ends == [(1, 4600.0, False), (2, 4600.0, False), (3, None, False)]
    assert registrar.revoke_credential(2) == "dev"
    assert [one.is_revoked for one in (db.device("dev") or Device("")).credentials] == [False, True, False]
    assert [one.event for one in db.audit()][-2:] == ["credential.expires", "credential.revoked"]
    length = len(db.audit())
    assert registrar.revoke_credential(2) == "dev"
    assert len(db.audit()) == length, "nothing has changed"


def test_an_overlap_never_prolongs_an_older_key(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_device("dev", [msgspec.structs.replace(KEY, expires_at=1010.0)])
    registrar.rotate("dev", key(), 3600.0)
    assert (db.device("dev") or Device("")).credentials[0].expires_at == 1010.0


def test_the_number_of_keys_that_hold_is_bounded(db: RegistryDb) -> None:
    now = [1000.0]
    registrar = Registrar(db, "anna", lambda: now[0], RegistrySettings(max_credentials_per_device=3))
    registrar.add_device("dev", [msgspec.structs.replace(key(), expires_at=2000.0), key()])
    registrar.add_credential("dev", key())
    for act in (lambda: registrar.add_credential("dev", key()), lambda: registrar.rotate("dev", key(), 1.0)):
        with pytest.raises(QuotaExceeded, match="max_credentials_per_device is 3") as caught:
            act()
        assert caught.value.fix.startswith("revoke one")
    registrar.revoke_credential(2)
    registrar.add_credential("dev", key())
    now[0] = 2000.0
    assert registrar.add_credential("dev", key()).id == 5


def test_a_revoked_key_comes_back_by_no_way(registrar: Registrar) -> None:
    registrar.add_device("dev", [KEY])
    registrar.revoke("dev")
    with pytest.raises(Conflict, match="was revoked"):
        registrar.add_credential("dev", KEY)
    with pytest.raises(Conflict, match="was revoked"):
        registrar.rotate("dev", KEY, 10.0)


def test_a_group_is_made_blocked_revoked_and_removed(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_group("empty")
    for name in ("one", "two"):
        registrar.add_device(name, [key()], ["g"])
    registrar.add_rule(Rule("group:g", Operation.PUBLISH, "x"))
    assert [(one.name, one.members) for one in groups(db)] == [("empty", ()), ("g", ("one", "two"))]
    registrar.block_group("g")
    assert [one.is_shut_out for one in db.devices()] == [True, True]
    with pytest.raises(Conflict, match="let in again"):
        registrar.remove_group("g")
    registrar.unblock_group("g")
    assert [one.is_shut_out for one in db.devices()] == [False, False]
    assert registrar.revoke_group("g") == 2
    assert all(one.credentials[0].is_revoked for one in db.devices())
    assert registrar.remove_group("g") == 2
    assert [one.groups for one in db.devices()] == [(), ()]
    assert db.rules() == []


def test_a_gateway_is_bound_and_unbound(registrar: Registrar, db: RegistryDb) -> None:
    for name in ("sensor", "gw"):
        registrar.add_device(name, [key()])
    registrar.bind_gateway("sensor", "gw")
    registrar.bind_gateway("sensor", "gw")
    assert (db.device("sensor") or Device("")).gateways == ("gw",)
    assert bindings(db) == bindings(db, "gw") == [("gw", "sensor")]
    registrar.unbind_gateway("sensor", "gw")
    assert bindings(db) == []
    assert [one.event for one in db.audit()][-2:] == ["gateway.bound", "gateway.unbound"]


def test_metadata_is_kept_and_replaced(registrar: Registrar, db: RegistryDb) -> None:
    registrar.add_device("dev", [KEY], metadata={"serial": "4711", "site": "north"})
    assert (db.device("dev") or Device("")).metadata == {"serial": "4711", "site": "north"}
    registrar.describe("dev", {"site": "Süd"})
    assert (db.device("dev") or Device("")).metadata == {"site": "Süd"}


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
        (lambda r: r.add_rule(Rule("everyone", PUBLISH, "x", qos=(0, 3))), InvalidSettings),
        (lambda r: r.add_rule(Rule("everyone", PUBLISH, "${groups}/x")), InvalidSettings),
        (lambda r: r.remove_rule(99), NotFound),
        (lambda r: r.check_new("there"), Conflict),
        (lambda r: r.rotate("nobody", key(), 1.0), NotFound),
        (lambda r: r.revoke_credential(99), NotFound),
        (lambda r: r.add_group("of-there"), Conflict),
        (lambda r: r.add_group("a/b"), InvalidSettings),
        (lambda r: r.block_group("nobody"), NotFound),
        (lambda r: r.unblock_group("nobody"), NotFound),
        (lambda r: r.revoke_group("nobody"), NotFound),
        (lambda r: r.remove_group("nobody"), NotFound),
        (lambda r: r.bind_gateway("there", "there"), InvalidSettings),
        (lambda r: r.bind_gateway("late", "nobody"), NotFound),
        (lambda r: r.bind_gateway("nobody", "there"), NotFound),
        (lambda r: r.bind_gateway("there", "late"), QuotaExceeded),
        (lambda r: r.unbind_gateway("there", "nobody"), NotFound),
        (lambda r: r.describe("nobody", {"a": "b"}), NotFound),
        (lambda r: r.describe("there", {"a b": "c"}), InvalidSettings),
        (lambda r: r.describe("there", {"a": "c\n"}), InvalidSettings),
        (lambda r: r.describe("there", {"a": "c" * 5000}), QuotaExceeded),
        (lambda r: r.describe("there", {f"k{n}": "" for n in range(33)}), QuotaExceeded),
    ],
)
def test_every_refusal_has_a_fix_and_changes_nothing(
    registrar: Registrar, db: RegistryDb, act: Callable[[Registrar], object], error: type[LockgateError]
) -> None:
    registrar.add_device("there", [KEY], ["of-there"])
    for name in [*(f"gw{n}" for n in range(16)), "late"]:
        registrar.add_device(name, [key()])
        if name != "late":
            registrar.bind_gateway("there", name)
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


def test_names_that_count_up_are_seen(registrar: Registrar) -> None:
    for name in ("cam-009", "lamp1"):
        registrar.add_device(name, [key()])
    names = ("cam-010", "cam-008", "cam-011", "lamp0", "lamp", "cam-10", "0")
    assert [name for name in names if registrar.counts_up(name)] == ["cam-010", "cam-008", "lamp0"]
