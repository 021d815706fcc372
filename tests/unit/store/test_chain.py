"""The chain: every way to rewrite a trail shows, and the first record that is wrong is named."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockgate.events import Event
from lockgate.store import chain
from lockgate.store.chain import AUDIT, SECURITY, TRIM_SLACK, Ledger
from lockgate.store.sqlite import open_database, transaction

COUNT = 12


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "registry.db", "registry")
    with transaction(connection):
        rows = [(float(n), "anna", "device.added", f"d{n}", f'{{"n":"{n}"}}') for n in range(1, COUNT + 1)]
        chain.append(connection, AUDIT, rows[:5])
        chain.append(connection, AUDIT, rows[5:])
        chain.append(connection, AUDIT, [])
    yield connection
    connection.close()


@pytest.fixture
def messages(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "messages.db", "messages")
    yield connection
    connection.close()


def events(connection: sqlite3.Connection, count: int, at: float = 1.0) -> None:
    with transaction(connection):
        chain.append(connection, SECURITY, [(at, "session.ended", f"d{n}", "{}") for n in range(count)])


def forge(connection: sqlite3.Connection, *statements: str) -> None:
    """Do what somebody with the file in hands can do: no trigger is in the way."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)


def rewrite(connection: sqlite3.Connection, ledger: Ledger, change: Callable[[list[list[str]]], None]) -> None:
    """Write the whole chain anew, with right hashes."""
    rows = [list(row) for row in connection.execute("SELECT at, actor, event, subject, details FROM audit")]
    change(rows)
    forge(connection, "DELETE FROM audit", "UPDATE audit_chain SET record = 0, hash = ''")
    chain.append(connection, ledger, [tuple(row) for row in rows])


@pytest.mark.requirement("O9")
def test_a_trail_that_nobody_touched_is_sound(registry: sqlite3.Connection) -> None:
    verdict = chain.check(registry, AUDIT)
    assert (verdict.records, verdict.bad_record, verdict.problem) == (COUNT, None, "")
    assert verdict.head == chain.read_head(registry, AUDIT)
    assert verdict.head.hash == [r.hash for r in chain.records(registry, AUDIT)][-1]


def test_an_empty_trail_is_sound(messages: sqlite3.Connection) -> None:
    verdict = chain.check(messages, SECURITY)
    assert (verdict.records, verdict.problem) == (0, "")
    assert verdict.head.hash == chain.first_hash("security_event", verdict.head.origin)


@pytest.mark.requirement("O9")
@pytest.mark.parametrize(
    ("forgery", "bad", "words"),
    [
        ("UPDATE audit SET subject = 'other' WHERE sequence = 4", 4, "not what was written"),
        ("UPDATE audit SET actor = 'bert' WHERE sequence = 4", 4, "not what was written"),
        ("UPDATE audit SET event = 'device.removed' WHERE sequence = 1", 1, "not what was written"),
        ("UPDATE audit SET details = '{}' WHERE sequence = 12", 12, "not what was written"),
        ("UPDATE audit SET at = at + 0.001 WHERE sequence = 7", 7, "not what was written"),
        ("UPDATE audit SET hash = '' WHERE sequence = 7", 7, "not what was written"),
        ("DELETE FROM audit WHERE sequence = 1", 1, "record 1 is missing"),
        ("DELETE FROM audit WHERE sequence BETWEEN 5 AND 8", 5, "records 5 to 8 are missing"),
        ("DELETE FROM audit WHERE sequence > 9", 10, "records 10 to 12 are missing"),
        ("DELETE FROM audit", 1, "records 1 to 12 are missing"),
        ("INSERT INTO audit SELECT 13, at, actor, event, subject, details, hash FROM audit LIMIT 1", 13, "not"),
        ("UPDATE audit_chain SET record = 11", 12, "was not written by lockgate"),
        ("UPDATE audit_chain SET hash = 'x'", 13, "was not written by lockgate"),
        ("UPDATE audit_chain SET origin = 'x'", 1, "not what was written"),
        ("UPDATE audit_chain SET trimmed = 3, base = (SELECT hash FROM audit WHERE sequence = 3)", 4, "missing"),
    ],
)  # fmt: skip
def test_every_way_to_change_the_file_is_found_and_named(
    registry: sqlite3.Connection, forgery: str, bad: int, words: str
) -> None:
    forge(registry, forgery)
    verdict = chain.check(registry, AUDIT)
    assert verdict.bad_record == bad or "trimmed" in forgery
    assert words in verdict.problem


def test_dropping_the_oldest_records_with_a_forged_base_is_found(registry: sqlite3.Connection) -> None:
    forge(
        registry,
        "UPDATE audit_chain SET trimmed = 3, base = (SELECT hash FROM audit WHERE sequence = 3)",
        "DELETE FROM audit WHERE sequence <= 3",
    )
    assert "records up to 3 are missing, and no trim" in chain.check(registry, AUDIT).problem


def test_two_records_in_each_others_place_are_found(registry: sqlite3.Connection) -> None:
    forge(
        registry,
        "UPDATE audit SET sequence = 100 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 4",
        "UPDATE audit SET sequence = 4 WHERE sequence = 100",
    )
    assert chain.check(registry, AUDIT).bad_record == 3


