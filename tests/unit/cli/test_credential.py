"""`lockgate credential`: single keys and passwords."""

from __future__ import annotations

import pytest

from lockgate.home import Home
from lockgate.store.messages_db import MessagesDb
from tests.support.cli import CommandLine


def test_single_credentials_are_revoked_by_their_number(lockgate: CommandLine) -> None:
    for name in ("one", "two"):
        lockgate.adds(name)
    assert "revoked 1 of one" in lockgate.does("credential", "revoke", "1").out
    assert lockgate.does("credential", "revoke", "2", "--json").json() == [
        {"credential": 2, "device": "two", "done": "revoked"}
    ]
    assert "there is no credential 3" in lockgate.refuses("credential", "revoke", "3")


@pytest.mark.requirement("T24")
def test_the_inventory_tells_owner_algorithm_times_and_last_use_of_every_key(lockgate: CommandLine) -> None:
    assert "no credentials" in lockgate.does("credential", "list").out
    for kind in ("jwt-es256", "x509", "password"):
        lockgate.adds(f"d-{kind}", kind)
    store = MessagesDb(Home(lockgate.home).messages_path)
    store.save_seen([("d-x509", "credential 2", 1_800_000_000.0, "")])
    store.close()
    lockgate.does("credential", "revoke", "3")
    good = lockgate.does("credential", "list", "--json").json()
    assert [(each["id"], each["device"], each["algorithm"], each["last_used"]) for each in good] == [
        (1, "d-jwt-es256", "P-256", None),
        (2, "d-x509", "P-256", 1_800_000_000.0),
    ]
    assert good[1]["expires_at"] > good[1]["created_at"] > 0
    assert [len(each["thumbprint"]) for each in good] == [64, 64]
    every = lockgate.does("credential", "list", "--all").out
    for text in ("argon2id", "revoked", "P-256", "2027-01-15"):
        assert text in every
    assert len(lockgate.does("credential", "list", "d-x509", "--json").json()) == 1
    lockgate.refuses("credential", "list", "nobody")
