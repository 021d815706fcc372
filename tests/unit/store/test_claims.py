"""Claim tokens: what they allow, how often, how long; and that nobody gets more, however fast he is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lockgate.errors import AuthenticationFailed, InvalidSettings, NotFound
from lockgate.model.device import Device
from lockgate.store import claims
from lockgate.store.claims import Claim
from lockgate.store.registry_db import RegistryDb
from tests.support.registry import es256

NOW = 1_800_000_000.0


@pytest.fixture
def db(tmp_path: Path) -> RegistryDb:
    return RegistryDb(tmp_path / "registry.db")


def add(db: RegistryDb, pattern: str = "sensor-*", max_uses: int = 2, life: float = 60.0) -> tuple[Claim, str]:
    return claims.add_claim(db, pattern, groups=["g", "g"], max_uses=max_uses, life_seconds=life, actor="anna", now=NOW)


def test_a_token_proves_its_claim_and_is_nowhere_in_the_file(db: RegistryDb) -> None:
    claim, token = add(db)
    assert claims.prove(db, token) == claim == claims.claim_by_id(db, claim.id)
    assert claims.prove(db, f" {token}\n") == claim
    secret = token.rpartition("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    db.close()
    for file in db.path.parent.iterdir():
        content = file.read_bytes()
        assert secret.encode() not in content
        assert bytes.fromhex(secret) not in content


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token[:-2] + "zz",
        lambda token: "x" + token,
        lambda token: "",
        lambda token: token.replace("_", ""),
        lambda token: "lgc_0000000000_" + token[-64:],
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
    ],
)
def test_any_other_token_proves_nothing(db: RegistryDb, change: object) -> None:
    _, token = add(db)
    assert callable(change)
    with pytest.raises(AuthenticationFailed) as caught:
        claims.prove(db, change(token))
    assert caught.value.reason == "wrong claim token"


def test_each_use_is_counted_kept_and_audited_until_none_is_left(db: RegistryDb) -> None:
    claim, _ = add(db)
    for name in ("sensor-1", "sensor-2"):
        claims.spend(db, claim.id, name, "192.0.2.7", NOW + 1)
    assert [use.device for use in claims.uses_of(db, claim.id)] == ["sensor-1", "sensor-2"]
    assert claims.has_made(db, claim.id, "sensor-2")
    with pytest.raises(AuthenticationFailed, match="used 2 times") as caught:
        claims.spend(db, claim.id, "sensor-3", "192.0.2.7", NOW + 1)
    assert caught.value.reason == "claim token used up"
    assert [(r.event, r.actor, r.subject) for r in db.audit()][1:] == [
        ("claim.used", f"claim {claim.id}", "sensor-1"),
        ("claim.used", f"claim {claim.id}", "sensor-2"),
    ]


def test_a_use_from_which_nothing_came_can_be_given_back_once(db: RegistryDb) -> None:
    claim, _ = add(db, max_uses=1)
    number = claims.spend(db, claim.id, "sensor-1", "x", NOW)
    claims.give_back(db, claim.id, number)
    claims.give_back(db, claim.id, number)
    assert claims.claim_by_id(db, claim.id).uses == 0
    assert not claims.has_made(db, claim.id, "sensor-1")


def test_a_claim_ends_at_its_second(db: RegistryDb) -> None:
    claim, _ = add(db)
    claims.spend(db, claim.id, "sensor-1", "x", NOW + 59.9)
    with pytest.raises(AuthenticationFailed) as caught:
        claims.spend(db, claim.id, "sensor-2", "x", NOW + 60)
    assert caught.value.reason == "claim token expired"
    assert "claim add" in caught.value.fix


def test_a_revoked_claim_serves_nobody(db: RegistryDb) -> None:
    claim, _ = add(db)
    assert claims.revoke_claim(db, claim.id, actor="anna", now=NOW)
    assert not claims.revoke_claim(db, claim.id, actor="anna", now=NOW)
    with pytest.raises(AuthenticationFailed) as caught:
        claims.spend(db, claim.id, "sensor-1", "x", NOW)
    assert caught.value.reason == "claim token revoked"
    assert claims.claim_by_id(db, claim.id).state(NOW) == "revoked"


def test_of_many_who_come_for_the_last_uses_at_once_only_so_many_get_one(tmp_path: Path) -> None:
    with RegistryDb(tmp_path / "registry.db") as db:
        claim, _ = add(db, max_uses=3)
    got: list[int] = []
    refused: list[str] = []
    start = threading.Barrier(8)

    def come(number: int) -> None:
        with RegistryDb(tmp_path / "registry.db") as own:
            start.wait()
            try:
                got.append(claims.spend(own, claim.id, f"sensor-{number}", "x", NOW))
            except AuthenticationFailed as error:
                refused.append(error.reason)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), refused) == (3, ["claim token used up"] * 5)
    with RegistryDb(tmp_path / "registry.db") as db:
        assert claims.claim_by_id(db, claim.id).uses == len(claims.uses_of(db, claim.id)) == 3


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("sensor-*", ["sensor-1", "sensor-x.y"], ["sensor-", "sensor", "xsensor-1", "Sensor-1"]),
        ("*", ["a"], [""]),
        ("a*z", ["abz"], ["az", "abc"]),
        ("gateway", ["gateway"], ["gateway2", "*"]),
    ],
)
def test_a_pattern_covers_what_it_says(pattern: str, covered: list[str], others: list[str]) -> None:
    claim = Claim("x", claims.check_pattern(pattern), (), NOW, "anna", NOW, 1)
    assert all(claim.covers(name) for name in covered)
    assert not any(claim.covers(name) for name in others)


@pytest.mark.parametrize("pattern", ["", "**", "a*b*c", "a/b", "#", "+", "lab", "-*", "a" * 64])
def test_no_other_pattern_is_one(pattern: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        claims.check_pattern(pattern)
    assert caught.value.fix


def test_what_cannot_be_is_refused(db: RegistryDb) -> None:
    for uses, life in ((0, 1.0), (claims.MAX_USES + 1, 1.0), (1, 0.0)):
        with pytest.raises(InvalidSettings):
            add(db, max_uses=uses, life=life)
    with pytest.raises(InvalidSettings):
        claims.add_claim(db, "x", groups=["a/b"], max_uses=1, life_seconds=1, actor="anna", now=NOW)
    with pytest.raises(NotFound):
        claims.claim_by_id(db, "nobody")
    assert claims.claims(db) == []


@pytest.mark.parametrize("act", ["revoke_credentials", "remove_device"])
def test_what_was_made_for_a_device_ends_with_it(db: RegistryDb, act: str) -> None:
    db.add_device(Device("sensor", credentials=(es256(),)), actor="anna", now=NOW)
    mine, _ = add(db, "sensor")
    other, _ = add(db, "other")
    getattr(db, act)("sensor", actor="anna", now=NOW)
    assert [claims.claim_by_id(db, each.id).state(NOW) for each in (mine, other)] == ["revoked", "good"]
