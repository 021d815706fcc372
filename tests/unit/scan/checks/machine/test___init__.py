"""The machine: facts that no test can make are put in place of the real ones; the audit trail is really broken."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from lockgate.events import Event
from lockgate.fitness import gather
from lockgate.scan.finding import Severity
from lockgate.scan.subject import FileFacts, Machine
from tests.support.scan import Examined


def machine(home: Examined, **facts: object) -> Machine:
    real = gather(home.home, time.time()).machine
    assert real is not None
    changed: Machine = msgspec.structs.replace(real, **facts)
    return changed


def test_a_hub_that_runs_as_root_is_seen(home: Examined) -> None:
    owned = (FileFacts(str(home.path), 0o700, 1000, is_folder=True),)
    assert home.find("LG-HOST-001", hub_user=1000) == []
    assert home.find("LG-HOST-001", files=owned) == []
    (found,) = home.find("LG-HOST-001", hub_user=0, files=owned)
    assert found.severity is Severity.HIGH
    assert "service install --user" in found.fix


def test_a_full_disk_is_seen(home: Examined) -> None:
    assert (
        "is free" not in home.sees_only("LG-HOST-002", machine=machine(home, free_bytes=10**6, disk_bytes=10**11)).text
    )
    assert home.find("LG-HOST-002", machine=machine(home, free_bytes=10**10, disk_bytes=10**12)) == []
    unknown = home.report("LG-HOST-002", machine=machine(home, free_bytes=None))
    assert unknown.unchecked[0].reason == "the disk cannot be asked"


def test_an_unsynchronised_clock_is_seen(home: Examined) -> None:
    assert home.find("LG-HOST-003", machine=machine(home, clock_synchronised=True)) == []
    assert len(home.find("LG-HOST-003", machine=machine(home, clock_synchronised=False))) == 1
    assert home.report("LG-HOST-003", machine=machine(home, clock_synchronised=None)).passed == ()


def test_a_clock_of_the_past_is_severe(home: Examined) -> None:
    found = home.find("LG-HOST-004", now=0.0)
    assert len(found) == 2
    assert found[0].severity is Severity.SEVERE
    assert home.find("LG-HOST-004") == []


@pytest.mark.parametrize(("version", "is_old"), [((3, 10), True), ((3, 12), False), ((3, 19), False)])
def test_a_python_that_nobody_maintains_is_seen(home: Examined, version: tuple[int, int], is_old: bool) -> None:
    assert bool(home.find("LG-HOST-005", machine=machine(home, python=version))) == is_old
    assert home.find("LG-HOST-005", now=2e9 + 1e8, machine=machine(home, python=(3, 12)))


def test_a_library_with_a_known_flaw_is_seen(home: Examined) -> None:
    found = home.find("LG-HOST-006", machine=machine(home, packages={"h11": "0.14.0"}, openssl=("3.0.2", "3.0.19")))
    assert {f.place for f in found} == {"h11", "openssl"}
    assert any("CVE-2025-43859" in f.text and "'h11>=0.16.0'" in f.fix for f in found)
    assert home.find("LG-HOST-006") == []


def test_an_old_list_of_flaws_says_so(home: Examined) -> None:
    assert home.find("LG-HOST-007", now=time.time() + 2000 * 86_400)
    assert home.find("LG-HOST-007", now=1_795_000_000.0) == []


def test_pure_python_is_noted(home: Examined) -> None:
    assert home.find("LG-HOST-008", machine=machine(home, is_compiled=True)) == []
    (found,) = home.find("LG-HOST-008", machine=machine(home, is_compiled=False))
    assert found.severity is Severity.INFO


def test_a_home_without_a_recent_backup_is_seen(home: Examined, tmp_path: Path) -> None:
    later = time.time() + 40 * 86_400
    (none,) = home.find("LG-AUDIT-002", now=later)
    assert none.text == "none was ever made"
    with home.home.registry() as registry, registry.write() as write:
        write.note_audit(Event.HOME_BACKED_UP, "home", "test", time.time())
    (old,) = home.find("LG-AUDIT-002", now=later)
    assert "the last one was made on" in old.text
    with home.home.registry() as registry, registry.write() as write:
        write.note_audit(Event.HOME_BACKED_UP, "home", "test", later - 86_400)
    assert home.find("LG-AUDIT-002", now=later) == []


def test_a_changed_record_of_the_audit_trail_is_severe(home: Examined) -> None:
    home.lockgate.adds("lamp")
    assert home.find("LG-AUDIT-001") == []
    connection = sqlite3.connect(home.home.registry_path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE audit SET actor = 'nobody' WHERE sequence = 1")
    connection.commit()
    connection.close()
    found = home.find("LG-AUDIT-001")[0]
    assert found.severity is Severity.SEVERE
    assert "lockgate audit verify" in found.fix
