"""What one commit of messages.db will do: for each row the last word that was said about it.

Writes of the same row overwrite each other here, so that what is made and dropped again before the commit never
reaches the disk. A value of None means: drop the row.

Rows that acknowledgements stand on carry a checksum: SQLite notices a broken page, but not a flipped bit in a value.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from lockgate.model.message import Message
from lockgate.model.outcome import Outcome
from lockgate.model.refusal import Refusal
from lockgate.model.session import SessionRecord, Subscription
from lockgate.store import chain
from lockgate.store.packing import pack
from lockgate.store.rows import execute_rows

MAX_REFUSALS = 10_000
MAX_OUTCOMES = 20_000
MESSAGE_COLUMNS = "topic, payload, qos, retain, properties, expires_at, publisher"
DELIVERY_COLUMNS = "sequence, session, tag, message, qos, is_retained, identifiers, share"
INSIDE_COLUMNS = "publisher, body"
"""Of a delivery that holds its message."""
TAG_BITS = 16

DeliveryRow = tuple[int, int, int, int, int, str, str, Message | None]
"""Session, tag, number of the message, QoS, is_retained, identifiers, share; and the message itself where it is 0."""

_pack = pack
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def row_checksum(row: tuple[Any, ...]) -> int:
    """Give the CRC-32 of a row's values, as they come back from SQLite."""
    return zlib.crc32(_pack(row))


def delivery_checksum(row: tuple[Any, ...]) -> int:
    """Give the checksum of a row of deliveries: where no message is in it, of the columns that all have."""
    return row_checksum(row[:-2] if row[-1] is None else row)


