"""What became of a change that shut somebody out: the gate's own count before and after, as a report shows it."""

from __future__ import annotations

import msgspec


class Traces(msgspec.Struct, frozen=True):
    """What one device has at the hub at one moment. All are counts.

    `connections` are open ones, those not let in yet included; `queued` deliveries wait to be sent to it, `unsettled`
    were sent and not acknowledged; `retained` are messages that it published and that stand as their topic's last word.
    """

    connections: int = 0
    sessions: int = 0
    subscriptions: int = 0
    queued: int = 0
    unsettled: int = 0
    wills: int = 0
    retained: int = 0

    def __add__(self, other: Traces) -> Traces:
        """Give the counts of both together."""
        return Traces(
            *(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )

    def __sub__(self, other: Traces) -> Traces:
        """Give what is here and no longer there."""
        return Traces(
            *(a - b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )


class Outcome(msgspec.Struct, frozen=True):
    """What the gate found of a device when it applied a change, and what it counted when it was done.

    `sequence` is the change's number in registry.db; `device` whom it was about, "" for the start of a hub, which
    applies all changes up to `sequence` at once; `at` the unix second at which the gate was done; `reason` why the
    device is no longer welcome, "" when it still is (then only some of its credentials are not).
    """

    sequence: int
    device: str
    at: float
    reason: str = ""
    found: Traces = Traces()
    remaining: Traces = Traces()

    @property
    def ended(self) -> Traces:
        """Give what was there before and is not any longer."""
        return self.found - self.remaining
