"""The thread that makes writes durable, many with one sync (group commit).

Theory of operation. Writers change `batch` while they hold `lock`, then call `wrote`, which gives the number of the
commit that will hold it. A worker thread sleeps until there is something, takes the whole batch, and writes it as one
transaction; what comes meanwhile gathers for the next.

    gathering (number n+1)  --taken-->  committing (n+1)  --durable-->  committed = n+1, on_committed(n+1)
                                             |  ^
                                             v  |  on_failure(error), pause, the same batch again
                                            failed

A batch that cannot be written stays, is reported, and is tried again: nothing is called committed that is not, and
nothing is dropped. What waits is counted, and `is_full` says when writers should hold their sources back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from lockgate.errors import Unavailable

Batch = TypeVar("Batch")

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


class Committer(Generic[Batch]):
    """One worker thread that commits what was gathered.

    Args:
        commit: writes a batch as one transaction, all or nothing; runs in the worker thread.
        new_batch: makes an empty batch.
        on_committed: told the number of each durable commit, from the worker thread.
        on_failure: told the error of each attempt that failed, from the worker thread.
        gather_seconds: how long the worker lets writes gather before it takes them; for when nobody waits.
        max_waiting_bytes: above this `is_full` is true.
        max_waiting_operations: likewise.
    """

    def __init__(
        self,
        commit: Callable[[Batch], None],
        new_batch: Callable[[], Batch],
        *,
        on_committed: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[Exception], None] = lambda _: None,
        gather_seconds: float = 0.0,
        max_waiting_bytes: int = 33_554_432,
        max_waiting_operations: int = 100_000,
    ) -> None:
        self.lock = threading.RLock()
        self.batch: Batch = new_batch()
        self.committed = 0
        self.on_committed = on_committed
        self.on_failure = on_failure
        self._commit = commit
        self._new_batch = new_batch
        self._gather_seconds = gather_seconds
        self._max_bytes = max_waiting_bytes
        self._max_operations = max_waiting_operations
        self._number = 1
        self._bytes = self._operations = 0
        self._taken_bytes = self._taken_operations = 0
        self._is_asleep = False
        self._is_closing = threading.Event()
        self._work = threading.Event()
        self._progress = threading.Condition(self.lock)
        self._worker = threading.Thread(target=self._run, name="lockgate-committer", daemon=True)
        self._worker.start()

    def wrote(self, size_bytes: int) -> int:
        """Count one operation that was put into `batch`; call it while you hold `lock`.

        Returns:
            The number of the commit that will hold it.
        """
        self._operations += 1
        self._bytes += size_bytes
        if self._is_asleep:
            self._is_asleep = False
            self._work.set()
        return self._number

    @property
    def is_full(self) -> bool:
        """Say whether more waits for the disk than should."""
        return (
            self._bytes + self._taken_bytes > self._max_bytes
            or self._operations + self._taken_operations > self._max_operations
        )

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Come back when everything written so far is durable.

        Raises:
            Unavailable: when that takes longer than `timeout_seconds`.
        """
        with self._progress:
            wanted = self._number if self._operations else self._number - 1
            if not self._progress.wait_for(lambda: self.committed >= wanted, timeout_seconds):
                waiting = self._operations + self._taken_operations
                raise Unavailable(f"{waiting} changes could not be written in {timeout_seconds:g} s")

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write everything, then end the worker.

        Raises:
            Unavailable: when not everything could be written in time; the worker has ended all the same.
        """
        try:
            if self._worker.is_alive():
                self.flush(timeout_seconds)
        finally:
            self._is_closing.set()
            self._work.set()
            self._worker.join()

    def _run(self) -> None:
        while self._wait_for_work():
            if self._gather_seconds:
                self._is_closing.wait(self._gather_seconds)
            with self.lock:
                batch, self.batch = self.batch, self._new_batch()
                number = self._number
                self._number += 1
                self._taken_bytes, self._bytes = self._bytes, 0
                self._taken_operations, self._operations = self._operations, 0
            if not self._commit_until_done(batch):
                return
            with self._progress:
                self.committed = number
                self._taken_bytes = self._taken_operations = 0
                self._progress.notify_all()
            with suppress(RuntimeError):  # the loop that would hear of it has ended
                self.on_committed(number)

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to commit; say False when the worker shall end."""
        with self.lock:
            if self._operations:
                return True
            self._is_asleep = True
            self._work.clear()
        if self._is_closing.is_set():
            return False
        self._work.wait()
        return not self._is_closing.is_set() or self._operations > 0

    def _commit_until_done(self, batch: Batch) -> bool:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._commit(batch)
            except Exception as error:  # whatever it is, the batch must not be lost
                with suppress(RuntimeError):
                    self.on_failure(error)
            else:
                return True
            if self._is_closing.is_set():
                return False
            self._is_closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
