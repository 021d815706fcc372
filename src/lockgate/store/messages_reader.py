"""messages.db read: sessions after a restart, and refusals and last-seen times for the command line.

The functions that take a path open it read-only for themselves, also while the gate writes, and find nothing where
there is no file yet.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lockgate.errors import StoreDamaged
from lockgate.model.message import Message, MessageProperties
from lockgate.model.refusal import Refusal
from lockgate.model.session import Delivery, SessionRecord, StoredSession, Subscription
from lockgate.model.topic import TopicName
from lockgate.store.batch import MESSAGE_COLUMNS, TAG_BITS
from lockgate.store.sqlite import open_database, translated

_T = TypeVar("_T")


class LoadedSession(msgspec.Struct, frozen=True):
    """A stored session with its numbers; `rows` holds (sequence, message id) for each of its deliveries."""

    id: int
    stored: StoredSession
    rows: tuple[tuple[int, int], ...]


class Seen(msgspec.Struct, frozen=True):
    """When a device was last seen doing one thing: "connect", "message" or "error"."""

    kind: str
    at: float
    text: str


class SecurityEvent(msgspec.Struct, frozen=True):
    """One security event that the gate kept."""

    sequence: int
    at: float
    event: str
    subject: str
    details: dict[str, str]


def load_sessions(connection: sqlite3.Connection, path: Path) -> list[LoadedSession]:
    """Give every stored session with its deliveries in their order; a message of several is one object."""
    with translated(path):
        messages = {
            row[0]: _message(row[1:])
            for row in connection.execute(f"SELECT id, {MESSAGE_COLUMNS} FROM message")  # noqa: S608  (our own words)
        }
        subscriptions: defaultdict[int, list[Subscription]] = defaultdict(list)
        for session, options in connection.execute("SELECT session, options FROM subscription"):
            subscriptions[session].append(_unpack(options, Subscription))
        incoming: defaultdict[int, set[int]] = defaultdict(set)
        for (key,) in connection.execute("SELECT key FROM incoming"):
            incoming[key >> TAG_BITS].add(key & ((1 << TAG_BITS) - 1))
        queues = _load_queues(connection, messages, path)
        return [
            LoadedSession(
                id,
                StoredSession(
                    _unpack(record, SessionRecord),
                    tuple(subscriptions[id]),
                    tuple(queues[id].deliveries),
                    frozenset(queues[id].released),
                    frozenset(incoming[id]),
                ),
                tuple(queues[id].rows),
            )
            for id, record in connection.execute("SELECT id, record FROM session ORDER BY id")
        ]


def read_retained(path: Path) -> list[Message]:
    """Give the retained messages."""
    with _reading(path) as connection:
        if connection is None:
            return []
        rows = connection.execute(f"SELECT {MESSAGE_COLUMNS} FROM retained")  # noqa: S608  (our own words)
        return [_message(row) for row in rows]


def read_refusals(path: Path, reference: str | None = None, device: str | None = None, last: int = 10) -> list[Refusal]:
    """Give the latest refusals, newest first: all, those of one reference, or those that claimed to be `device`."""
    query, values = "SELECT body FROM refusal WHERE 1", []
    for condition, value in ((" AND reference = ?", reference), (" AND device = ?", device)):
        if value is not None:
            query += condition
            values.append(value)
    query += " ORDER BY at DESC, reference DESC LIMIT ?"
    with _reading(path) as connection:
        if connection is None:
            return []
        return [_unpack(body, Refusal) for (body,) in connection.execute(query, (*values, last))]


def read_seen(path: Path, device: str | None = None) -> dict[str, dict[str, Seen]]:
    """Give when each device, or one, was last seen: by its name, then by kind ("connect", "message", "error")."""
    query = "SELECT device, kind, at, text FROM seen WHERE ?1 IS NULL OR device = ?1"
    found: defaultdict[str, dict[str, Seen]] = defaultdict(dict)
    with _reading(path) as connection:
        if connection is not None:
            for name, kind, at, text in connection.execute(query, (device,)):
                found[name][kind] = Seen(kind, at, text)
    return dict(found)


def read_security_events(path: Path, since: float = 0.0) -> list[SecurityEvent]:
    """Give the security events from the unix second `since` on, oldest first."""
    query = "SELECT sequence, at, event, subject, details FROM security_event WHERE at >= ? ORDER BY sequence"
    with _reading(path) as connection:
        if connection is None:
            return []
        rows = connection.execute(query, (since,)).fetchall()
    return [
        SecurityEvent(sequence, at, event, subject, msgspec.json.decode(details))
        for sequence, at, event, subject, details in rows
    ]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    if not path.exists():
        yield None
        return
    connection = open_database(path, "messages", read_only=True, is_checked=False)
    try:
        with translated(path):
            yield connection
    finally:
        connection.close()


class _Queue:
    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.rows: list[tuple[int, int]] = []
        self.released: set[int] = set()


def _load_queues(connection: sqlite3.Connection, messages: dict[int, Message], path: Path) -> defaultdict[int, _Queue]:
    queues: defaultdict[int, _Queue] = defaultdict(_Queue)
    query = "SELECT sequence, session, tag, message, qos, is_retained, identifiers, is_released, share FROM delivery"
    shares: dict[str, str] = {}
    for sequence, session, tag, number, qos, is_retained, text, is_released, share in connection.execute(
        f"{query} ORDER BY sequence"
    ):
        message = messages.get(number)
        if message is None:
            raise StoreDamaged(f"{path} is damaged: message {number} of delivery {sequence} is missing")
        identifiers = tuple(map(int, text.split(","))) if text else ()
        queue = queues[session]
        share = shares.setdefault(share, share)  # one text for all
        queue.deliveries.append(
            Delivery(message, qos, bool(is_retained), identifiers, tag, is_repeated=True, share=share)
        )
        queue.rows.append((sequence, number))
        if is_released:
            queue.released.add(tag)
    return queues


def _message(row: Sequence[Any]) -> Message:
    topic, payload, qos, retain, properties, expires_at, publisher = row
    known = None if properties is None else _unpack(properties, MessageProperties)
    return Message(TopicName(topic), payload, qos, bool(retain), known, expires_at, publisher)


def _unpack(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreDamaged(f"a {kind.__name__} in messages.db cannot be read: {error}") from error
