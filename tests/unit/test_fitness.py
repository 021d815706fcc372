"""Facts of a home: read without changing it, missing ones with their reason."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from lockgate.fitness import gather
from lockgate.home import DoorFacts, Home, RunFacts, write_private
from lockgate.scan.subject import Door


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example"], time.time(), "anna", 0)


def test_a_fresh_home_gives_all_facts_but_those_of_a_hub(home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.path.rglob("*")}
    subject = gather(home, 5.0)
    missing = [name for name in subject.__struct_fields__ if getattr(subject, name) is None]
    assert missing == ["doors", "hub_user", "office_user", "prober"]
    assert subject.reasons["doors"] == "no hub runs on this home"
    assert (subject.now, subject.target) == (5.0, str(home.path))
    assert before.items() <= {path: path.stat().st_mtime_ns for path in home.path.rglob("*")}.items()


def test_a_running_hub_gives_its_doors_and_its_user(home: Home) -> None:
    doors = (DoorFacts("mqtt", "::", 8883, "tls"), DoorFacts("mqtt", "127.0.0.1", 1883, "none"))
    write_private(home.doors_path, msgspec.json.encode(RunFacts(os.getpid(), doors)))
    subject = gather(home, 5.0)
    assert subject.doors == (Door("mqtt", "::", 8883, True), Door("mqtt", "127.0.0.1", 1883, False))
    assert subject.hub_user == os.getuid()
    assert subject.prober is not None


def test_what_is_broken_says_why_and_leaves_the_rest(home: Home) -> None:
    home.registry_path.write_bytes(b"no database")
    home.server_path.unlink()
    home.settings_path.write_text("nonsense")
    home.issuing_path.write_bytes(b"")
    subject = gather(home, 5.0)
    assert (subject.devices, subject.rules, subject.server, subject.settings, subject.issuing) == (None,) * 5
    assert {"registry", "server", "settings", "issuing"} <= subject.reasons.keys()
    assert subject.root is not None


def test_a_key_that_cannot_be_read_is_no_key(home: Home) -> None:
    home.server_key_path.write_bytes(b"nothing")
    server = gather(home, 5.0).server
    assert server is not None
    assert server.key is None


def test_the_machine_is_known(home: Home) -> None:
    machine = gather(home, 5.0).machine
    assert machine is not None
    assert machine.free_bytes
    assert machine.user == os.getuid()
    assert {"cryptography", "pyOpenSSL"} <= machine.packages.keys()
    assert all(version[0].isdigit() for version in machine.openssl)
