"""Many rows in one statement."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.store.rows import execute_rows
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
