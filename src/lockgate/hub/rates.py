"""How fast a device may speak: messages and bytes per second, all its connections in all doors together.

Theory of operation. Each device has a meter with two buckets, kept as the second until which what it has sent takes up
its rate (the generic cell rate algorithm, ITU-T I.371, without a queue). Silence saves up a burst and no more. What has
come is never refused: a device that sent too much owes time, and `take` says how long it is not to be read meanwhile.
A device that connects anew finds its debt again.

What a rule says is stricter: `RuleRates` has a bucket of permissions for each device under each rule with a rate, and a
message that finds it empty is refused.
"""

from __future__ import annotations

from collections import OrderedDict

from lockgate.errors import RateExceeded, Step
from lockgate.policy import Grant

QUIET_SECONDS = 60.0
"""A device that kept to its rate for so long begins another flood when it exceeds it again."""


class Meter:
    """What one device has sent of late. Times are monotonic seconds."""

    __slots__ = ("burst", "bytes_until", "connections", "key", "messages_until", "per_byte", "per_message", "told_at")

    def __init__(self, key: str, per_message: float, per_byte: float, burst: float) -> None:
        self.key = key
        self.per_message: float = per_message
        self.per_byte: float = per_byte
        self.burst: float = burst
        self.messages_until: float = 0.0
        self.bytes_until: float = 0.0
        self.connections: int = 0
        self.told_at: float = -QUIET_SECONDS

    def take(self, messages: int, size: int, now: float) -> float:
        """Count what came; give for how many seconds nothing more should be read, 0 for none."""
        earliest = now - self.burst
        until = self.messages_until
        if until < earliest:
            until = earliest
        until += messages * self.per_message
        self.messages_until = until
        other = self.bytes_until
        if other < earliest:
            other = earliest
        other += size * self.per_byte
        self.bytes_until = other
        if other > until:
            until = other
        return until - now if until > now else 0.0

    def owes(self, now: float) -> float:
        """Give for how many seconds the device should not be read, 0 for none."""
        until = max(self.messages_until, self.bytes_until)
        return until - now if until > now else 0.0

    def is_new_flood(self, now: float) -> bool:
        """Say, of a device that exceeds its rate now, whether that should be told: once per flood."""
        is_new = now - self.told_at >= QUIET_SECONDS
        self.told_at = now
        return is_new

    def error(self, fix: str, device: str) -> RateExceeded:
        """Give the words for it."""
        what = "bytes" if self.bytes_until > self.messages_until else "messages"
        limit = 1 / (self.per_byte if what == "bytes" else self.per_message)
        text = f"{self.key} sends more than {limit:.0f} {what} per second"
        return RateExceeded(text, fix=fix, evidence={"device": device})

    def is_settled(self, now: float) -> bool:
        """Say whether a new meter would allow the same."""
        return self.messages_until <= now - self.burst and self.bytes_until <= now - self.burst


class Rates:
    """The meters of all devices that are connected, or owe time still.

    Args:
        max_messages_per_second: of one device; 0 for no limit.
        max_bytes_per_second: of one device; 0 for no limit.
        burst_seconds: how many seconds' worth of both a device that was silent may send at once.
    """

    def __init__(self, max_messages_per_second: float, max_bytes_per_second: float, burst_seconds: float) -> None:
        self._per_message: float = 1 / max_messages_per_second if max_messages_per_second else 0.0
        self._per_byte: float = 1 / max_bytes_per_second if max_bytes_per_second else 0.0
        self._burst: float = burst_seconds
        self._meters: dict[str, Meter] = {}
        self._parted: OrderedDict[str, Meter] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of meters."""
        return len(self._meters)

    def join(self, key: str) -> Meter | None:
        """Give the meter for one more connection of a device; None when there is no limit."""
        if not self._per_message and not self._per_byte:
            return None
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(key, self._per_message, self._per_byte, self._burst)
        meter.connections += 1
        self._parted.pop(key, None)
        return meter

    def charge(self, key: str, messages: int, now: float) -> None:
        """Count what the hub did for a device, connected or not, as if it had sent so many messages."""
        meter = self.join(key)
        if meter is not None:
            meter.take(messages, 0, now)
            self.leave(meter, now)

    def leave(self, meter: Meter, now: float) -> None:
        """Count one connection less. A device that owes time is remembered until it does no more."""
        meter.connections -= 1
        if meter.connections == 0:
            self._parted[meter.key] = meter
        for _ in range(2):  # more go than come: what is remembered stays within what is owed
            if self._parted:
                key, oldest = self._parted.popitem(last=False)
                if oldest.is_settled(now):
                    del self._meters[key]
                else:
                    self._parted[key] = oldest


class Bucket:
    """How many more messages one device may publish under one rule. Times are unix seconds."""

    __slots__ = ("left", "limit", "per_second", "seen_at")

    def __init__(self, per_second: float, limit: float, now: float) -> None:
        self.per_second: float = per_second
        self.limit: float = limit
        self.left: float = limit
        self.seen_at: float = now

    def fill(self, now: float) -> float:
        """Put in what the time since the last call allows; give how much is in it."""
        if now > self.seen_at:  # a clock that was set back allows nothing by it
            self.left = min(self.limit, self.left + (now - self.seen_at) * self.per_second)
        self.seen_at = now
        return self.left


class RuleRates:
    """The rates that rules set, each for each device that publishes under it.

    Args:
        burst_seconds: how many seconds' worth a device that was silent may publish at once; one message at least.
    """

    def __init__(self, burst_seconds: float) -> None:
        self._burst: float = burst_seconds
        self._buckets: OrderedDict[tuple[str, int], Bucket] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of buckets."""
        return len(self._buckets)

    def take(self, grant: Grant, now: float) -> RateExceeded | None:
        """Count one message published under a grant with a rate; give the refusal when it is one too many."""
        rule = grant.decision.rule
        number = 0 if rule is None else rule.id
        key = (grant.holder, number)
        per_second = grant.messages_per_second
        bucket = self._buckets.get(key)
        if bucket is None or bucket.per_second != per_second:
            self._forget_full(now)
            bucket = self._buckets[key] = Bucket(per_second, max(1.0, per_second * self._burst), now)
        if bucket.fill(now) >= 1 - _TOLERANCE:
            bucket.left -= 1
            return None
        topic = grant.decision.topic
        return RateExceeded(
            f"{grant.holder} publishes more than {per_second:g} messages per second on {topic!r}, which a rule forbids",
            reason=f"rate exceeded: the rule allows {per_second:g} messages per second",
            fix=f"publish less often, or allow more in place of rule {number}",
            step=Step.POLICY,
            evidence={"device": grant.holder, "topic": topic, "rule": str(rule)},
        )

    def _forget_full(self, now: float) -> None:
        for _ in range(2):  # more go than come: what is remembered stays within what is owed
            if self._buckets:
                key, oldest = self._buckets.popitem(last=False)
                if oldest.fill(now) < oldest.limit:
                    self._buckets[key] = oldest


_TOLERANCE = 1e-6
"""Of one message: seconds of the unix clock are not exact to more."""