class Batch:
    """The rows of one commit, by table."""

    def __init__(self) -> None:
        self.sessions: dict[int, SessionRecord | None] = {}
        self.subscriptions: dict[tuple[int, str], Subscription | None] = {}
        self.messages: dict[int, Message | None] = {}
        self.deliveries: dict[int, DeliveryRow | None] = {}
        self.released: set[int] = set()
        self.incoming: dict[int, bool | None] = {}
        self.retained: dict[str, Message | None] = {}
        self.kept_publishers: dict[str, bool | None] = {}
        self.outcomes: dict[tuple[int, str], Outcome] = {}
        self.refusals: dict[str, Refusal] = {}
        self.seen: dict[tuple[str, str], tuple[float, str] | None] = {}
        self.unseen: set[str] = set()  # devices of which all rows go, before those that came after
        self.rehashed: dict[int, str | None] = {}
        self.security_events: list[tuple[float, str, str, dict[str, str]]] = []

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all rows. Drops go first, so that a client id can be forgotten and made anew in one commit."""
        if self.sessions or self.subscriptions or self.incoming:
            self._write_sessions(connection)
        if self.messages:
            self._write_messages(connection)
        if self.deliveries or self.released:
            self._write_deliveries(connection)
        if self.retained:
            self._write_retained(connection)
        self._write_outcomes(connection)
        self._write_reports(connection)

    def _write_sessions(self, connection: sqlite3.Connection) -> None:
        _drop(connection, "session", "id", _dropped(self.sessions))
        _drop(connection, "incoming", "key", _dropped(self.incoming))
        if gone := _dropped(self.subscriptions):
            # One by one: SQLite would search the whole table for a list of pairs.
            connection.executemany("DELETE FROM subscription WHERE session = ? AND filter = ?", gone)
        sessions = _kept(self.sessions, lambda id, record: _summed((id, record.principal.client_id, _pack(record))))
        execute_rows(connection, "INSERT OR REPLACE INTO session (id, client_id, record, checksum)", sessions)
        subscriptions = _kept(self.subscriptions, lambda key, value: _summed((*key, _pack(value))))
        columns = "session, filter, options, checksum"
        execute_rows(connection, f"INSERT OR REPLACE INTO subscription ({columns})", subscriptions)
        incoming = _kept(self.incoming, lambda key, _: (key,))
        execute_rows(connection, "INSERT OR IGNORE INTO incoming (key)", incoming)

    def _write_messages(self, connection: sqlite3.Connection) -> None:
        _drop_numbers(connection, "message", "id", _dropped(self.messages))
        rows = _kept(self.messages, lambda id, message: _summed((id, *_message_row(message))))
        execute_rows(connection, f"INSERT INTO message (id, {MESSAGE_COLUMNS}, checksum)", rows)

    def _write_deliveries(self, connection: sqlite3.Connection) -> None:
        _drop_numbers(connection, "delivery", "sequence", _dropped(self.deliveries))
        alone, named = [], []
        for sequence, row in self.deliveries.items():
            if row is not None:
                message = row[-1]
                if message is not None:
                    alone.append(_row_with_message(sequence, row, message))
                else:
                    named.append(_summed((sequence, *row[:-1])))
        execute_rows(connection, f"INSERT INTO delivery ({DELIVERY_COLUMNS}, {INSIDE_COLUMNS}, checksum)", alone)
        execute_rows(connection, f"INSERT INTO delivery ({DELIVERY_COLUMNS}, checksum)", named)
        if self.released:
            numbers = _json(list(self.released))
            connection.execute(
                "UPDATE delivery SET is_released = 1 WHERE sequence IN (SELECT value FROM json_each(?))", (numbers,)
            )

    def _write_retained(self, connection: sqlite3.Connection) -> None:
        _drop(connection, "retained", "topic", _dropped(self.retained))
        rows = _kept(self.retained, lambda _, message: _summed(_message_row(message)))
        execute_rows(connection, f"INSERT OR REPLACE INTO retained ({MESSAGE_COLUMNS}, checksum)", rows)

    def _write_outcomes(self, connection: sqlite3.Connection) -> None:
        _drop(connection, "kept_publisher", "device", _dropped(self.kept_publishers))
        kept = _kept(self.kept_publishers, lambda device, _: (device,))
        execute_rows(connection, "INSERT OR IGNORE INTO kept_publisher (device)", kept)
        if self.outcomes:
            outcomes = [(*key, _pack(outcome)) for key, outcome in self.outcomes.items()]
            execute_rows(connection, "INSERT OR REPLACE INTO outcome (sequence, device, body)", outcomes)
            connection.execute(
                "DELETE FROM outcome WHERE sequence <"
                " (SELECT sequence FROM outcome ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (MAX_OUTCOMES,),
            )

    def _write_reports(self, connection: sqlite3.Connection) -> None:
        if self.refusals:
            refusals = [(key, refusal.at, refusal.device, _pack(refusal)) for key, refusal in self.refusals.items()]
            execute_rows(connection, "INSERT OR REPLACE INTO refusal (reference, at, device, body)", refusals)
            connection.execute(
                "DELETE FROM refusal WHERE reference IN"
                " (SELECT reference FROM refusal ORDER BY at DESC, reference DESC LIMIT -1 OFFSET ?)",
                (MAX_REFUSALS,),
            )
        _drop(connection, "rehash", "credential", _dropped(self.rehashed))
        rehashed = _kept(self.rehashed, lambda number, text: (number, text))
        execute_rows(connection, "INSERT OR REPLACE INTO rehash (credential, hash)", rehashed)
        _drop(connection, "seen", "device", sorted(self.unseen))
        if gone := _dropped(self.seen):
            connection.executemany("DELETE FROM seen WHERE device = ? AND kind = ?", gone)
        seen = _kept(self.seen, lambda key, value: (*key, *value))
        execute_rows(connection, "INSERT OR REPLACE INTO seen (device, kind, at, text)", seen)
        events = [(at, event, subject, _json(details)) for at, event, subject, details in self.security_events]
        chain.append(connection, chain.SECURITY, events)


def _summed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row, row_checksum(row))


def _dropped(rows: Mapping[_Key, object]) -> list[_Key]:
    return [key for key, value in rows.items() if value is None]


def _kept(
    rows: Mapping[_Key, _Value | None], to_row: Callable[[_Key, _Value], tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    return [to_row(key, value) for key, value in rows.items() if value is not None]


def _drop(connection: sqlite3.Connection, table: str, column: str, keys: list[int] | list[str]) -> None:
    if keys:
        connection.execute(
            f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",  # noqa: S608  (our own words)
            (_json(keys),),
        )


def _drop_numbers(connection: sqlite3.Connection, table: str, column: str, numbers: list[int]) -> None:
    """Drop rows by their numbers: mostly they are one run without a gap, which SQLite drops without searching."""
    if numbers and max(numbers) - min(numbers) == len(numbers) - 1:
        connection.execute(
            f"DELETE FROM {table} WHERE {column} BETWEEN ? AND ?",  # noqa: S608  (our own words)
            (min(numbers), max(numbers)),
        )
    else:
        _drop(connection, table, column, numbers)


def _row_with_message(sequence: int, row: DeliveryRow, message: Message) -> tuple[Any, ...]:
    *body, publisher = _message_row(message)
    return _summed((sequence, *row[:-1], publisher, _pack(body)))


def _message_row(message: Message) -> tuple[Any, ...]:
    properties = None if message.properties is None else _pack(message.properties)
    return (
        message.topic,
        message.payload,
        int(message.qos),
        int(message.retain),
        properties,
        None if message.expires_at is None else float(message.expires_at),
        message.publisher,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
