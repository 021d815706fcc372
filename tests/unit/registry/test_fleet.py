"""RSA keys of one fleet: none shares a prime with another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lockgate.errors import Conflict, InvalidSettings
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.registry.fleet import Fleet
from lockgate.registry.registrar import Registrar
from lockgate.store.registry_db import RegistryDb


def numbers() -> rsa.RSAPrivateNumbers:
    return rsa.generate_private_key(65_537, 2048).private_numbers()


ONE, TWO, THREE = numbers(), numbers(), numbers()


def credential(device: str, p: int, q: int, exponent: int = 65_537) -> Credential:
    key = rsa.RSAPublicNumbers(exponent, p * q).public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return Credential(
        0, device, CredentialKind.JWT_RS256, key.public_bytes(serialization.Encoding.PEM, spki).decode(), f"{device}!"
    )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


@pytest.mark.requirement("I7")
def test_a_key_that_shares_a_prime_with_a_registered_one_is_refused(db: RegistryDb) -> None:
    registrar = Registrar(db, "anna", lambda: 1.0)
    registrar.add_device("one", [credential("", ONE.p, ONE.q)])
    registrar.add_device("two", [credential("", TWO.p, TWO.q)])
    with pytest.raises(InvalidSettings, match="prime in common with the registered key") as caught:
        registrar.add_device("three", [credential("", ONE.p, THREE.q)])
    assert "credential list" in caught.value.fix
    with pytest.raises(InvalidSettings, match="prime in common"):
        registrar.add_credential("two", credential("", TWO.q, TWO.p, 65_539))
    assert len(db.devices()) == 2


def test_new_keys_are_compared_with_each_other_as_well(db: RegistryDb) -> None:
    fleet = Fleet(db)
    found = fleet.problems([
        credential("one", ONE.p, ONE.q), credential("two", TWO.p, ONE.q), credential("three", THREE.p, THREE.q),
        Credential(0, "four", CredentialKind.PASSWORD, "$argon2id$"), Credential(0, "x", CredentialKind.X509, "none"),
    ])  # fmt: skip
    assert sorted(found) == [0, 1]
    assert "another new key" in str(found[0])


def test_the_same_key_again_is_for_the_database_to_judge(db: RegistryDb) -> None:
    again = credential("one", ONE.p, ONE.q)
    db.add_device(Device("one", credentials=(again,)), actor="anna", now=1.0)
    fleet = Fleet(db)
    assert fleet.problems([again, again]) == {}
    db.add_device(Device("two", credentials=(credential("two", TWO.p, TWO.q),)), actor="anna", now=1.0)
    assert list(fleet.problems([credential("three", TWO.p, THREE.q)])) == [0], "what came since is read as well"


@pytest.mark.requirement("I7")
def test_a_key_is_judged_before_a_certificate_is_made_for_it(db: RegistryDb) -> None:
    fleet, registrar = Fleet(db), Registrar(db, "anna", lambda: 1.0)
    registrar.add_device("one", [credential("", ONE.p, ONE.q)])
    own = rsa.RSAPublicNumbers(65_537, ONE.p * ONE.q).public_key()
    fleet.check_key("one", own)
    fleet.check_key("two", rsa.RSAPublicNumbers(65_537, TWO.p * TWO.q).public_key())
    fleet.check_key("two", ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(Conflict, match="another device"):
        fleet.check_key("two", own)
    with pytest.raises(InvalidSettings, match="prime in common"):
        fleet.check_key("two", rsa.RSAPublicNumbers(65_537, ONE.p * TWO.q).public_key())
    with pytest.raises(InvalidSettings, match="is published"):
        fleet.check_key("two", ec.derive_private_key(1, ec.SECP256R1()).public_key())
    registrar.revoke("one")
    with pytest.raises(Conflict, match="was revoked"):
        registrar.check_key("one", own)
