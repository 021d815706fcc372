"""What the door needs of the room for devices that protect each message by itself: they share a link with others."""

from __future__ import annotations

from typing import Protocol

from lockgate.adapters.coap.exchange import Event, Request
from lockgate.errors import LockgateError


class Guests(Protocol):
    """The devices on one link whose messages are protected by OSCORE."""

    def received(self, event: Request, size: int, now: float) -> None:
        """Take a request with an OSCORE option, of `size` bytes."""
        ...

    def settled(self, event: Event, now: float) -> None:
        """Hear what became of a notification."""
        ...

    def end(self, error: LockgateError) -> None:
        """End all of them, and tell their observers why."""
        ...

    def part(self) -> None:
        """The link is gone."""
        ...

    def is_empty(self) -> bool:
        """Say whether there is none."""
        ...
