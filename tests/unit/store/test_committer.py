"""The committer: groups, numbers, failures and bounds. No test here waits for time to pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockgate.errors import Unavailable
from lockgate.store.committer import Committer


class Disk:
    """Takes batches; can be stopped in the middle of a commit, and can fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.reported: list[int] = []
        self.errors: list[Exception] = []
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failures_left = 0
        self.has_failed = threading.Event()
        self.committer: Committer[list[str]] = Committer(
            self.commit,
            list,
            on_committed=self.reported.append,
            on_failure=self.fail,
            max_waiting_bytes=100,
            max_waiting_operations=5,
        )

    def write(self, text: str, size_bytes: int = 1) -> int:
        with self.committer.lock:
            self.committer.batch.append(text)
            return self.committer.wrote(size_bytes)

    def commit(self, batch: list[str]) -> None:
        self.entered.set()
        assert self.may_go_on.wait(10)
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("disk full")
        self.batches.append(batch)

    def fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.has_failed.set()

    def hold(self) -> None:
        """Stop the worker inside a commit of "first"."""
        self.may_go_on.clear()
        self.write("first")
        assert self.entered.wait(10)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.may_go_on.set()
    disk.failures_left = 0
    disk.committer.close()


def test_what_comes_during_a_commit_gathers_for_the_next(disk: Disk) -> None:
    disk.hold()
    numbers = [disk.write("second"), disk.write("third")]
    assert numbers == [2, 2]
    assert disk.committer.committed == 0
    disk.may_go_on.set()
    disk.committer.flush()
    assert disk.batches == [["first"], ["second", "third"]]
    assert disk.committer.committed == 2
    disk.committer.close()
    assert disk.reported == [1, 2]


def test_a_commit_that_fails_is_not_reported_and_is_tried_again(disk: Disk) -> None:
    disk.failures_left = 2
    number = disk.write("kept")
    assert disk.has_failed.wait(10)
    disk.committer.flush()
    assert disk.committer.committed == number
    assert disk.batches == [["kept"]]
    assert [str(error) for error in disk.errors] == ["disk full", "disk full"]
    disk.committer.close()
    assert disk.reported == [number]


def test_while_commits_fail_nothing_is_committed_and_writes_still_gather(disk: Disk) -> None:
    disk.failures_left = 1_000_000
    disk.write("one")
    assert disk.has_failed.wait(10)
    assert disk.write("two") == 2
    with pytest.raises(Unavailable, match="2 changes"):
        disk.committer.flush(timeout_seconds=0)
    assert (disk.committer.committed, disk.reported) == (0, [])
    disk.failures_left = 0
    disk.committer.flush()
    assert disk.batches == [["one"], ["two"]]


def test_it_is_full_by_operations_until_the_disk_has_them(disk: Disk) -> None:
    disk.hold()
    for _ in range(4):
        disk.write("x")
    assert not disk.committer.is_full
    disk.write("x")
    assert disk.committer.is_full
    disk.may_go_on.set()
    disk.committer.flush()
    assert not disk.committer.is_full


def test_it_is_full_by_bytes(disk: Disk) -> None:
    disk.hold()
    disk.write("x", size_bytes=99)
    assert not disk.committer.is_full
    disk.write("x", size_bytes=1)
    assert disk.committer.is_full


def test_close_writes_what_waits(disk: Disk) -> None:
    disk.write("last words")
    disk.committer.close()
    assert [text for batch in disk.batches for text in batch] == ["last words"]


def test_close_says_when_not_everything_could_be_written(disk: Disk) -> None:
    disk.failures_left = 1_000_000
    disk.write("lost")
    assert disk.has_failed.wait(10)
    with pytest.raises(Unavailable):
        disk.committer.close(timeout_seconds=0)
    assert disk.batches == []


def test_flush_with_nothing_to_write_comes_back(disk: Disk) -> None:
    disk.committer.flush(timeout_seconds=0)
    disk.write("one")
    disk.committer.flush()
    disk.committer.flush(timeout_seconds=0)


def test_a_listener_whose_loop_has_ended_stops_nothing(disk: Disk) -> None:
    def ended(_: int) -> None:
        raise RuntimeError("Event loop is closed")

    disk.committer.on_committed = ended
    disk.write("one")
    disk.committer.flush()
    disk.write("two")
    disk.committer.flush()
    assert disk.batches == [["one"], ["two"]]


def test_what_can_wait_wakes_nobody_and_goes_with_the_next_that_cannot(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.store.committer.LAZY_SECONDS", 3600.0)
    disk.write("first")
    disk.committer.flush()
    while not disk.committer._rest:  # until the worker dozes
        pass
    with disk.committer.lock:
        disk.committer.batch.append("lazy")
        assert disk.committer.wrote(1, is_urgent=False) == 2
        assert disk.committer._rest
    assert disk.write("urgent") == 2
    disk.committer.flush()
    assert disk.batches == [["first"], ["lazy", "urgent"]]


def test_what_can_wait_is_written_by_itself_after_a_while(disk: Disk) -> None:
    written = threading.Event()
    disk.committer.on_committed = lambda _: written.set()
    with disk.committer.lock:
        disk.committer.batch.append("lazy")
        disk.committer.wrote(1, is_urgent=False)
    assert written.wait(10)
    assert disk.batches == [["lazy"]]


def test_a_commit_that_nobody_needs_any_more_is_reported_without_the_disk(disk: Disk) -> None:
    disk.hold()
    with disk.committer.lock:
        disk.committer.spare(1, 1)
    assert (disk.reported, disk.batches, disk.committer.committed) == ([1], [], 1)
    numbers = [disk.write("second"), disk.write("third")]
    assert numbers == [2, 2]
    with disk.committer.lock:
        disk.committer.spare(2, 1)
        assert disk.reported == [1], "one of the two is still needed"
        disk.committer.spare(2, 1)
    assert disk.reported == [1, 2]
    assert disk.write("fourth") == 3
    disk.may_go_on.set()
    disk.committer.flush()
    assert disk.batches == [["first"], ["second", "third", "fourth"]], "all is written all the same"
    assert disk.reported == [1, 2, 3]


def test_a_commit_that_nobody_needs_waits_for_the_one_before_it(disk: Disk) -> None:
    disk.hold()
    disk.write("second")
    with disk.committer.lock:
        disk.committer.spare(2, 1)
    assert (disk.reported, disk.committer.committed) == ([], 0)
    disk.may_go_on.set()
    disk.committer.flush()
    assert disk.reported == [1, 2]


def test_what_is_spared_too_late_changes_nothing(disk: Disk) -> None:
    disk.write("first")
    disk.committer.flush()
    number = disk.write("second")
    with disk.committer.lock:
        disk.committer.spare(1, 1)
    disk.committer.flush()
    assert (disk.reported, disk.committer.committed) == ([1, 2], number)


def test_flush_waits_for_the_disk_and_not_for_a_report(disk: Disk) -> None:
    disk.hold()
    with disk.committer.lock:
        disk.committer.spare(1, 1)
    with pytest.raises(Unavailable):
        disk.committer.flush(timeout_seconds=0)
    disk.may_go_on.set()
    disk.committer.flush()
    assert disk.batches == [["first"]]
