"""The thread that makes writes durable, many with one sync (group commit).

Theory of operation. Writers change `batch` while they hold `lock`, then call `wrote`, which gives the number of the
commit that will hold it. A worker thread rests until there is something, takes the whole batch, and writes it as one
transaction; what comes meanwhile gathers for the next.

    gathering (number n+1)  --taken-->  committing (n+1)  --durable-->  committed = n+1, on_committed(n+1)
          |                                  |  ^  |
          |                                  v  |  on_failure(error), pause, the same batch again
          |                                 failed |
          +-- nobody waits for it any more --------+----------------->  committed = n+1, on_committed(n+1)

What somebody waits for is urgent. Urgent writes can become needless (`spare`): a message that all its receivers have,
before it was ever written, need not be. When a commit holds nothing urgent any more, and those before it are done, its
number is reported without the disk.

Other writes are lazy: nobody is told of them, and a crash that takes them costs a repetition at most (a delivery that
was settled). They go with the next urgent write, or by themselves after `LAZY_SECONDS`: a publisher with one message in
flight would otherwise find the disk at work for the settlement of the one before. So the worker rests in two ways: it
dozes for so long, when only an urgent write wakes it, and then sleeps, when every write does.

A batch that cannot be written stays, is reported, and is tried again: nothing is called committed that is not, and
nothing is dropped. What waits is counted, and `is_full` says when writers should hold their sources back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from lockgate.errors import Unavailable

Batch = TypeVar("Batch")

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
LAZY_SECONDS = 0.05
"""How long a write that nobody waits for stays away from the disk when nothing else goes there."""
LAZY_OPERATIONS = 1024
"""So many that can wait do not: those who wait for a commit should not find it full of them."""

_AWAKE: Final = 0
_DOZING: Final = 1
_ASLEEP: Final = 2


class Committer(Generic[Batch]):
    """One worker thread that commits what was gathered.

    Args:
        commit: writes a batch as one transaction, all or nothing; runs in the worker thread.
        new_batch: makes an empty batch.
        on_committed: told the numbers up to which all is done, rising, some passed over; from the worker thread or a
            writer's, while the lock is held.
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
        self._urgent = 0
        self._has_waiters = False
        self._taken_number = self._taken_urgent = 0
        self._taken = self._done = 0
        self._rest = _AWAKE
        self._is_closing = threading.Event()
        self._work = threading.Lock()  # the worker rests on it; whoever finds `_rest` so wakes it, once
        self._work.acquire()
        self._progress = threading.Condition(self.lock)
        self._worker = threading.Thread(target=self._run, name="lockgate-committer", daemon=True)
        self._worker.start()

    def wrote(self, size_bytes: int, is_urgent: bool = True) -> int:
        """Count one operation that was put into `batch`; call it while you hold `lock`.

        Args:
            size_bytes: about what it holds.
            is_urgent: somebody waits for it.

        Returns:
            The number of the commit that will hold it.
        """
        self._operations += 1
        self._bytes += size_bytes
        if is_urgent:
            self._urgent += 1
            self._has_waiters = True
        if self._rest and (is_urgent or self._rest == _ASLEEP or self._operations >= LAZY_OPERATIONS):
            self._wake()
        return self._number

    def spare(self, number: int, count: int) -> None:
        """Note that `count` urgent operations of commit `number` are not needed any more; while you hold `lock`.

        Only for what may as well be lost in a crash as be written: not for what moved on into a later commit.
        """
        if number <= self.committed:
            return
        if number == self._number:
            self._urgent -= count
        elif number == self._taken_number:
            self._taken_urgent -= count
        self._pass_needless()

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
            wanted = self._taken
            if self._operations:
                wanted += 1
                self._urgent += 1  # from now on somebody waits
                self._wake()
            if not self._progress.wait_for(lambda: self._done >= wanted, timeout_seconds):
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
            with self.lock:
                self._is_closing.set()
                self._wake()
            self._worker.join()

    def _run(self) -> None:
        while self._wait_for_work():
            if self._gather_seconds:
                self._is_closing.wait(self._gather_seconds)
            with self.lock:
                batch, self.batch = self.batch, self._new_batch()
                number = self._taken_number = self._number
                self._number += 1
                self._taken += 1
                self._taken_bytes, self._bytes = self._bytes, 0
                self._taken_operations, self._operations = self._operations, 0
                self._taken_urgent, self._urgent = self._urgent, 0
                self._has_waiters = False
            if not self._commit_until_done(batch):
                return
            with self._progress:
                self._done = self._taken
                self._taken_number = self._taken_bytes = self._taken_operations = 0
                if self.committed < number:
                    self._report(number)
                    self._pass_needless()
                self._progress.notify_all()

    def _pass_needless(self) -> None:
        """Report the commits whose turn it is and for which nobody needs the disk."""
        if self._taken_number > self.committed and not self._taken_urgent:
            self._report(self._taken_number)
        if self._has_waiters and not self._urgent and self.committed == self._number - 1:
            self._has_waiters = False
            self._number += 1
            self._report(self._number - 1)

    def _report(self, number: int) -> None:
        self.committed = number
        with suppress(RuntimeError):  # the loop that would hear of it has ended
            self.on_committed(number)

    def _wait_for_work(self) -> bool:
        """Rest until there is something to commit; say False when the worker shall end."""
        has_rested = False
        while True:
            with self.lock:
                is_closing = self._is_closing.is_set()
                is_due = self._urgent or has_rested or is_closing or self._operations >= LAZY_OPERATIONS
                if self._operations and is_due:
                    return True
                if is_closing:
                    return False
                rest = self._rest = _ASLEEP if has_rested else _DOZING
            has_rested = not self._work.acquire(timeout=LAZY_SECONDS if rest == _DOZING else -1) and self._get_up()

    def _get_up(self) -> bool:
        """Go back to work after a doze; say False when somebody woke the worker at that very moment."""
        with self.lock:
            if self._rest == _AWAKE:
                self._work.acquire()
                return False
            self._rest = _AWAKE
            return True

    def _wake(self) -> None:
        if self._rest:
            self._rest = _AWAKE
            self._work.release()

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
