"""Packets and frames that have begun to come and are not whole: how much they hold together, and for how long.

A packet of a megabyte can be begun with two bytes less than all of it, and then left. When all of those together
exceed their bound, the one that was begun first goes, with its connection: who sends on finishes soon and stands at the
end of the line, who does not comes to its head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lockgate.errors import LockgateError, QuotaExceeded, Step


class Holder(Protocol):
    """A connection that holds the beginning of something."""

    def break_off(self, error: LockgateError) -> None:
        """Say why, and close."""
        ...

    def is_held(self) -> bool:
        """Say whether the hub itself has stopped reading it: then it cannot finish."""
        ...


class Partials:
    """Everything that is begun and not whole.

    Args:
        max_bytes: the bound of all of it together.
        deadline_seconds: how long one may take.
        clock: gives monotonic seconds.
    """

    def __init__(self, max_bytes: int, deadline_seconds: float, clock: Callable[[], float]) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._held: dict[Holder, tuple[int, float]] = {}

    def __len__(self) -> int:
        """Give how many connections hold something."""
        return len(self._held)

    def hold(self, holder: Holder, size: int, is_new: bool) -> None:
        """Note how many bytes a connection holds; with `is_new` it finished what it had begun and began another."""
        known = self._held.get(holder)
        if is_new and known is not None:
            self.drop(holder)  # it goes to the end of the line
            known = None
        if known is None:
            if size:
                self._held[holder] = size, self._clock()
                self.bytes += size
        elif size == 0:
            self.drop(holder)
        else:
            self._held[holder] = size, known[1]
            self.bytes += size - known[0]
        while self.bytes > self._max_bytes:
            oldest = next(iter(self._held))
            self.drop(oldest)
            oldest.break_off(
                QuotaExceeded(
                    f"what all clients have begun to send is more than {self._max_bytes} bytes; this was begun first",
                    reason="too many unfinished packets",
                    fix="look for clients that stop in mid-packet, or raise mqtt.max_partial_bytes",
                )
            )

    def drop(self, holder: Holder) -> None:
        """Forget a connection."""
        known = self._held.pop(holder, None)
        if known is not None:
            self.bytes -= known[0]

    def handle_timer(self) -> None:
        """Break off with those whose time to finish is up."""
        now = self._clock()
        while self._held:
            holder, (size, since) = next(iter(self._held.items()))
            if since + self._deadline_seconds > now:
                return
            self.drop(holder)
            if holder.is_held():
                self._held[holder] = size, now
                self.bytes += size
                continue
            holder.break_off(
                LockgateError(
                    f"a packet that was begun did not come whole within {self._deadline_seconds:g} s",
                    reason="packet not finished",
                    fix="look at the client's network, send smaller packets, or raise mqtt.packet_deadline_seconds",
                    step=Step.LIMIT,
                )
            )
