"""Backups: all of a home in one file, and nothing of a file that is not what was written."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lockgate.backup import FORMAT, Manifest, _changed, make_backup, restore_backup
from lockgate.errors import Conflict, InvalidSettings, LockgateError, StoreDamaged
from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.provision.bundle import NewCredential
from lockgate.registry.registrar import Registrar
from lockgate.registry.shared_secrets import bound_to
from lockgate.registry.trail import Trail
from lockgate.registry.vault import Vault
from lockgate.store.messages_db import MessagesDb
from tests.support.registry import NOW, es256

PHRASE = "correct horse battery"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)
    with home.registry() as db:
        Registrar(db, "anna").add_device("sensor", [es256()])
    return home


@pytest.fixture
def backup(home: Home, tmp_path: Path) -> Path:
    target = tmp_path / "hub.backup"
    make_backup(home, target, PHRASE, actor="anna")
    return target


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write(path: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def restored(path: Path, target: Path, phrase: str = PHRASE) -> Home:
    return restore_backup(path, target, lambda: phrase, actor="bert")


def files_of(home: Home) -> dict[str, bytes]:
    return {
        path.relative_to(home.path).as_posix(): path.read_bytes()
        for path in home.path.rglob("*")
        if path.is_file() and ".db" not in path.name
    }


@pytest.mark.requirement("O7")
def test_a_restored_home_is_the_home(home: Home, backup: Path, tmp_path: Path) -> None:
    again = restored(backup, tmp_path / "again")
    assert files_of(again) == files_of(home)
    modes = {path.stat().st_mode & 0o777 for path in again.path.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (again.path, again.path / "ca")} == {0o700}
    with home.registry() as old, again.registry() as new:
        assert (new.devices(), new.rules()) == (old.devices(), old.rules())
        assert [r.event for r in new.audit()][-3:] == ["home.backed_up", "audit.anchored", "home.restored"]
    again.authority()
    with Trail(again.registry_path, again.messages_path) as trail:
        assert trail.verify().problems == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "home", "hub.backup"]


def test_a_backup_is_its_owners_alone_and_holds_no_readable_key(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    content = members(backup)
    assert list(content)[:2] == ["manifest.json", "manifest.mac"]
    keys = {name for name, data in content.items() if b"PRIVATE KEY" in data}
    assert keys == {"home/ca/root.key", "home/ca/issuing.key", "home/server.key"}
    assert all(content[name].startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") for name in keys)


def test_without_ca_keys_a_hub_can_serve_and_not_issue(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "b"
    make_backup(home, target, PHRASE, actor="anna", with_ca_keys=False)
    again = restored(target, tmp_path / "again")
    assert again.server_key_path.read_bytes() == home.server_key_path.read_bytes()
    assert not again.issuing_key_path.exists()
    assert not again.root_key_path.exists()


def test_a_home_whose_hub_never_ran_has_a_backup_too(home: Home, tmp_path: Path) -> None:
    home.messages_path.unlink()
    make_backup(home, tmp_path / "b", PHRASE, actor="anna")
    assert not restored(tmp_path / "b", tmp_path / "again").messages_path.exists()


def test_progress_is_told(home: Home, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    make_backup(home, tmp_path / "b", PHRASE, actor="anna", on_progress=lambda *step: told.append(step))
    assert {name for name, _, _ in told} == {"messages.db", "registry.db", "the backup"}
    assert all(0 <= done <= total for _, done, total in told)
    assert told[-1][1] == told[-1][2]


def test_a_target_that_is_there_or_inside_the_home_is_refused(home: Home, backup: Path) -> None:
    with pytest.raises(Conflict, match="is there already"):
        make_backup(home, backup, PHRASE, actor="anna")
    with pytest.raises(InvalidSettings, match="inside the home"):
        make_backup(home, home.path / "b", PHRASE, actor="anna")
    with pytest.raises(InvalidSettings, match="too short"):
        make_backup(home, backup, "short", actor="anna")


def test_a_key_that_cannot_be_read_leaves_no_file(home: Home, tmp_path: Path) -> None:
    home.server_key_path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InvalidSettings, match=r"server\.key"):
        make_backup(home, tmp_path / "b", PHRASE, actor="anna")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


def test_an_existing_home_is_never_overwritten(home: Home, backup: Path) -> None:
    with pytest.raises(Conflict, match="is there already"):
        restored(backup, home.path)


def drop(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda content: content.pop(name)


def put(name: str, data: bytes) -> Callable[[dict[str, bytes]], object]:
    return lambda content: content.__setitem__(name, data)


def in_manifest(old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
    def change(content: dict[str, bytes]) -> None:
        assert old in content["manifest.json"]
        content["manifest.json"] = content["manifest.json"].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("home/server.crt"), "server.crt is missing"),
        (put("home/server.crt", b"another"), "server.crt in it is not what was written"),
        (put("home/lockgate.toml", b""), "lockgate.toml in it is not what was written"),
        (put("home/extra", b"x"), "'home/extra' in it is not of the backup"),
        (put("../evil", b"x"), "'../evil' in it is not of the backup"),
        (in_manifest(b'"server.crt"', b'"../server.crt"'), "no path inside a home"),
        (in_manifest(b'"server.crt"', b'"/server.crt"'), "no path inside a home"),
        (in_manifest(b'"with_ca_keys": true', b'"with_ca_keys": false'), "not the one that was written"),
        (put("manifest.mac", b"0" * 32), "not the one that was written"),
        (put("manifest.json", b"[1]"), "its manifest cannot be read"),
        (put("manifest.json", b"{"), "its manifest cannot be read"),
        (in_manifest(b'"salt": "', b'"salt": "x'), "its manifest cannot be read"),
        (drop("manifest.json"), "no backup of lockgate"),
        (in_manifest(b'"format": 1', b'"format": 3'), "made by a newer lockgate"),
    ],
)
def test_what_was_changed_is_named_and_nothing_is_written(
    backup: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], object], words: str
) -> None:
    content = members(backup)
    change(content)
    write(backup, content)
    with pytest.raises(LockgateError) as caught:
        restored(backup, tmp_path / "again")
    assert words in str(caught.value)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "hub.backup"]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_a_truncated_backup_is_refused(backup: Path, tmp_path: Path, part: float) -> None:
    os.truncate(backup, int(backup.stat().st_size * part))
    with pytest.raises(InvalidSettings, match=r"damaged or was changed|no backup of lockgate"):
        restored(backup, tmp_path / "again")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "hub.backup"]


def test_a_wrong_passphrase_is_said_to_be_wrong(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="the passphrase is not the one of this backup"):
        restored(backup, tmp_path / "again", PHRASE + "!")
    assert not (tmp_path / "again").exists()


def test_some_other_file_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("hello")
    with pytest.raises(InvalidSettings, match="no backup of lockgate"):
        restored(tmp_path / "b", tmp_path / "again")


def test_a_backup_with_a_broken_audit_trail_is_refused(home: Home, tmp_path: Path) -> None:
    with home.registry() as db:
        db._connection.execute("DROP TRIGGER audit_is_never_updated")
        db._connection.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 1")
    make_backup(home, tmp_path / "b", PHRASE, actor="anna")
    with pytest.raises(StoreDamaged, match="record 1 is not what was written"):
        restored(tmp_path / "b", tmp_path / "again")


def test_a_backup_without_a_registry_holds_no_home(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.path, tmp_path / "half")
    half = Home(tmp_path / "half")
    MessagesDb(half.messages_path).close()
    half.settings_path.unlink()
    make_backup(half, tmp_path / "b", PHRASE, actor="anna")
    with pytest.raises(InvalidSettings, match="holds no home"):
        restored(tmp_path / "b", tmp_path / "again")


def test_the_manifest_tells_what_is_in_it(backup: Path) -> None:
    manifest = msgspec.json.decode(members(backup)["manifest.json"], type=Manifest)
    assert manifest.format == 1
    assert {e.path for e in manifest.files if e.is_key} == {"ca/root.key", "ca/issuing.key", "server.key"}
    assert {"lockgate.toml", "registry.db", "messages.db", "ca/bundle.crt"} <= {e.path for e in manifest.files}
    assert "damaged" in str(_changed(backup, "x"))


def test_shared_secrets_come_back_and_are_in_no_backup_in_clear(home: Home, tmp_path: Path) -> None:
    key = bytes.fromhex("9f1c05b7e2d84a63b0f5de7713a84c2f")
    with home.registry() as db:
        Registrar(db, "anna").add_device("lamp", [NewCredential(CredentialKind.PSK, f"lamp:{key.hex()}")])
    sealing = home.secrets_path.read_text().splitlines()[-1].split()[1]
    target = tmp_path / "b"
    manifest = make_backup(home, target, PHRASE, actor="anna")
    assert manifest.format == FORMAT
    for text in (sealing.encode(), b64decode(sealing), key, key.hex().encode()):
        assert text not in target.read_bytes()
    again = restored(target, tmp_path / "again")
    assert files_of(again) == files_of(home)
    assert again.secrets_path.stat().st_mode & 0o777 == 0o600
    with again.registry() as db:
        (credential,) = next(device for device in db.devices() if device.name == "lamp").credentials
    assert Vault(again.secrets_path).open(credential.public, bound_to(credential)) == key
    with pytest.raises(InvalidSettings, match="the passphrase is not the one"):
        restored(target, tmp_path / "other", "another passphrase")


def test_a_backup_without_shared_secrets_can_be_read_by_an_older_release(home: Home, tmp_path: Path) -> None:
    assert make_backup(home, tmp_path / "b", PHRASE, actor="anna").format == 1
