"""What the hub will do later: a heap of moments. An entry whose reason is gone is skipped when it comes up."""

from __future__ import annotations

import heapq
import math

from lockgate.hub.session import Session


class Timers:
    """Moments in unix seconds, each with a kind and a session."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Session]] = []
        self._count = 0

    def add(self, at: float, kind: str, session: Session) -> None:
        """Come back to `session` at `at`; never, when that is infinity."""
        if math.isfinite(at):
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, kind, session))

    def next_at(self) -> float | None:
        """Give the earliest moment, None when there is none."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[tuple[str, Session]]:
        """Take out all that has come."""
        found: list[tuple[str, Session]] = []
        while self._heap and self._heap[0][0] <= now:
            _at, _number, kind, session = heapq.heappop(self._heap)
            found.append((kind, session))
        return found
