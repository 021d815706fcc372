"""TLS handshakes: each costs the hub half a millisecond, and whoever asks for one has proven nothing.

Three bounds. Of one network (an IPv4 address, an IPv6 /64) so many come per second, after a burst; more are refused
before any of that work is done. So many are under way; beyond it the oldest gives way, for an honest one takes a second
at most and whoever holds one open does not. And in one turn of the loop only a few go on, so that clients that are
in are served between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, final

from lockgate.errors import Step
from lockgate.net.failures import TlsFailure, TlsReason
from lockgate.net.link import NetLimits

PER_TURN: Final = 4
"""Two milliseconds of work, about."""
MAX_NETWORKS: Final = 65_536


class Shaking(Protocol):
    """A link whose handshake is under way."""

    def give_way(self, failure: TlsFailure) -> None:
        """End, for others' sake."""
        ...

    def shake_on(self) -> None:
        """Take in what has come."""
        ...


@final
class Handshakes:
    """The handshakes of all listeners that are limited together.

    Args:
        call_soon: has the loop call something in its next turn.
        max_networks: how many are remembered that are not settled yet.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], max_networks: int = MAX_NETWORKS) -> None:
        self._call_soon = call_soon
        self._max_networks = max_networks
        self._under_way: dict[Shaking, None] = {}
        self._until: dict[str, float] = {}
        self._waiting: deque[Shaking] = deque()
        self._left = PER_TURN

    def __len__(self) -> int:
        """Give how many are under way."""
        return len(self._under_way)

    def begin(self, link: Shaking, network: str, limits: NetLimits, now: float) -> TlsFailure | None:
        """Note that one begins, or say which limit refuses it. `now` is in monotonic seconds."""
        if not self._is_within_rate(network, limits, now):
            rate, burst = limits.max_handshakes_per_second_per_address, limits.max_handshake_burst_per_address
            return TlsFailure(
                TlsReason.TOO_MANY_HANDSHAKES,
                f"{network} began more than {burst} TLS handshakes at once, or {rate:g} per second",
                "Look for clients that connect over and over, or raise net.max_handshakes_per_second_per_address.",
                step=Step.TCP,
            )
        self._under_way[link] = None
        if len(self._under_way) > limits.max_handshakes:
            oldest = next(iter(self._under_way))
            del self._under_way[oldest]
            oldest.give_way(
                TlsFailure(
                    TlsReason.TOO_MANY_HANDSHAKES,
                    f"more than {limits.max_handshakes} TLS handshakes were under way; this was the oldest",
                    "Look for clients that begin handshakes and do not end them, or raise net.max_handshakes.",
                )
            )
        return None

    def end(self, link: Shaking) -> None:
        """Note that one is over."""
        self._under_way.pop(link, None)

    def may_go_on(self, link: Shaking) -> bool:
        """Say whether a handshake may go on in this turn of the loop; if not, `shake_on` is called in a later one."""
        if self._left == PER_TURN:
            self._call_soon(self._next_turn)
        if self._left > 0:
            self._left -= 1
            return True
        self._waiting.append(link)
        return False

    def _next_turn(self) -> None:
        self._left = PER_TURN
        for _ in range(min(PER_TURN, len(self._waiting))):
            if self._left == PER_TURN:
                self._call_soon(self._next_turn)
            self._left -= 1
            self._waiting.popleft().shake_on()

    def _is_within_rate(self, network: str, limits: NetLimits, now: float) -> bool:
        rate = limits.max_handshakes_per_second_per_address
        if not rate:
            return True
        burst_seconds = limits.max_handshake_burst_per_address / rate
        until = max(self._until.pop(network, 0.0), now - burst_seconds)
        is_within = until + 1 / rate <= now
        self._until[network] = until + 1 / rate if is_within else until
        while self._until:  # whoever came last stands last: what is first is long settled, or there are too many
            first = next(iter(self._until))
            if self._until[first] > now - burst_seconds and len(self._until) <= self._max_networks:
                break
            del self._until[first]
        return is_within
