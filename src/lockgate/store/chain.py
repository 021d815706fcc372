"""The chain: each record of a trail holds the hash of all that came before it.

Theory of operation. A trail is a table whose rows are only ever appended, each with

    hash = SHA-256(netstring(hash of the record before) + netstring(its number) + netstring(each of its fields))

A netstring is LENGTH:BYTES, with the length in bytes as a decimal number, so that no two records read the same. The
time is written with six decimals, everything else as it stands in the table. Before the first record stands
SHA-256(netstring(name of the trail) + netstring(origin)), with an origin drawn at random when the file was made: no
piece of one home's trail fits into another's. A table of one row holds the number and the hash of the last record, so
that a tail cut off shows.

The oldest records of a trail with a bound are dropped in one way alone: first a record says up to which number, and
the hash of the last one dropped; then they go. The chain begins behind them, and that record, itself in the chain, is
why it may.

Who can write the files can also compute hashes: a chain proves what it proves to somebody who knows one of its later
hashes. So the two trails of a home note each other's, the hub logs them, and `lockgate audit verify` prints them.

Source: https://cr.yp.to/proto/netstrings.txt
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from lockgate.events import Event
from lockgate.store.rows import execute_rows

TRIM_SLACK = 1000
"""How many records beyond the bound gather before a trim, so that not every append is one."""


class Ledger(msgspec.Struct, frozen=True):
    """One kind of trail: its table, the table of its one head, and the fields that are hashed, in their order."""

    table: str
    head: str
    fields: tuple[str, ...]


AUDIT = Ledger("audit", "audit_chain", ("at", "actor", "event", "subject", "details"))
SECURITY = Ledger("security_event", "security_chain", ("at", "event", "subject", "details"))


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: the number and the hash of its last record; `trimmed` is the last one that was dropped."""

    origin: str
    record: int
    hash: str
    trimmed: int = 0
    base: str = ""


