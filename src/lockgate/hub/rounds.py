"""Rounds: which connections are to be looked at now, because a deadline of theirs has come.

Ten thousand connections cost nothing while nothing is due: each waits for its deadline. One that moves away, as each
packet moves the keep-alive, is left as it is: the connection is looked at in vain, and waits anew.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

SPARE_ENTRIES: Final = 64

Waiting = TypeVar("Waiting")


class Rounds(Generic[Waiting]):
    """What waits for a moment in monotonic seconds, each for one."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Waiting]] = []
        self._numbers: dict[Waiting, int] = {}
        self._count: int = 0

    def __len__(self) -> int:
        """Give the number of entries in memory; those that no longer count are at most as many as those that do."""
        return len(self._heap)

    def wait(self, each: Waiting, at: float | None) -> None:
        """Come back to `each` at `at`, and not when it was said before; never for None."""
        self.forget(each)
        if at is not None:
            self._count += 1
            self._numbers[each] = self._count
            heapq.heappush(self._heap, (at, self._count, each))

    def forget(self, each: Waiting) -> None:
        """Do not come back to `each`."""
        if self._numbers.pop(each, None) is None:
            return
        if len(self._heap) > 2 * len(self._numbers) + SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if self._numbers.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def due(self, now: float) -> list[Waiting]:
        """Take out all whose time has come, the earliest first."""
        found: list[Waiting] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            _at, number, each = heapq.heappop(heap)
            if self._numbers.get(each) == number:
                del self._numbers[each]
                found.append(each)
        return found
