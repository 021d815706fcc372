"""Numbers that are never given twice: not after a kill, not after a restored backup, and few writes for many."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.home import write_private
from lockgate.store.numbers import EPOCH_UNIX_SECONDS, MAX_NUMBER, NUMBERS_PER_SECOND, STEP, Numbers


class Disk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes = 0
        self.now = float(EPOCH_UNIX_SECONDS)

    def numbers(self) -> Numbers:
        return Numbers(self.path, self._write, lambda: self.now)

    def _write(self, path: Path, content: bytes) -> None:
        self.writes += 1
        write_private(path, content)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "run" / "oscore")


@pytest.mark.requirement("I5")
def test_who_is_killed_begins_behind_all_that_was_given(disk: Disk) -> None:
    first = disk.numbers()
    given = [first.take() for _ in range(10)]
    assert given == list(range(10))
    assert disk.numbers().take() == STEP


def test_one_write_is_for_many(disk: Disk) -> None:
    numbers = disk.numbers()
    assert disk.writes == 0, "a hub that sends nothing writes nothing"
    assert [numbers.take() for _ in range(STEP + 1)][-1] == STEP
    assert disk.writes == 2


def test_what_was_reserved_is_on_the_disk_before_the_first_is_given(disk: Disk) -> None:
    number = disk.numbers().take()
    assert int(disk.path.read_text()) > number


@pytest.mark.parametrize("old", ["5\n", None])
def test_a_restored_home_goes_on_from_the_clock(disk: Disk, old: str | None) -> None:
    disk.now += 1000.0
    if old is not None:
        disk.path.parent.mkdir()
        disk.path.write_text(old)
    assert disk.numbers().take() == 1000 * NUMBERS_PER_SECOND


def test_a_clock_that_is_behind_takes_nothing_back(disk: Disk) -> None:
    disk.now += 1000.0
    last = disk.numbers().take()
    disk.now -= 1_000_000_000.0
    assert disk.numbers().take() > last


@pytest.mark.parametrize("content", ["", "soon", "1 2"])
def test_a_damaged_file_is_no_zero(disk: Disk, content: str) -> None:
    disk.path.parent.mkdir()
    disk.path.write_text(content)
    with pytest.raises(InvalidSettings, match="cannot be read") as refused:
        disk.numbers()
    assert "remove it" in refused.value.fix


def test_a_full_disk_gives_no_number(tmp_path: Path) -> None:
    def fails(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left"):
        Numbers(tmp_path / "oscore", fails, lambda: 0.0).take()


def test_the_numbers_end_where_the_standard_has_them_end(disk: Disk) -> None:
    disk.path.parent.mkdir()
    disk.path.write_text(f"{MAX_NUMBER}\n")
    numbers = disk.numbers()
    assert numbers.take() == MAX_NUMBER
    with pytest.raises(Unavailable, match="used up"):
        numbers.take()