def test_a_record_put_in_between_is_found(registry: sqlite3.Connection) -> None:
    forge(
        registry,
        "UPDATE audit SET sequence = sequence + 101 WHERE sequence >= 6",
        "UPDATE audit SET sequence = sequence - 100 WHERE sequence > 100",
        "INSERT INTO audit SELECT 6, at, actor, event, 'guest', details, hash FROM audit WHERE sequence = 5",
    )
    assert chain.check(registry, AUDIT).bad_record == 6


def test_a_chain_written_anew_is_another_chain(registry: sqlite3.Connection) -> None:
    """The chain itself cannot tell, but whoever knows a hash of before can."""
    before = chain.read_head(registry, AUDIT)
    rewrite(registry, AUDIT, lambda rows: rows[3].__setitem__(3, "nobody"))
    assert chain.check(registry, AUDIT).problem == ""
    assert chain.number_of(registry, AUDIT, before.hash) is None
    assert chain.hash_of(registry, AUDIT, before.record) != before.hash


def test_a_hash_is_of_netstrings_as_the_documentation_says(registry: sqlite3.Connection) -> None:
    first, second = list(chain.records(registry, AUDIT))[:2]
    origin = chain.read_head(registry, AUDIT).origin
    genesis = hashlib.sha256(f"5:audit32:{origin}".encode()).hexdigest()
    assert first.previous == genesis
    written = f'64:{genesis}1:18:1.0000004:anna12:device.added2:d19:{{"n":"1"}}'
    assert first.hash == hashlib.sha256(written.encode()).hexdigest()
    assert (second.previous, chain.hash_of(registry, AUDIT, 2)) == (first.hash, second.hash)
    assert chain.number_of(registry, AUDIT, second.hash) == 2


def test_fields_cannot_lend_each_other_letters() -> None:
    assert chain.netstrings(("ab", "c")) != chain.netstrings(("a", "bc"))
    assert chain.netstrings(("1:a", "")) != chain.netstrings(("", "1:a"))
    assert chain.netstrings(("\u00e4",)) == b"2:\xc3\xa4"


def test_two_homes_have_chains_of_their_own(tmp_path: Path) -> None:
    heads = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        connection = open_database(tmp_path / name / "registry.db", "registry")
        heads.add(chain.read_head(connection, AUDIT).hash)
        connection.close()
    assert len(heads) == 2


def test_a_trim_is_noted_in_the_chain_and_leaves_it_sound(messages: sqlite3.Connection) -> None:
    events(messages, TRIM_SLACK + 10)
    with transaction(messages):
        assert chain.trim(messages, SECURITY, 10, 2.0) == 0  # not yet worth it
    for at in (2.0, 3.0):
        events(messages, TRIM_SLACK + 10, at)
        with transaction(messages):
            assert chain.trim(messages, SECURITY, 10, at) > TRIM_SLACK
        verdict = chain.check(messages, SECURITY)
        assert (verdict.records, verdict.problem) == (11, "")
        kept = list(chain.records(messages, SECURITY))
        assert kept[0].previous == verdict.head.base
        assert (kept[-1].event, kept[-1].details["through"]) == (Event.AUDIT_TRIMMED, str(kept[0].sequence - 1))


def test_only_what_was_trimmed_can_be_deleted(messages: sqlite3.Connection) -> None:
    events(messages, 3)
    for statement in ("DELETE FROM security_event", "UPDATE security_event SET at = 0"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            messages.execute(statement)


def test_more_than_was_trimmed_cannot_be_taken_away(messages: sqlite3.Connection) -> None:
    events(messages, 2 * TRIM_SLACK)
    with transaction(messages):
        chain.trim(messages, SECURITY, 100, 2.0)
    through = chain.read_head(messages, SECURITY).trimmed
    forge(
        messages,
        f"UPDATE security_chain SET trimmed = {through + 1}, "
        f"base = (SELECT hash FROM security_event WHERE sequence = {through + 1})",
        f"DELETE FROM security_event WHERE sequence = {through + 1}",
    )
    assert "no trim of them is noted" in chain.check(messages, SECURITY).problem


def test_records_that_were_there_before_the_chain_are_chained(registry: sqlite3.Connection) -> None:
    forge(registry, "UPDATE audit SET hash = ''", "UPDATE audit_chain SET record = 0, hash = ''")
    with transaction(registry):
        chain.adopt(registry, AUDIT, 99.0)
    verdict = chain.check(registry, AUDIT)
    assert (verdict.records, verdict.problem) == (COUNT + 1, "")
    *_, last = chain.records(registry, AUDIT)
    assert (last.event, last.at, last.actor, last.details) == (
        Event.AUDIT_CHAINED, 99.0, "lockgate", {"records": str(COUNT)},
    )  # fmt: skip


def test_a_record_made_unreadable_has_no_facts(registry: sqlite3.Connection) -> None:
    forge(registry, "UPDATE audit SET details = 'no JSON' WHERE sequence = 1")
    assert next(iter(chain.records(registry, AUDIT))).details == {}


def test_records_can_be_asked_for_by_time(registry: sqlite3.Connection) -> None:
    assert [r.sequence for r in chain.records(registry, AUDIT, since=4.0, until=6.0)] == [4, 5]
