"""messages.db read: sessions after a restart, and refusals and last-seen times for the command line.

The functions that take a path open it read-only for themselves, also while the gate writes, and find nothing where
there is no file yet.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lockgate.errors import StoreDamaged
from lockgate.model.message import Message, MessageProperties
from lockgate.model.refusal import Refusal
from lockgate.model.session import Delivery, SessionRecord, StoredSession, Subscription
from lockgate.model.topic import TopicName
from lockgate.store.batch import (
    DELIVERY_COLUMNS,
    INSIDE_COLUMNS,
    MESSAGE_COLUMNS,
    TAG_BITS,
    delivery_checksum,
    row_checksum,
)
from lockgate.store.packing import unpack
from lockgate.store.rows import refusals_query
from lockgate.store.sqlite import open_database, restore, translated

_T = TypeVar("_T")


class LoadedSession(msgspec.Struct, frozen=True):
    """A stored session with its numbers; `rows` holds (sequence, message id) for each of its deliveries.

    The id is 0 where the message stands in the row of its delivery.
    """

    id: int
    stored: StoredSession
    rows: tuple[tuple[int, int], ...]


class Seen(msgspec.Struct, frozen=True):
    """When a device was last seen doing one thing: "connect", "message" or "error"."""

    kind: str
    at: float
    text: str


def load_sessions(connection: sqlite3.Connection, path: Path) -> list[LoadedSession]:
    """Give every stored session with its deliveries in their order; a message of several is one object.

    Raises:
        StoreDamaged: a row is not what was written, or belongs to nothing. None is passed over.
    """
    with translated(path):
        messages = {
            row[0]: _message(row[1:], f"message {row[0]}", path)
            for row in _rows(connection, path, "message", f"id, {MESSAGE_COLUMNS}")
        }
        subscriptions: defaultdict[int, list[Subscription]] = defaultdict(list)
        for session, text, options in _rows(connection, path, "subscription", "session, filter, options"):
            subscriptions[session].append(_unpack(options, Subscription, path, f"of session {session} to {text!r}"))
        incoming: defaultdict[int, set[int]] = defaultdict(set)
        for (key,) in connection.execute("SELECT key FROM incoming"):
            incoming[key >> TAG_BITS].add(key & ((1 << TAG_BITS) - 1))
        queues = _load_queues(connection, messages, path)
        records = {
            id: _unpack(record, SessionRecord, path, f"of session {id} ({client_id!r})")
            for id, client_id, record in _rows(connection, path, "session", "id, client_id, record", "ORDER BY id")
        }
    for what, found in (("a delivery", queues), ("a subscription", subscriptions), ("a packet id", incoming)):
        if lost := found.keys() - records.keys():
            raise _damaged(path, f"{what} belongs to session {min(lost)}, which is missing")
    if lost := messages.keys() - {number for queue in queues.values() for _, number in queue.rows}:
        raise _damaged(path, f"the delivery of message {min(lost)} is missing")
    return [
        LoadedSession(
            id,
            StoredSession(
                record,
                tuple(subscriptions[id]),
                tuple(queues[id].deliveries),
                frozenset(queues[id].released),
                frozenset(incoming[id]),
            ),
            tuple(queues[id].rows),
        )
        for id, record in records.items()
    ]


def read_retained(path: Path) -> list[Message]:
    """Give the retained messages."""
    with reading(path) as connection:
        if connection is None:
            return []
        rows = _rows(connection, path, "retained", MESSAGE_COLUMNS)
        return [_message(row, f"the retained message of {row[0]!r}", path) for row in rows]


def read_refusals(
    path: Path,
    reference: str | None = None,
    device: str | None = None,
    last: int = 10,
    step: str | None = None,
    since: float = 0.0,
) -> list[Refusal]:
    """Give the latest refusals, newest first: all, those of one reference, or those that claimed to be `device`.

    Args:
        last: how many at most.
        step: only those at this step.
        since: only those at this unix second or later.
    """
    query, values = refusals_query("refusal", reference, device, since)
    with reading(path) as connection:
        if connection is None:
            return []
        found = (_unpack(body, Refusal, path) for (body,) in connection.execute(query, values))
        return list(islice((refusal for refusal in found if step is None or refusal.step == step), last))


def read_seen(path: Path, device: str | None = None) -> dict[str, dict[str, Seen]]:
    """Give when each device, or one, was last seen: by its name, then by kind ("connect", "message", "error")."""
    query = "SELECT device, kind, at, text FROM seen WHERE ?1 IS NULL OR device = ?1"
    found: defaultdict[str, dict[str, Seen]] = defaultdict(dict)
    with reading(path) as connection:
        if connection is not None:
            for name, kind, at, text in connection.execute(query, (device,)):
                found[name][kind] = Seen(kind, at, text)
    return dict(found)


def read_rehashed(path: Path) -> dict[int, str]:
    """Give the better hashes of passwords that the gate left for the registry, by credential."""
    with reading(path) as connection:
        return {} if connection is None else dict(connection.execute("SELECT credential, hash FROM rehash"))


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Give a reading connection to messages.db for a `with` block, None where there is no file yet."""
    if not path.exists():
        yield None
        return
    connection = open_database(path, "messages", read_only=True, check="none")
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
    shares: dict[str, str] = {}
    rows = _rows(connection, path, "delivery", f"{DELIVERY_COLUMNS}, {INSIDE_COLUMNS}", "ORDER BY sequence")
    released = {sequence for (sequence,) in connection.execute("SELECT sequence FROM delivery WHERE is_released")}
    for sequence, session, tag, number, qos, is_retained, text, share, publisher, body in rows:
        message = messages.get(number) if body is None else _message_inside(body, publisher, sequence, path)
        if message is None:
            raise _damaged(path, f"message {number} of delivery {sequence} is missing")
        identifiers = tuple(map(int, text.split(","))) if text else ()
        queue = queues[session]
        share = shares.setdefault(share, share)  # one text for all
        queue.deliveries.append(
            Delivery(message, qos, bool(is_retained), identifiers, tag, is_repeated=True, share=share)
        )
        queue.rows.append((sequence, number))
        if sequence in released:
            queue.released.add(tag)
    return queues


