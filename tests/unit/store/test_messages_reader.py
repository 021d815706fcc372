"""messages.db read by the command line, while the gate writes or before it ever ran."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import Step, StoreDamaged
from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.model.session import SessionRecord, Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.store import chain
from lockgate.store.messages_db import MessagesDb
from lockgate.store.messages_reader import (
    read_refusals,
    read_rehashed,
    read_retained,
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
    assert (read_refusals(path), read_seen(path), read_retained(path)) == ([], {}, [])
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
    other = sqlite3.connect(path)
    first, second = chain.records(other, chain.SECURITY)
    assert (first.at, first.event, first.subject, first.details) == (1.0, "client.refused", "d", {"reason": "no"})
    assert list(chain.records(other, chain.SECURITY, since=2.0)) == [second]
    assert second.previous == first.hash
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


DAMAGES = {
    "UPDATE message SET payload = x'00'": "table message",
    "UPDATE retained SET payload = x'00'": "table retained",
    "UPDATE delivery SET tag = tag + 1": "table delivery",
    "UPDATE delivery SET body = x'00' WHERE sequence = 3": "table delivery",
    "UPDATE delivery SET body = NULL WHERE sequence = 3": "table delivery",
    "UPDATE delivery SET body = NULL, checksum = NULL": "message 0 of delivery 3 is missing",
    "UPDATE delivery SET body = x'c1', checksum = NULL WHERE sequence = 3": "the message of delivery 3 cannot be read",
    "UPDATE session SET record = x'00'": "table session",
    "UPDATE session SET record = x'00', checksum = NULL": r"a SessionRecord of session 1 \('d/1'\) cannot be read",
    "UPDATE subscription SET options = x'c1', checksum = NULL": "a Subscription of session 1 to 'a/#' cannot be read",
    "UPDATE message SET properties = x'c1', checksum = NULL": "MessageProperties of message 1 cannot be read",
    "DELETE FROM message": "message 1 of delivery 1 is missing",
    "DELETE FROM delivery WHERE message = 1": "the delivery of message 1 is missing",
    "DELETE FROM delivery; DELETE FROM message; DELETE FROM session": "a subscription belongs to session 1, which",
    "DELETE FROM subscription; DELETE FROM session": "a delivery belongs to session 1, which is missing",
    "INSERT INTO incoming VALUES (9 * 65536)": "a packet id belongs to session 9, which is missing",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_row_that_is_not_what_was_written_is_named_and_never_passed_over(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "messages.db"
    gate = MessagesDb(path)
    gate.save_session(SessionRecord(Principal("d", "d/1", "x509"), math.inf))
    gate.save_session(SessionRecord(Principal("d", "d/2", "x509"), math.inf))
    gate.save_subscription("d/1", Subscription(TopicFilter("a/#"), 1))
    message = Message(TopicName("a/b"), b"21.5", 1, True, MessageProperties(True), 1e9, "d")
    for client_id in ("d/1", "d/2"):
        gate.enqueue(client_id, 1, message, 1, False, (7,))
    gate.enqueue("d/1", 2, Message(TopicName("a/b"), b"21.6", 1), 1, False, ())
    gate.keep_retained(message)
    gate.close()
    connection = sqlite3.connect(path)
    connection.executescript(damage)
    connection.close()
    with pytest.raises(StoreDamaged, match=DAMAGES[damage]) as caught:
        MessagesDb(path).retained()
    assert str(path) in str(caught.value)
    assert "backup" in caught.value.fix


def test_rows_of_an_older_release_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    gate = MessagesDb(path)
    gate.save_session(SessionRecord(Principal("d", "d/1", "x509"), math.inf))
    gate.close()
    connection = sqlite3.connect(path)
    connection.executescript("UPDATE session SET checksum = NULL")
    connection.close()
    gate = MessagesDb(path)
    assert [each.record.principal.client_id for each in gate.load()] == ["d/1"]
    gate.close()


def test_better_hashes_are_left_for_the_registry(gate: MessagesDb, tmp_path: Path) -> None:
    assert read_rehashed(tmp_path / "none.db") == {}
    gate.save_rehashed({7: "$argon2id$a"})
    gate.save_rehashed({7: "$argon2id$b", 8: "$argon2id$c"})
    gate.flush()
    assert read_rehashed(tmp_path / "messages.db") == {7: "$argon2id$b", 8: "$argon2id$c"}
