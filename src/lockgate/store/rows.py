"""Rows of both databases: many in one statement, and the query of those that have one form in both."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

MAX_ROWS_PER_STATEMENT = 256
EXACT_ROWS = 16


def execute_rows(connection: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run `head VALUES (...), (...)` over all rows, many rows to a statement.

    A step of a statement gives up Python's interpreter lock and has to win it back from a busy loop thread, which may
    take milliseconds: one step for many rows, then, and not `executemany`, which takes one for each.
    """
    start = 0
    while start < len(rows):
        count = min(MAX_ROWS_PER_STATEMENT, len(rows) - start)
        if count > EXACT_ROWS:  # few lengths: the connection's cache holds each for good, at some 700 bytes a row
            count = 1 << (count.bit_length() - 1)
        part = rows[start : start + count]
        row = f"({','.join('?' * len(part[0]))})"
        connection.execute(f"{head} VALUES {','.join([row] * count)}", list(chain.from_iterable(part)))
        start += count


def refusals_query(
    table: str, reference: str | None, device: str | None, since: float
) -> tuple[str, list[str | float]]:
    """Give the query of a table of refusals, newest first, and its values: gate and office keep them in one form.

    Args:
        table: one of ours; it goes into the query as it is.
        reference: only the one with it.
        device: only of who claimed to be this device.
        since: only those at this unix second or later.
    """
    query = f"SELECT body FROM {table} WHERE at >= ?"  # noqa: S608  (our words)
    values: list[str | float] = [since]
    for condition, value in ((" AND reference = ?", reference), (" AND device = ?", device)):
        if value is not None:
            query += condition
            values.append(value)
    return query + " ORDER BY at DESC, reference DESC", values
