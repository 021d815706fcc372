"""The page of all keys names each that a home, a device's folder or a command makes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.registry.vault import Vault

PAGE = (Path(__file__).parents[2] / "docs" / "explain" / "keys.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 7]


@pytest.mark.requirement("F9", "F10")
def test_every_key_of_a_home_has_its_row_with_who_holds_it_and_until_when(tmp_path: Path) -> None:
    made = Home.create(tmp_path / "home", ["hub.example"], time.time(), "test")
    made.raw_key()
    Vault(made.secrets_path).seal(b"a secret", "whose")
    home = made.path
    keys = sorted(path.relative_to(home).as_posix() for path in home.rglob("*.key"))
    assert keys == ["ca/issuing.key", "ca/root.key", "hub.key", "secrets.key", "server.key"]
    for key in (*keys, "device.key"):
        (row,) = (line for line in ROWS if f"`{key}`" in line)
        assert all(cell.strip() for cell in row.strip("|").split("|")), row


@pytest.mark.requirement("F9")
def test_every_secret_that_two_ends_share_is_named_as_one() -> None:
    shared = [line for line in ROWS if "shared secret" in line]
    assert any("claim add" in line for line in shared)
    for kind in (CredentialKind.PASSWORD, CredentialKind.SCRAM_SHA_256, CredentialKind.PSK, CredentialKind.OSCORE):
        assert any(re.search(rf"`[^`]*{kind.value}`", line) for line in shared), kind
