"""What we depend on is locked: each package with its version and hashes, from no address of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK_FILES = sorted((ROOT / "requirements").glob("*.txt"))
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def plain(name: str) -> str:
    """Spell a package's name as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~;\s]", name, maxsplit=1)[0]).lower()


def locked(path: Path) -> set[str]:
    return {plain(name) for name, _ in ENTRY.findall(path.read_text())}


def test_every_dependency_is_locked() -> None:
    runtime = {plain(name) for name in PROJECT["dependencies"]}
    dev = {plain(name) for name in PROJECT["optional-dependencies"]["dev"]}
    assert len(runtime) >= 8
    assert runtime - locked(ROOT / "requirements" / "runtime.txt") == set()
    assert (runtime | dev) - locked(ROOT / "requirements" / "dev.txt") == set()


def test_both_lock_files_agree_on_versions() -> None:
    runtime, dev = (
        dict(ENTRY.findall((ROOT / "requirements" / name).read_text())) for name in ("runtime.txt", "dev.txt")
    )
    assert {name: version for name, version in dev.items() if name in runtime} == runtime


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
def test_a_lock_file_holds_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"://|\b(?:[a-z0-9-]+\.)+(?:org|com|net|io)\b|--index-url|--find-links|git\+|^-e ", text, re.MULTILINE
    )
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries if ENTRY.match(entry))
    assert [entry for entry in entries if not ENTRY.match(entry) and not entry.startswith("#")] == []
