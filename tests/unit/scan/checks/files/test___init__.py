"""Files: each fault made in a real home is seen by its check alone, and gone after the fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockgate.scan.finding import Severity
from lockgate.scan.subject import FileFacts
from tests.support.scan import Examined


@pytest.mark.parametrize(
    ("name", "mode"), [("ca/issuing.key", 0o640), ("registry.db", 0o602), ("ca", 0o711), (".", 0o750)]
)
def test_a_file_that_others_reach_is_severe(home: Examined, name: str, mode: int) -> None:
    (home.path / name).chmod(mode)
    found = home.sees_only("LG-FILE-001")
    assert found.severity is Severity.SEVERE
    assert f"{mode:04o}" in found.text
    home.mends(found)


def test_a_file_of_another_user_is_seen(home: Examined) -> None:
    facts = (
        FileFacts(str(home.path), 0o700, 1000, is_folder=True),
        FileFacts(str(home.path / "server.key"), 0o600, 1001),
    )
    found = home.sees_only("LG-FILE-002", files=facts)
    assert "server.key" in found.text
    assert found.fix == f"chown -hR 1000 {home.path}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_fix_gives_files_back(home: Examined) -> None:
    os.chown(home.path / "server.key", 12345, -1)
    home.mends(home.sees_only("LG-FILE-002"))


def test_a_symbolic_link_is_seen(home: Examined, tmp_path: Path) -> None:
    (home.path / "server.key").rename(tmp_path / "elsewhere.key")
    (home.path / "server.key").symlink_to(tmp_path / "elsewhere.key")
    found = home.sees_only("LG-FILE-003")
    home.mends(found)
    assert not (home.path / "server.key").is_symlink()


def test_a_folder_above_that_others_write_is_seen(home: Examined) -> None:
    home.path.parent.chmod(0o777)
    home.mends(home.sees_only("LG-FILE-004"))
    home.path.parent.chmod(0o1777)
    assert home.find("LG-FILE-004") == []


def test_a_folder_of_a_device_in_the_home_is_seen(home: Examined) -> None:
    home.lockgate.does("device", "add", "lamp", "--auth", "x509", "--out", home.path / "lamp")
    found = home.sees_only("LG-FILE-005")
    assert str(home.path / "lamp") in found.fix
    (home.path / "lamp").rename(home.path.parent / "lamp")
    assert home.find("LG-FILE-005") == []


def test_the_roots_key_is_seen_until_it_is_gone(home: Examined) -> None:
    (found,) = home.find("LG-CA-001")
    assert found.severity is Severity.MEDIUM
    assert found.fix.startswith("lockgate ca export-root-key FILE")
    home.path.parent.joinpath("words").write_text("a long passphrase for the test")
    away = home.path.parent / "root.key.pem"
    home.lockgate.does("ca", "export-root-key", away, "--passphrase-file", home.path.parent / "words")
    assert home.find("LG-CA-001") == []


def test_a_gate_that_can_read_the_issuing_key_is_seen(home: Examined) -> None:
    owner = os.getuid()
    (noted,) = home.find("LG-CA-002", hub_user=owner)
    assert noted.severity is Severity.INFO
    (found,) = home.find("LG-CA-002", hub_user=owner, office_user=owner + 1)
    assert found.severity is Severity.HIGH
    assert found.fix == f"chown {owner + 1} {home.path}/ca/issuing.key"
    assert home.find("LG-CA-002", hub_user=owner + 1, office_user=owner) == []


def test_a_home_laid_out_for_two_users_is_fine_but_for_a_key_that_the_group_reads(home: Examined) -> None:
    for path in (home.path, *home.path.rglob("*")):
        in_ca = "ca" in path.relative_to(home.path).parts
        if path.is_dir():
            path.chmod(0o3770 if path == home.path else 0o2750 if in_ca else 0o2770)
        else:
            path.chmod(0o600 if in_ca and path.suffix == ".key" else 0o640 if in_ca else 0o660)
    assert not home.find("LG-FILE-001")
    assert not home.find("LG-FILE-002")
    (home.path / "ca" / "issuing.key").chmod(0o640)
    assert "issuing.key" in home.find("LG-FILE-001")[0].text