def _rows(
    connection: sqlite3.Connection, path: Path, table: str, columns: str, order: str = ""
) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a table, each as it was written, or say which is not."""
    for row in connection.execute(f"SELECT {columns}, checksum FROM {table} {order}"):  # noqa: S608  (our own words)
        *values, checksum = row
        found = tuple(values)
        if checksum is not None and checksum != (delivery_checksum if table == "delivery" else row_checksum)(found):
            raise _damaged(path, f"a row of the table {table} is not what was written ({str(values[0])[:40]!r})")
        yield found


def _message_inside(body: bytes, publisher: str, sequence: int, path: Path) -> Message:
    try:
        row = msgspec.msgpack.decode(body, type=tuple[str, bytes, int, int, bytes | None, float | None])
    except msgspec.MsgspecError as error:
        raise _damaged(path, f"the message of delivery {sequence} cannot be read: {error}") from error
    return _message((*row, publisher), f"the message of delivery {sequence}", path)


def _message(row: Sequence[Any], what: str, path: Path) -> Message:
    topic, payload, qos, retain, properties, expires_at, publisher = row
    known = None if properties is None else _unpack(properties, MessageProperties, path, f"of {what}")
    return Message(TopicName(topic), payload, qos, bool(retain), known, expires_at, publisher)


def _unpack(body: bytes, kind: type[_T], path: Path, whose: str = "") -> _T:
    try:
        return unpack(body, kind)
    except (msgspec.MsgspecError, TypeError) as error:
        raise _damaged(path, f"a {kind.__name__} {whose} cannot be read: {error}") from error


def _damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(f"{path} is damaged: {what}", fix=restore(path))