class Record(msgspec.Struct, frozen=True):
    """One record of a trail; `at` is in unix seconds, `text` its details as JSON, as it stands in the table.

    `previous` is the hash of the record before, or what stands before the first.
    """

    trail: str
    sequence: int
    at: float
    actor: str
    event: str
    subject: str
    text: str
    hash: str
    previous: str

    @property
    def details(self) -> dict[str, str]:
        """The details, read; none where somebody has made them unreadable."""
        try:
            return msgspec.json.decode(self.text, type=dict[str, str])
        except msgspec.MsgspecError:
            return {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The record as it is hashed: its number, then each field."""
        actor = (self.actor,) if self.trail == AUDIT.table else ()
        return (str(self.sequence), f"{self.at:.6f}", *actor, self.event, self.subject, self.text)


class Verdict(msgspec.Struct, frozen=True):
    """What looking a chain over gave: how many records are sound, where it ends, and the first thing that is wrong."""

    trail: str
    records: int
    head: Head
    bad_record: int | None = None
    problem: str = ""


def netstrings(texts: Iterable[str]) -> bytes:
    """Give texts one after the other so that nobody can tell two different rows of texts for the same."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(b"%d:%s" % (len(each), each) for each in encoded)


def first_hash(table: str, origin: str) -> str:
    """Give what stands before the first record of a chain."""
    return hashlib.sha256(netstrings((table, origin))).hexdigest()


def next_hash(previous: str, texts: Sequence[str]) -> str:
    """Give the hash of a record: `texts` is its number and its fields."""
    return hashlib.sha256(netstrings((previous, *texts))).hexdigest()


def read_head(connection: sqlite3.Connection, ledger: Ledger) -> Head:
    """Give where a chain ends, as the file says."""
    row = connection.execute(f"SELECT origin, record, hash, trimmed, base FROM {ledger.head}").fetchone()  # noqa: S608
    head = Head(*row)
    return head if head.hash else msgspec.structs.replace(head, hash=first_hash(ledger.table, head.origin))


def append(connection: sqlite3.Connection, ledger: Ledger, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows (the ledger's fields, in their order); for the inside of a write transaction."""
    if not rows:
        return
    head = read_head(connection, ledger)
    last, number, chained = head.hash, head.record, []
    for row in rows:
        number += 1
        last = next_hash(last, (str(number), *_texts(row)))
        chained.append((number, *row, last))
    execute_rows(connection, f"INSERT INTO {ledger.table} (sequence, {', '.join(ledger.fields)}, hash)", chained)
    connection.execute(f"UPDATE {ledger.head} SET record = ?, hash = ?", (number, last))  # noqa: S608


def adopt(connection: sqlite3.Connection, ledger: Ledger, now: float) -> None:
    """Chain the rows that a file held before it had a chain, and note that from here on it has one."""
    head = read_head(connection, ledger)
    last, number = head.hash, 0
    columns = ", ".join(ledger.fields)
    query = f"SELECT sequence, {columns} FROM {ledger.table} ORDER BY sequence"  # noqa: S608
    for number, *row in connection.execute(query).fetchall():
        last = next_hash(last, (str(number), *_texts(row)))
        connection.execute(f"UPDATE {ledger.table} SET hash = ? WHERE sequence = ?", (last, number))  # noqa: S608
    if not number:
        return
    connection.execute(f"UPDATE {ledger.head} SET record = ?, hash = ?", (number, last))  # noqa: S608
    append(connection, ledger, [_own_row(ledger, Event.AUDIT_CHAINED, now, {"records": str(number)})])


def trim(connection: sqlite3.Connection, ledger: Ledger, keep: int, now: float) -> int:
    """Drop the oldest records of a trail that has grown well beyond `keep`; give how many went.

    The note of it is in the chain before they go, and it is the newest record.
    """
    head = read_head(connection, ledger)
    if head.record - head.trimmed <= keep + TRIM_SLACK:
        return 0
    through = head.record - keep
    query = f"SELECT hash FROM {ledger.table} WHERE sequence = ?"  # noqa: S608
    (base,) = connection.execute(query, (through,)).fetchone()
    details = {"through": str(through), "hash": base, "records": str(through - head.trimmed)}
    append(connection, ledger, [_own_row(ledger, Event.AUDIT_TRIMMED, now, details)])
    connection.execute(f"UPDATE {ledger.head} SET trimmed = ?, base = ?", (through, base))  # noqa: S608
    connection.execute(f"DELETE FROM {ledger.table} WHERE sequence <= ?", (through,))  # noqa: S608
    return through - head.trimmed


def records(
    connection: sqlite3.Connection, ledger: Ledger, since: float = 0.0, until: float = float("inf")
) -> Iterator[Record]:
    """Give the records of a trail between two moments (unix seconds), in the chain's order, one by one."""
    head = read_head(connection, ledger)
    before = head.base if head.trimmed else first_hash(ledger.table, head.origin)
    actor = "actor" if "actor" in ledger.fields else "'hub'"
    previous = f"coalesce((SELECT hash FROM {ledger.table} p WHERE p.sequence = t.sequence - 1), ?)"  # noqa: S608
    query = (
        f"SELECT sequence, at, {actor}, event, subject, details, hash, {previous} FROM {ledger.table} t"  # noqa: S608
        " WHERE at >= ? AND at < ? ORDER BY sequence"
    )
    for row in connection.execute(query, (before, since, until)):
        yield Record(ledger.table, *row)


def hash_of(connection: sqlite3.Connection, ledger: Ledger, number: int) -> str | None:
    """Give the hash that stands in a record, None when there is no such record."""
    query = f"SELECT hash FROM {ledger.table} WHERE sequence = ?"  # noqa: S608
    row = connection.execute(query, (number,)).fetchone()
    return None if row is None else str(row[0])


def number_of(connection: sqlite3.Connection, ledger: Ledger, wanted: str) -> int | None:
    """Give the number of the record with a hash, None when there is none."""
    query = f"SELECT sequence FROM {ledger.table} WHERE hash = ?"  # noqa: S608
    row = connection.execute(query, (wanted,)).fetchone()
    return None if row is None else int(row[0])


def check(connection: sqlite3.Connection, ledger: Ledger) -> Verdict:
    """Look a whole chain over: compute every hash anew, and name the first record that is wrong."""
    head = read_head(connection, ledger)
    last = head.base if head.trimmed else first_hash(ledger.table, head.origin)
    number, is_trim_noted = head.trimmed, not head.trimmed

    def wrong(bad_record: int, problem: str) -> Verdict:
        return Verdict(ledger.table, number - head.trimmed, head, bad_record, problem)

    for record in records(connection, ledger):
        if record.sequence != number + 1:
            return wrong(number + 1, _missing(number + 1, record.sequence - 1))
        if next_hash(last, record.texts) != record.hash:
            return wrong(record.sequence, f"record {record.sequence} is not what was written there")
        number, last = record.sequence, record.hash
        if record.event == Event.AUDIT_TRIMMED and not is_trim_noted:
            noted = record.details
            is_trim_noted = (noted.get("through"), noted.get("hash")) == (str(head.trimmed), head.base)
    if number < head.record:
        return wrong(number + 1, _missing(number + 1, head.record))
    if (number, last) != (head.record, head.hash):
        return wrong(head.record + 1, f"record {head.record + 1} was not written by lockgate")
    if not is_trim_noted:
        return wrong(head.trimmed, f"records up to {head.trimmed} are missing, and no trim of them is noted")
    return Verdict(ledger.table, number - head.trimmed, head)


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"


def _texts(row: Sequence[Any]) -> tuple[str, ...]:
    at, *texts = row
    return (f"{at:.6f}", *texts)


def _own_row(ledger: Ledger, event: Event, now: float, details: dict[str, str]) -> tuple[Any, ...]:
    actor = ("lockgate",) if "actor" in ledger.fields else ()
    return (now, *actor, str(event), "audit trail", msgspec.json.encode(details).decode())
