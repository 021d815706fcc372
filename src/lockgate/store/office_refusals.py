"""The office's refusals in registry.db: `lockgate why` shows them among the gate's, which are in messages.db."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import msgspec

from lockgate.model.refusal import Refusal
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rows import refusals_query
from lockgate.store.sqlite import translated

_NEWEST = "SELECT reference FROM office_refusal ORDER BY at DESC LIMIT ?"


def save_refusals(database: RegistryDb, refusals: Iterable[Refusal], max_refusals: int) -> None:
    """Keep refusals; one with a known reference replaces it, and the oldest beyond `max_refusals` go."""
    with database.write() as write:
        for refusal in refusals:
            write.execute(
                "INSERT OR REPLACE INTO office_refusal VALUES (?, ?, ?, ?)",
                (refusal.reference, refusal.at, refusal.device, msgspec.msgpack.encode(refusal)),
            )
        write.execute(f"DELETE FROM office_refusal WHERE reference NOT IN ({_NEWEST})", (max_refusals,))  # noqa: S608


def read_refusals(
    path: Path,
    reference: str | None = None,
    device: str | None = None,
    last: int = 10,
    step: str | None = None,
    since: float = 0.0,
) -> list[Refusal]:
    """Give the latest refusals, newest first; the arguments are those of `messages_reader.read_refusals`."""
    query, values = refusals_query("office_refusal", reference, device, since)
    with RegistryDb(path, read_only=True) as database, translated(path):
        rows = database.query(query, values)
    found = (msgspec.msgpack.decode(body, type=Refusal) for (body,) in rows)
    return list(islice((refusal for refusal in found if step is None or refusal.step == step), last))
