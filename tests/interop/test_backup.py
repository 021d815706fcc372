"""A backup of a hub under load becomes a hub that the same devices find again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer

PHRASE = {"LOCKGATE_BACKUP_PASSPHRASE": "correct horse battery"}
ENOUGH = 200
WAITING = "\n[hub]\nmax_queued_messages = 60000\nmax_queued_bytes = 100000000\nmax_queued_bytes_total = 200000000\n"


@pytest.mark.process
def test_a_backup_under_load_is_of_one_moment_and_old_devices_find_their_sessions(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    hub = RunningHub(tmp_path / "hub", settings=WAITING)
    with hub:
        reader = hub.add_device("reader", "x509", "--receive", "devices/writer/#")
        writer = hub.add_device("writer", "jwt-es256")
        with PahoPeer(reader, hub.port, expiry=10**6) as peer:
            peer.subscribe("devices/writer/#", 1)
        words = "-m", "tests.support.steady_publisher", str(writer), str(hub.port), "devices/writer/n", "1", str(notes)
        publisher = subprocess.Popen([sys.executable, *words])
        try:
            eventually(lambda: notes.exists() and notes.read_text().count("\n") > ENOUGH, 20.0, "traffic")
            acknowledged = notes.read_text().split()
            hub.environment.update(PHRASE)
            done = hub.lockgate("backup", str(tmp_path / "hub.backup"), "--json")
            assert msgspec.json.decode(done.stdout)["with_ca_keys"] is True
            later = len(notes.read_text().split())
            eventually(lambda: len(notes.read_text().split()) > later, 10.0, "more traffic")  # nobody was held up
        finally:
            publisher.kill()
            publisher.wait()
    again = RunningHub.__new__(RunningHub)
    again.__dict__.update(hub.__dict__)
    again.home, again.log_path = tmp_path / "restored", tmp_path / "restored.log"
    again.lockgate("restore", str(tmp_path / "hub.backup"))
    with again:
        with PahoPeer(reader, again.port, expiry=10**6) as peer:
            assert peer.answers[0][2]  # the hub has its session
            heard = peer.wait_for(len(acknowledged), 30.0)
        payloads = [each.payload.decode() for each in heard]
        # All that was acknowledged before the backup began is there, in its order, and nothing twice.
        assert payloads[: len(acknowledged)] == [f"devices/writer/n-{n}" for n in range(len(acknowledged))]
        assert payloads == [f"devices/writer/n-{n}" for n in range(len(payloads))]
        again.add_device("newcomer", "x509")  # the authority's key came along
        whole = msgspec.json.decode(again.lockgate("audit", "verify", "--json").stdout)
        assert whole["is_whole"]
