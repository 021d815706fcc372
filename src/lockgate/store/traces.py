"""What messages.db holds of one device: read beside the gate, for reports that shall not take its word for it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lockgate.model.outcome import Outcome, Traces
from lockgate.model.session import SessionRecord
from lockgate.store.messages_reader import reading
from lockgate.store.packing import unpack

_decode_outcome = msgspec.msgpack.Decoder(Outcome).decode


class Stored(msgspec.Struct, frozen=True):
    """What is on the disk of one device; `passed_on` are messages that it published and that wait for others."""

    traces: Traces = Traces()
    passed_on: int = 0


def stored_traces(path: Path, device: str) -> Stored:
    """Count what messages.db holds of a device: by the names of its sessions, which are its own or begin with it.

    Args:
        path: messages.db; nothing is found where there is none.
        device: its name.
    """
    with reading(path) as connection:
        if connection is None:
            return Stored()
        first, last = f"{device}/", f"{device}0"  # "0" follows "/": every client id between them begins with "device/"
        sessions = connection.execute(
            "SELECT id, record FROM session WHERE client_id = ?1 OR (client_id >= ?2 AND client_id < ?3)",
            (device, first, last),
        ).fetchall()
        numbers = msgspec.json.encode([number for number, _ in sessions]).decode()

        def count(table: str, column: str, value: str) -> int:
            inside = "IN (SELECT value FROM json_each(?))" if column == "session" else "= ?"
            query = f"SELECT count(*) FROM {table} WHERE {column} {inside}"  # noqa: S608  (our own words)
            return int(connection.execute(query, (value,)).fetchone()[0])

        traces = Traces(
            sessions=len(sessions),
            subscriptions=count("subscription", "session", numbers),
            queued=count("delivery", "session", numbers),
            wills=sum(unpack(record, SessionRecord).will is not None for _, record in sessions),
            retained=count("retained", "publisher", device),
        )
        # A message stands in the delivery of its only receiver, or in a row of its own.
        return Stored(traces, count("message", "publisher", device) + count("delivery", "publisher", device))


def read_outcomes(path: Path, since: int) -> list[Outcome]:
    """Give what became of the changes from the number `since` on, in their order."""
    with reading(path) as connection:
        if connection is None:
            return []
        rows = connection.execute("SELECT body FROM outcome WHERE sequence >= ? ORDER BY sequence, device", (since,))
        return [_decode_outcome(body) for (body,) in rows]


def read_kept_publishers(path: Path) -> set[str]:
    """Give the devices whose retained messages stay although they are gone."""
    with reading(path) as connection:
        return set() if connection is None else {name for (name,) in connection.execute("SELECT * FROM kept_publisher")}
