"""Turns: how many subscriptions the hub takes in one turn of its loop, so that a storm of them does not hold up others.

A subscription costs some forty microseconds: ten thousand that come at once would keep every message waiting for half a
second. Those of a turn that is full wait, whole and in their order, as the bytes that they came as; whatever else their
client sends meanwhile waits behind them. Who sends no SUBSCRIBE waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, final

PER_TURN: Final = 16
MAX_HELD_BYTES: Final = 65_536
"""Who sends more than this behind a SUBSCRIBE that waits is served at once: no client piles up memory here."""
SUBSCRIBE: Final = 0x82
UNSUBSCRIBE: Final = 0xA2


class Waiter(Protocol):
    """A connection whose bytes wait for a later turn."""

    def take(self, data: bytes) -> None:
        """Bring what waited to where it goes."""
        ...


@final
class Turns:
    """The subscriptions of one door, so many in each turn of the loop.

    Args:
        call_soon: has the loop call something in its next turn.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.is_full: bool = False
        """Whether a SUBSCRIBE that comes now is to wait; true as long as anybody does."""
        self._call_soon = call_soon
        self._spent: int = 0
        self._is_called: bool = False
        self._waiting: dict[Waiter, bytes] = {}

    def __len__(self) -> int:
        """Give how many wait."""
        return len(self._waiting)

    def spend(self, filters: int) -> None:
        """Count a SUBSCRIBE or UNSUBSCRIBE of so many topic filters."""
        self._spent += filters
        if self._spent >= PER_TURN:
            self.is_full = True
        self._come_again()

    def hold(self, waiter: Waiter, data: bytes, is_at_a_packet: bool) -> bytes:
        """Hold what came in a full turn, if it is to wait; give what is to be looked at now.

        `is_at_a_packet` says that a packet begins where `data` does.
        """
        held = self._waiting.get(waiter)
        if held is None:
            if not is_at_a_packet or not data or data[0] not in (SUBSCRIBE, UNSUBSCRIBE):
                return data
            held = b""
        held += data
        if len(held) > MAX_HELD_BYTES:
            self._waiting.pop(waiter, None)
            return held
        self._waiting[waiter] = held
        return b""

    def release(self, waiter: Waiter) -> bytes:
        """Give what waits for a connection that ends, and hold it no longer."""
        return self._waiting.pop(waiter, b"")

    def _come_again(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._call_soon(self._next)

    def _next(self) -> None:
        self._is_called = False
        self._spent = 0
        while self._waiting and self._spent < PER_TURN:
            waiter = next(iter(self._waiting))
            waiter.take(self._waiting.pop(waiter))
        self.is_full = bool(self._waiting) or self._spent >= PER_TURN
        if self.is_full:
            self._come_again()
