"""Homes that earlier releases made: brought up to date with all that is in them, and every decision as it was.

`tests/homes/NAME/` holds a home as text: both databases as SQL, lockgate.toml, and what the release that made it said
of it (`expected.json`). Keys and certificates are not kept: they are made anew.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockgate.home import Home
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_name
from lockgate.policy import Grant, PolicyEngine
from lockgate.registry.registry import Registry
from tests.support.hub import RunningHub
from tests.support.paho_peer import PahoPeer

HOMES = Path(__file__).parents[1] / "homes"
PASSWORD = "e8864bc23e6e45ec77d31a4c84c297dbb0b6573a333184b4"


def rebuild(stored: Path, folder: Path) -> RunningHub:
    """Give a hub (that does not run yet) on the stored home."""
    hub = RunningHub(folder)
    for family in ("registry", "messages"):
        path = hub.home / f"{family}.db"
        path.unlink()
        connection = sqlite3.connect(path)
        connection.executescript((stored / f"{family}.sql").read_text())
        connection.close()
        path.chmod(0o600)
    shutil.copyfile(stored / "lockgate.toml", hub.home / "lockgate.toml")
    return hub


@pytest.mark.process
@pytest.mark.parametrize("name", sorted(path.name for path in HOMES.iterdir()))
def test_a_home_of_an_earlier_release_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path, name: str) -> None:
    expected: dict[str, Any] = msgspec.json.decode((HOMES / name / "expected.json").read_bytes())
    hub = rebuild(HOMES / name, tmp_path)
    assert "lockgate up" in hub.lockgate("device", "list", check=False).stderr  # a reader says who brings it up to date
    with hub:
        kept = {key for device in expected["devices"] for key in device}
        found = msgspec.json.decode(hub.lockgate("device", "list", "--json").stdout)
        assert [{key: device[key] for key in device if key in kept} for device in found] == expected["devices"]
        rules = msgspec.json.decode(hub.lockgate("policy", "list", "--json").stdout)
        assert [(rule["subject"], rule["operation"], rule["filter"], rule["effect"]) for rule in rules] == [
            (rule["subject"], rule["operation"], rule["filter"], rule["effect"]) for rule in expected["rules"]
        ]
        known = {refusal["reference"]: refusal for refusal in hub.why()}
        for refusal in expected["refusals"]:
            assert refusal.items() <= known[refusal["reference"]].items()
        assert decisions(hub.home, expected["decisions"]) == expected["decisions"]

        # The session with its queue, and the retained message, reach the same device by the same password.
        device = hub.add_device("stranger", "password")  # only for the form of a device's folder
        facts = device / "device.json"
        facts.write_text(facts.read_text().replace("stranger", "pass"))
        with PahoPeer(device, hub.port, expiry=1000, secret=("pass", PASSWORD)) as peer:
            assert peer.answers[0][2]
            heard = [(each.topic, each.payload) for each in peer.wait_for(4)]
        assert heard == [("plan/today", b"step 0"), ("plan/today", b"step 1"), ("plan/today", b"step 2"),
                         ("devices/pass/in", b"hello")]  # fmt: skip
        listener = hub.add_device("listener", "x509", "--receive", "devices/+/state")
        with PahoPeer(listener, hub.port) as peer:
            peer.subscribe("devices/+/state", 1)
            assert peer.wait_for(1)[0].payload == b"on"

        trail = msgspec.json.decode(hub.lockgate("audit", "list", "--last", "1000", "--json").stdout)
        events = [record["event"] for record in trail]
        assert events.count("audit.chained") == 2  # both trails were chained with what was in them
        assert {"home.created", "device.revoked", "device.removed", "session.ended"} <= set(events)
        assert msgspec.json.decode(hub.lockgate("audit", "verify", "--json").stdout)["is_whole"]


def decisions(home: Path, asked: list[list[Any]]) -> list[list[Any]]:
    """Give the table of decisions as this release decides."""
    with Home(home).registry(read_only=True) as database:
        registry = Registry(database)
        engine = PolicyEngine(registry)
        answers = []
        for name, operation, topic, qos, retain, _ in asked:
            device = registry.device(name)
            assert device is not None
            good = [c.id for c in device.credentials if not c.is_revoked]
            principal = Principal(name, name, "explain", good[0] if good else 0)
            answer = engine.authorize(principal, Operation(operation), topic_name(topic), qos, retain)
            answers.append([name, operation, topic, qos, retain, isinstance(answer, Grant)])
    return answers
