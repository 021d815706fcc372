"""The gate's parts joined: what a change of the registry does to live sessions. No door is opened here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockgate.app import Gate
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.home import Home
from lockgate.hub import Hub, Session
from lockgate.model.message import Message
from lockgate.model.outcome import Traces
from lockgate.model.principal import Principal
from lockgate.model.topic import TopicName
from lockgate.policy import PolicyEngine
from lockgate.registry.registrar import Registrar
from lockgate.registry.trail import Trail
from lockgate.settings import HubSettings
from lockgate.store.messages_db import MessagesDb
from lockgate.store.messages_reader import read_seen
from lockgate.store.registry_db import ChangeKind, RegistryDb
from lockgate.store.traces import read_outcomes
from tests.support.fakes import FakeOutlet
from tests.support.registry import NOW, OTHER_EC_KEY, es256, recent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "home", ["hub.example"], NOW, "anna", 0)


@pytest.fixture
def db(home: Home) -> Iterator[RegistryDb]:
    with home.registry() as db:
        Registrar(db, "anna").add_device("sensor", [es256()])
        yield db


@pytest.fixture
def registrar(db: RegistryDb) -> Registrar:
    return Registrar(db, "anna")


@pytest.fixture
def gate(home: Home, db: RegistryDb) -> Iterator[Gate]:
    async def make() -> Gate:
        return Gate(home, home.settings())

    with asyncio.Runner() as runner:
        gate = runner.run(make())
        yield gate
        gate._workers.shutdown()
        gate._store.close()
        gate._registry_db.close()


def connected(gate: Gate, db: RegistryDb, suffix: str = "") -> tuple[Session, FakeOutlet]:
    device = db.device("sensor")
    assert device is not None
    outlet = FakeOutlet()
    principal = Principal("sensor", f"sensor{suffix}", "jwt-es256", device.credentials[0].id)
    return gate._hub.open_session(principal, outlet, False, 3600.0, None, 10, NOW).session, outlet


def test_a_blocked_devices_connections_end_and_its_sessions_wait(
    gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    outlets = [connected(gate, db, suffix)[1] for suffix in ("", "/2")]
    registrar.block("sensor")
    gate._poll()
    assert [outlet.ended[0].reason for outlet in outlets] == ["device blocked", "device blocked"]
    assert set(gate._hub.sessions) == {"sensor", "sensor/2"}


@pytest.mark.parametrize(
    ("act", "reason"),
    [(Registrar.revoke, "credential revoked"), (Registrar.remove, "device not registered")],
)
def test_a_revoked_or_removed_devices_sessions_are_gone(
    gate: Gate, db: RegistryDb, registrar: Registrar, act: Callable[[Registrar, str], object], reason: str
) -> None:
    _, outlet = connected(gate, db)
    act(registrar, "sensor")
    gate._poll()
    assert [error.reason for error in outlet.ended] == [reason]
    assert gate._hub.sessions == {}


def test_a_device_removed_and_added_again_under_its_name_inherits_no_session(
    gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    _, outlet = connected(gate, db)
    registrar.remove("sensor")
    registrar.add_device("sensor", [es256(OTHER_EC_KEY)])
    gate._poll()
    assert len(outlet.ended) == 1
    assert gate._hub.sessions == {}


def test_changes_that_leave_a_device_as_good_as_it_was_end_nothing(
    gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    session, outlet = connected(gate, db)
    registrar.join("sensor", "floor1")
    registrar.add_credential("sensor", es256(OTHER_EC_KEY))
    registrar.block("sensor")
    registrar.unblock("sensor")
    gate._poll()
    assert outlet.ended == []
    assert session.outlet is outlet


def test_nothing_of_a_device_that_went_while_the_hub_was_down_comes_back_and_that_is_told(
    home: Home, gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    session, outlet = connected(gate, db)
    message = Message(TopicName("devices/sensor/x"), b"x", 1, True, publisher="sensor")
    gate._hub.publish(session.principal, message)
    gate._hub.close_session(session, outlet, False, NOW)
    gate._store.close()
    registrar.revoke("sensor")
    gate._registry.poll()
    gate._store = MessagesDb(home.messages_path)
    gate._hub = Hub(PolicyEngine(gate._registry), gate._store, HubSettings(), gate._report)
    gate._restore(NOW)
    assert (gate._hub.sessions, gate._hub.retained_count) == ({}, 0)
    gate._store.flush()
    (outcome,) = read_outcomes(home.messages_path, 0)
    assert (outcome.sequence, outcome.device) == (db.last_sequence, "")
    assert outcome.ended == Traces(sessions=1, retained=1)


def test_what_became_of_a_change_is_told_with_its_number(
    home: Home, gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    connected(gate, db)
    registrar.join("sensor", "floor1")
    registrar.block("sensor")
    gate._poll()
    gate._store.flush()
    (outcome,) = read_outcomes(home.messages_path, 1)
    assert (outcome.sequence, outcome.device, outcome.reason) == (db.last_sequence, "sensor", "device blocked")
    assert (outcome.ended, outcome.remaining) == (Traces(connections=1), Traces(sessions=1))


def test_a_choice_for_retained_messages_comes_before_the_revocation(
    gate: Gate, db: RegistryDb, registrar: Registrar
) -> None:
    session, _ = connected(gate, db)
    topic = TopicName("devices/sensor/x")
    gate._hub.publish(session.principal, Message(topic, b"x", 1, True, publisher="sensor"))
    db.note_change(ChangeKind.KEEP_RETAINED, "sensor", actor="anna", now=NOW, event=Event.DEVICE_REVOKED)
    registrar.revoke("sensor")
    gate._poll()
    assert gate._hub.retained.published_by("sensor") == [topic]


def test_a_new_server_certificate_is_taken_up_and_a_broken_one_is_not(gate: Gate, home: Home) -> None:
    before = gate._contexts.current
    home.issue_server_certificate(["new.example"], NOW, "anna")
    gate._poll()
    asyncio.run(gate._keeper.work())
    assert gate._contexts.current is not before
    assert gate._contexts.current.covers("new.example")
    kept = gate._contexts.current
    home.issue_server_certificate(["newer.example"], NOW, "anna")
    home.server_key_path.write_bytes(b"broken")
    gate._poll()
    asyncio.run(gate._keeper.work())
    assert gate._contexts.current is kept


def test_a_will_that_nobody_waits_for_is_told_to_the_journal(gate: Gate) -> None:
    gate._report(LockgateError("no", reason="not authorized: x"), Principal("sensor", "sensor/1", "x509"))
    (refusal,) = recent(gate._journal._refusals)
    assert (refusal.device, refusal.client_id, refusal.is_verified) == ("sensor", "sensor/1", True)


def test_what_it_tells_of_itself_is_said_once_until_it_changes(gate: Gate) -> None:
    said: list[tuple[str, str]] = []
    gate._hub.announce = lambda topic, text: said.append((topic, text))  # type: ignore[method-assign]
    gate._announce()
    assert ("$SYS/broker/clients/connected", "0") in said
    said.clear()
    gate._hub.published += 1
    gate._announce()
    assert ("$SYS/broker/publish/messages/received", "1") in said
    assert "$SYS/broker/clients/connected" not in dict(said)


def test_where_the_audit_trail_stands_is_noted_among_the_security_events(
    gate: Gate, home: Home, registrar: Registrar
) -> None:
    gate._anchor(Event.HUB_STARTED)
    gate._anchor()
    registrar.block("sensor")
    gate._anchor()
    gate._store.flush()
    with Trail(home.registry_path, home.messages_path) as trail:
        assert trail.verify().problems == ()
        noted = [(r.event, r.details.get("record")) for r in trail.records() if r.trail == "security_event"]
    assert noted == [("hub.started", None), ("audit.anchored", "2"), ("audit.anchored", "3")]


def test_when_a_device_was_seen_goes_with_the_device(gate: Gate, home: Home, registrar: Registrar) -> None:
    def noted() -> list[str]:
        gate._store.flush()
        return list(read_seen(home.messages_path))

    gate._journal.spoke(["sensor", "nobody"])
    gate._write_journal()
    assert noted() == ["sensor"]
    registrar.remove("sensor")
    gate._poll()
    gate._journal.spoke(["sensor"])
    gate._write_journal()
    assert noted() == []
