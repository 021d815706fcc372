"""One commit's rows: the last word wins, and what was made and dropped never reaches the disk."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.errors import Step
from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.model.session import SessionRecord, Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.store.batch import MAX_REFUSALS, Batch
from lockgate.store.sqlite import open_database, transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "messages.db", "messages")
    yield connection
    connection.close()


def write(connection: sqlite3.Connection, batch: Batch) -> None:
    with transaction(connection):
        batch.write(connection)


def count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def record(client_id: str) -> SessionRecord:
    return SessionRecord(Principal("d", client_id, "x509"), math.inf)


def refusal(number: int, at: float) -> Refusal:
    return Refusal(f"R{number:05}", at, Step.TLS, "why", "why")


def test_an_empty_batch_writes_nothing(connection: sqlite3.Connection) -> None:
    before = connection.total_changes
    write(connection, Batch())
    assert connection.total_changes == before


def test_a_client_id_can_be_forgotten_and_made_anew_in_one_commit(connection: sqlite3.Connection) -> None:
    first, second = Batch(), Batch()
    first.sessions[1] = record("a")
    first.subscriptions[1, "x"] = Subscription(TopicFilter("x"))
    write(connection, first)
    second.sessions.update({1: None, 2: record("a")})
    second.subscriptions.update({(1, "x"): None, (2, "y"): Subscription(TopicFilter("y"))})
    write(connection, second)
    assert connection.execute("SELECT id, client_id FROM session").fetchall() == [(2, "a")]
    assert connection.execute("SELECT session, filter FROM subscription").fetchall() == [(2, "y")]


def test_a_delivery_is_released_and_dropped(connection: sqlite3.Connection) -> None:
    batch = Batch()
    batch.messages[1] = Message(TopicName("t"), b"x", 2)
    batch.deliveries.update({1: (1, 1, 1, 2, 0, "", "", None), 2: (1, 2, 1, 2, 0, "", "", None)})
    batch.released.add(2)
    write(connection, batch)
    assert connection.execute("SELECT sequence, is_released FROM delivery").fetchall() == [(1, 0), (2, 1)]
    batch = Batch()
    batch.deliveries.update({1: None, 2: None})
    batch.messages[1] = None
    write(connection, batch)
    assert (count(connection, "delivery"), count(connection, "message")) == (0, 0)


@pytest.mark.parametrize("gone", [[3, 4, 5], [5, 3, 4], [3, 5], [7], [2, 3, 9]])
def test_what_is_dropped_goes_and_its_neighbours_stay(connection: sqlite3.Connection, gone: list[int]) -> None:
    batch = Batch()
    for number in range(1, 10):
        batch.messages[number] = Message(TopicName("t"), b"x", 1)
        batch.deliveries[number] = (1, number, number, 1, 0, "", "", None)
    write(connection, batch)
    batch = Batch()
    batch.messages.update(dict.fromkeys(gone))
    batch.deliveries.update(dict.fromkeys(gone))
    write(connection, batch)
    left = [(number,) for number in range(1, 10) if number not in gone]
    assert connection.execute("SELECT id FROM message ORDER BY id").fetchall() == left
    assert connection.execute("SELECT sequence FROM delivery ORDER BY sequence").fetchall() == left


def test_only_the_newest_refusals_are_kept(connection: sqlite3.Connection) -> None:
    batch = Batch()
    batch.refusals = {f"R{n:05}": refusal(n, at=float(n)) for n in range(MAX_REFUSALS + 10)}
    write(connection, batch)
    assert count(connection, "refusal") == MAX_REFUSALS
    assert connection.execute("SELECT min(reference) FROM refusal").fetchone() == ("R00010",)


def test_a_refusal_that_keeps_coming_pushes_nobody_out(connection: sqlite3.Connection) -> None:
    batch = Batch()
    batch.refusals = {f"R{n:05}": refusal(n, at=float(n)) for n in range(MAX_REFUSALS)}
    write(connection, batch)
    for at in (20_000.0, 20_001.0, 20_002.0):
        batch = Batch()
        batch.refusals = {"R09999": refusal(9_999, at=at)}
        write(connection, batch)
    assert count(connection, "refusal") == MAX_REFUSALS
    assert connection.execute("SELECT at FROM refusal WHERE reference = 'R09999'").fetchone() == (20_002.0,)
