"""What the hub will do later: a heap of moments, the latest word on each session and kind being the one that counts."""

from __future__ import annotations

import heapq
import math
from enum import StrEnum
from typing import Final

from lockgate.errors import ProofExpired
from lockgate.hub.session import Session
from lockgate.model.principal import Principal

SPARE_ENTRIES: Final = 64


class Moment(StrEnum):
    """What comes when a session's time is up."""

    PROOF_ENDS = "proof-ends"
    WILL_GOES_OUT = "will-goes-out"
    SESSION_EXPIRES = "session-expires"


_MOMENTS: Final = tuple(Moment)


class Timers:
    """Moments in unix seconds, at most one of each kind for a session."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Moment, Session]] = []
        self._current: dict[tuple[Moment, Session], int] = {}
        self._count = 0

    def __len__(self) -> int:
        """Give the number of entries in memory; those that no longer count are at most as many as those that do."""
        return len(self._heap)

    def add(self, at: float, moment: Moment, session: Session) -> None:
        """Come back to `session` at `at`, and not when it was said before; never, when that is infinity."""
        self._current.pop((moment, session), None)
        if math.isfinite(at):
            self._count += 1
            self._current[moment, session] = self._count
            heapq.heappush(self._heap, (at, self._count, moment, session))
        if len(self._heap) > 2 * len(self._current) + SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapq.heapify(self._heap)

    def forget(self, session: Session) -> None:
        """Do not come back to `session`."""
        if self._current:
            for moment in _MOMENTS:
                self._current.pop((moment, session), None)

    def due(self, now: float) -> list[tuple[Moment, Session]]:
        """Take out all that has come, the earliest first."""
        found: list[tuple[Moment, Session]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._counts(entry):
                _at, _number, moment, session = entry
                del self._current[moment, session]
                found.append((moment, session))
        return found

    def _counts(self, entry: tuple[float, int, Moment, Session]) -> bool:
        _at, number, moment, session = entry
        return self._current.get((moment, session)) == number


def proof_ended(principal: Principal) -> ProofExpired:
    """Give the words for a connection that ends with its proof."""
    what, fix = "token", "connect again with a fresh token"
    if not principal.auth.startswith("jwt"):
        what, fix = "credential", f"lockgate device rotate {principal.device} --out DIR gives it a new one"
    return ProofExpired(
        f"the {what} with which {principal.client_id} connected has expired",
        reason=f"{what} expired",
        fix=fix,
        evidence={"device": principal.device},
    )
