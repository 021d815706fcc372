"""What is on the disk of one device, counted beside the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.model.message import Message
from lockgate.model.outcome import Outcome, Traces
from lockgate.model.principal import Principal
from lockgate.model.session import SessionRecord, Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.store import batch
from lockgate.store.messages_db import MessagesDb
from lockgate.store.traces import Stored, read_kept_publishers, read_outcomes, stored_traces


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.db"


@pytest.fixture
def gate(path: Path) -> Iterator[MessagesDb]:
    gate = MessagesDb(path)
    yield gate
    gate.close()


def message(topic: str, publisher: str) -> Message:
    return Message(TopicName(topic), b"x", 1, True, publisher=publisher)


def test_where_there_is_no_file_nothing_is_found(path: Path) -> None:
    assert (stored_traces(path, "sensor"), read_outcomes(path, 0), read_kept_publishers(path)) == (Stored(), [], set())


def test_each_devices_own_is_counted_and_no_others(gate: MessagesDb, path: Path) -> None:
    will = Will(message("gone", "sensor"))
    for client_id in ("sensor", "sensor/2", "sensor-2", "sensor0", "sensor.x/1"):
        who = Principal(client_id.partition("/")[0], client_id, "x509", 1)
        gate.save_session(SessionRecord(who, 60.0, None, will if client_id == "sensor/2" else None))
        gate.save_subscription(client_id, Subscription(TopicFilter("a")))
        gate.enqueue(client_id, 1, message("a", "watcher"), 1, False, ())
    gate.enqueue("sensor0", 2, message("a", "sensor"), 1, False, ())
    for_two = message("a", "sensor")
    for client_id in ("sensor0", "sensor.x/1"):
        gate.enqueue(client_id, 3, for_two, 1, False, ())
    gate.keep_retained(message("a", "sensor"))
    gate.keep_retained(message("b", "sensor-2"))
    gate.flush()
    traces = Traces(sessions=2, subscriptions=2, queued=2, wills=1, retained=1)
    assert stored_traces(path, "sensor") == Stored(traces, passed_on=2)
    assert stored_traces(path, "sensor-2").traces == Traces(sessions=1, subscriptions=1, queued=1, retained=1)
    assert stored_traces(path, "nobody") == Stored()


def test_outcomes_are_read_from_a_number_on_and_the_newest_stay(
    gate: MessagesDb, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_OUTCOMES", 3)
    made = [Outcome(number, "sensor", 1.0, "device blocked", Traces(1), Traces()) for number in range(1, 6)]
    for outcome in made:
        gate.save_outcomes([outcome])
        gate.flush()
    assert read_outcomes(path, 0) == made[1:]
    gate.save_outcomes([Outcome(6, name, 1.0) for name in ("one", "two")])
    gate.flush()
    assert [each.device for each in read_outcomes(path, 6)] == ["one", "two"]


def test_whose_retained_messages_stay_is_remembered_and_forgotten(gate: MessagesDb, path: Path) -> None:
    gate.keep_publisher("one", True)
    gate.keep_publisher("two", True)
    gate.flush()
    assert read_kept_publishers(path) == {"one", "two"}
    gate.keep_publisher("one", False)
    gate.flush()
    assert read_kept_publishers(path) == {"two"}
