"""messages.db read by the command line, while the gate writes or before it ever ran."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import Step, StoreDamaged
from lockgate.model.refusal import Refusal
from lockgate.store.messages_db import MessagesDb
from lockgate.store.messages_reader import (
    read_refusals,
    read_retained,
    read_security_events,
    read_seen,
)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MessagesDb]:
    gate = MessagesDb(tmp_path / "messages.db")
    yield gate
    gate.close()


def refusal(reference: str, at: float, device: str = "d", count: int = 1) -> Refusal:
    evidence = {"fingerprint": "ab" * 32}
    return Refusal(
        reference, at, Step.POLICY, "no", "may not", "ask", "mqtt", "::1", device, "d/1", True, evidence, count
    )


def test_there_is_nothing_where_there_is_no_file_yet(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    assert (read_refusals(path), read_seen(path), read_security_events(path), read_retained(path)) == ([], {}, [], [])
    assert not path.exists()


def test_refusals_are_read_newest_first_while_the_gate_runs(gate: MessagesDb, tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    gate.save_refusals([refusal("AAAA-0001", 1.0), refusal("AAAA-0002", 2.0, "e"), refusal("AAAA-0003", 3.0)])
    gate.flush()
    assert [one.reference for one in read_refusals(path, last=2)] == ["AAAA-0003", "AAAA-0002"]
    assert read_refusals(path, reference="AAAA-0002") == [refusal("AAAA-0002", 2.0, "e")]
    assert [one.reference for one in read_refusals(path, device="d")] == ["AAAA-0003", "AAAA-0001"]
    assert read_refusals(path, reference="nobody") == []


def test_a_refusal_that_came_again_replaces_itself(gate: MessagesDb, tmp_path: Path) -> None:
    gate.save_refusals([refusal("AAAA-0001", 1.0)])
    gate.flush()
    gate.save_refusals(iter([refusal("AAAA-0001", 9.0, count=5)]))
    gate.flush()
    assert read_refusals(tmp_path / "messages.db") == [refusal("AAAA-0001", 9.0, count=5)]


def test_last_seen_holds_the_latest_of_each_kind(gate: MessagesDb, tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    gate.save_seen([("d", "connect", 1.0, "mqtt from ::1"), ("d", "error", 2.0, "no"), ("e", "message", 3.0, "t")])
    gate.flush()
    gate.save_seen([("d", "connect", 5.0, "mqtt from ::2")])
    gate.flush()
    (seen,) = read_seen(path, "d").values()
    assert {kind: (one.at, one.text) for kind, one in seen.items()} == {
        "connect": (5.0, "mqtt from ::2"),
        "error": (2.0, "no"),
    }
    assert sorted(read_seen(path)) == ["d", "e"]
    assert read_seen(path, "f") == {}


def test_security_events_are_kept_in_order_and_cannot_be_changed(gate: MessagesDb, tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    gate.save_audit([(1.0, "client.refused", "d", {"reason": "no"}), (2.0, "client.refused", "e", {})])
    gate.flush()
    first, second = read_security_events(path)
    assert (first.at, first.event, first.subject, first.details) == (1.0, "client.refused", "d", {"reason": "no"})
    assert read_security_events(path, since=2.0) == [second]
    other = sqlite3.connect(path)
    for attempt in ("DELETE FROM security_event", "UPDATE security_event SET at = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(attempt)
    other.close()


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(StoreDamaged):
        read_refusals(path)


def test_a_record_that_cannot_be_read_is_damage(gate: MessagesDb, tmp_path: Path) -> None:
    gate.save_refusals([refusal("AAAA-0001", 1.0)])
    gate.flush()
    other = sqlite3.connect(tmp_path / "messages.db")
    other.execute("UPDATE refusal SET body = x'c1'")
    other.commit()
    other.close()
    with pytest.raises(StoreDamaged, match="Refusal"):
        read_refusals(tmp_path / "messages.db")
