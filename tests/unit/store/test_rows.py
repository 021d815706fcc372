"""Many rows in one statement."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.store.rows import execute_rows, refusals_query
from lockgate.store.sqlite import open_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.db"


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 31, 32, 63, 64, 65, 255, 256, 257, 1000])
def test_rows_are_written_whatever_their_number(path: Path, count: int) -> None:
    connection = open_database(path, "messages")
    execute_rows(connection, "INSERT INTO incoming", [(n,) for n in range(count)])
    assert connection.execute("SELECT key FROM incoming").fetchall() == [(n,) for n in range(count)]
    connection.close()


def test_refusals_are_asked_for_by_all_that_is_given_and_nothing_else(path: Path) -> None:
    connection = open_database(path, "messages")
    rows = [("A", 1.0, "lamp"), ("B", 2.0, "lamp"), ("C", 3.0, "door")]
    for reference, at, device in rows:
        connection.execute(
            "INSERT INTO refusal (reference, at, device, body) VALUES (?, ?, ?, ?)", (reference, at, device, reference)
        )

    def found(reference: str | None = None, device: str | None = None, since: float = 0.0) -> str:
        return "".join(row[0] for row in connection.execute(*refusals_query("refusal", reference, device, since)))

    assert found() == "CBA"
    assert found(device="lamp") == "BA"
    assert found(since=2.0) == "CB"
    assert found("A", "lamp") == "A"
    assert found("A", "door") == ""
    connection.close()
