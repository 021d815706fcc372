"""The vault: what is sealed opens for whom it was sealed, by the keys of the file, and for nobody else."""

from __future__ import annotations

import os
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from lockgate.errors import InvalidSettings
from lockgate.registry.vault import SECRETS_FILE, Vault

SECRET = b"Kanarienvogel, gelb, 16 Kerne   "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / SECRETS_FILE


def test_what_is_sealed_opens_for_the_same_and_is_nowhere_to_be_read(path: Path) -> None:
    sealed = Vault(path).seal(SECRET, "psk lamp psk-lamp")
    assert Vault(path).open(sealed, "psk lamp psk-lamp") == SECRET
    for form in (SECRET.decode(), SECRET.hex(), b64encode(SECRET).decode()):
        assert form not in sealed
        assert form not in path.read_text()


def test_the_same_secret_is_sealed_differently_each_time(path: Path) -> None:
    vault = Vault(path)
    assert vault.seal(SECRET, "a") != vault.seal(SECRET, "a")


def test_a_seal_in_another_row_does_not_open(path: Path) -> None:
    vault = Vault(path)
    sealed = vault.seal(SECRET, "psk lamp psk-lamp")
    with pytest.raises(InvalidSettings, match="sealed for another device"):
        vault.open(sealed, "psk kettle psk-kettle")


@pytest.mark.parametrize("at", [20, -5])
def test_a_changed_seal_does_not_open(path: Path, at: int) -> None:
    vault = Vault(path)
    sealed = list(vault.seal(SECRET, "a"))
    sealed[at] = "A" if sealed[at] != "A" else "B"
    with pytest.raises(InvalidSettings, match="is damaged"):
        vault.open("".join(sealed), "a")


@pytest.mark.parametrize("text", ["", "in clear", "$argon2id$v=19", "sealed"])
def test_what_is_no_seal_is_refused(path: Path, text: str) -> None:
    with pytest.raises(InvalidSettings):
        Vault(path).open(text, "a")


def test_a_seal_that_is_no_base64_is_damaged(path: Path) -> None:
    vault = Vault(path)
    name = vault.seal(SECRET, "a").split(":")[1]
    with pytest.raises(InvalidSettings, match="is damaged"):
        vault.open(f"sealed:{name}:*", "a")


def test_without_the_file_nothing_opens_and_the_fix_names_the_way_out(path: Path) -> None:
    sealed = Vault(path).seal(SECRET, "a")
    path.unlink()
    with pytest.raises(InvalidSettings, match="does not hold the key") as caught:
        Vault(path).open(sealed, "a")
    assert "backup" in caught.value.fix
    assert "device rotate" in caught.value.fix


def test_the_file_is_the_owners_alone_and_is_made_once(path: Path) -> None:
    Vault(path).seal(SECRET, "a")
    before = path.read_bytes()
    Vault(path).seal(SECRET, "b")
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [SECRETS_FILE]


def test_in_a_home_of_two_users_the_group_may_read_it_and_not_write(path: Path) -> None:
    path.parent.chmod(0o2770)
    Vault(path).seal(SECRET, "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_whoever_comes_second_takes_the_key_of_the_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Vault(path), Vault(path)
    link = os.link

    def overtaken(source: str, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        sealed.append(first.seal(SECRET, "a"))
        link(source, target)

    sealed: list[str] = []
    monkeypatch.setattr(os, "link", overtaken)
    sealed.append(second.seal(SECRET, "a"))
    assert [Vault(path).open(each, "a") for each in sealed] == [SECRET, SECRET]


def test_after_a_rotation_new_seals_have_the_new_key_and_old_ones_open_until_the_next(path: Path) -> None:
    vault, running = Vault(path), Vault(path)
    old = vault.seal(SECRET, "a")
    vault.begin_rotation()
    new = vault.seal(SECRET, "a")
    assert old.split(":")[1] != new.split(":")[1]
    assert [running.open(each, "a") for each in (old, new)] == [SECRET, SECRET]
    vault.begin_rotation()
    assert Vault(path).open(new, "a") == SECRET
    with pytest.raises(InvalidSettings, match="does not hold the key"):
        Vault(path).open(old, "a")


@pytest.mark.parametrize(
    "content", ["", "# only this\n", "name\n", "name *\n", "name AAAA\n", " " + b64encode(bytes(32)).decode()]
)
def test_a_damaged_file_is_said_to_be_damaged(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidSettings, match=r"is damaged|is empty"):
        Vault(path).seal(SECRET, "a")


def test_a_file_that_cannot_be_read_or_made_is_told_with_its_path(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InvalidSettings, match="cannot be read"):
        Vault(path).seal(SECRET, "a")
    with pytest.raises(InvalidSettings, match="cannot be written"):
        Vault(path.parent / "nowhere" / SECRETS_FILE).seal(SECRET, "a")


def test_its_repr_shows_no_key(path: Path) -> None:
    vault = Vault(path)
    vault.seal(SECRET, "a")
    assert repr(vault) == f"Vault({str(path)!r})"
