"""A damaged home: `lockgate up` says what is wrong and what mends it, ends with 1, and changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hub import RunningHub, run_lockgate
from tests.support.paho_peer import PahoPeer
from tests.support.power.disk import snapshot

pytestmark = pytest.mark.process

SOCKETS = shutil.ignore_patterns("*.sock")
DAY = 86_400
PAYLOAD = b"a payload that is easy to find"
FRAME_BYTES = 24 + 4096


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three homes: `clean`, `later` (the same, some messages on) and `killed` (later still, its log left behind)."""
    folder = tmp_path_factory.mktemp("homes")
    hub = RunningHub(folder / "site")
    hub.start()
    device = hub.add_device("d", "x509", "--publish", "a/#", "--receive", "a/#")
    with PahoPeer(device, hub.port, suffix="absent", expiry=DAY) as absent:
        absent.subscribe("a/#", 1)

    def publish(count: int) -> None:
        with PahoPeer(device, hub.port, suffix="source", expiry=DAY) as source:
            for number in range(count):
                source.publish(f"a/{number}", PAYLOAD + b" " * 2000, 1, retain=True)

    publish(10)
    hub.stop()
    fold(hub.home / "registry.db")
    shutil.copytree(hub.home, folder / "clean", ignore=SOCKETS)
    hub.start()
    publish(3)
    hub.stop()
    shutil.copytree(hub.home, folder / "later", ignore=SOCKETS)
    hub.start()
    publish(10)
    hub.kill()
    shutil.copytree(hub.home, folder / "killed", ignore=SOCKETS)
    assert (folder / "killed" / "messages.db-wal").stat().st_size > 10 * FRAME_BYTES
    return folder


def fold(path: Path) -> None:
    """Fold what the log holds into the file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert not path.with_name(path.name + "-wal").exists()


def overwrite(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


def set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def flip_in_payload(path: Path) -> None:
    overwrite(path, path.read_bytes().index(PAYLOAD) + 3, b"A")


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


MESSAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "header": ("clean", lambda path: overwrite(path, 0, b"sqlite"), "messages.db is damaged"),
    "header numbers": ("clean", lambda path: overwrite(path, 16, b"\x13\x37"), "messages.db is damaged"),
    "page": ("clean", lambda path: overwrite(path, path.stat().st_size // 2, b"\xff" * 4096), "messages.db is damaged"),
    "payload": ("clean", flip_in_payload, "is not what was written"),
    "truncated": ("clean", lambda path: path.write_bytes(path.read_bytes()[:20_000]), "messages.db is damaged"),
    "empty": ("clean", lambda path: path.write_bytes(b""), "not a messages database"),
    "text": ("clean", lambda path: path.write_text("no database " * 1000), "messages.db is damaged"),
    "other family": (
        "clean",
        lambda path: shutil.copy(path.with_name("registry.db"), path),
        "not a messages database of lockgate",
    ),
    "future": ("clean", lambda path: set_version(path, 99), "written by a newer lockgate"),
    "folder": ("clean", become_a_folder, "messages.db is no file"),
    "lost": ("killed", lambda path: path.unlink(), "messages.db is missing, but its write-ahead log"),
    "log broken": (
        "killed",
        lambda path: overwrite(path.with_name("messages.db-wal"), 32 + 24 + 100, b"\xff\x00\xff"),
        "messages.db-wal is damaged",
    ),
    "backup under a newer log": (
        "killed",
        lambda path: shutil.copy(path.parent.parent / "clean.db", path),
        "messages.db-wal does not belong to",
    ),
}
REGISTRY: dict[str, tuple[Callable[[Path], object], str]] = {
    "header": (lambda path: overwrite(path, 0, b"sqlite"), "registry.db is damaged"),
    "page": (lambda path: overwrite(path, 8192, b"\xff" * 4096), "registry.db is damaged"),
    "future": (lambda path: set_version(path, 99), "written by a newer lockgate"),
    "missing": (lambda path: path.unlink(), "registry.db is missing"),
}


def check_refusal(home: Path, words: str) -> None:
    """Start the hub: it must end with one sentence and what mends it, and leave everything as it was."""
    before = snapshot(home)
    done = run_lockgate("up", "--home", str(home), check=False)
    assert done.returncode == 1, done.stderr
    error, fix = done.stderr.strip().splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert fix.startswith("fix: ")
    after = snapshot(home)
    for name in before.keys() | after.keys():
        if not name.endswith("-shm") and not name.startswith("run/"):
            assert after.get(name, b"") == before.get(name, b""), f"{name} was changed"


@pytest.mark.parametrize("damage", MESSAGES)
def test_damaged_messages_are_said_and_left_alone(homes: Path, tmp_path: Path, damage: str) -> None:
    which, do, words = MESSAGES[damage]
    shutil.copytree(homes / which, tmp_path / "home")
    shutil.copy(homes / "clean" / "messages.db", tmp_path / "clean.db")
    do(tmp_path / "home" / "messages.db")
    check_refusal(tmp_path / "home", words)


@pytest.mark.parametrize("damage", REGISTRY)
def test_a_damaged_registry_is_said_and_left_alone(homes: Path, tmp_path: Path, damage: str) -> None:
    do, words = REGISTRY[damage]
    shutil.copytree(homes / "clean", tmp_path / "home")
    do(tmp_path / "home" / "registry.db")
    check_refusal(tmp_path / "home", words)


def test_after_the_damaged_file_was_moved_away_the_hub_begins_without_it(homes: Path, tmp_path: Path) -> None:
    shutil.copytree(homes / "killed", tmp_path / "site" / "home")
    hub = RunningHub(tmp_path / "site")
    overwrite(hub.home / "messages.db", 0, b"sqlite")
    for path in hub.home.glob("messages.db*"):
        path.rename(tmp_path / path.name)
    with hub:
        assert hub.events("hub.started")[-1]["sessions"] == 0
        assert [each["path"] for each in hub.events("store.created")] == [str(hub.home / "messages.db")]
