"""How much memory the subscriptions of one device take up, about: filters can be long and deep, its sessions many."""

from __future__ import annotations

from lockgate.errors import QuotaExceeded
from lockgate.hub.session import Session
from lockgate.model.session import Subscription

# What a subscription takes: itself in its session and in the trie; its text twice; a node of the trie for each level.
SUBSCRIPTION_BYTES = 512
LEVEL_BYTES = 256


class Stock:
    """What each device takes up with the subscriptions of all its sessions, at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes: int = max_bytes
        self._bytes: dict[str, int] = {}

    def __len__(self) -> int:
        """Give the number of devices with subscriptions."""
        return len(self._bytes)

    def take(self, session: Session, wanted: Subscription) -> None:
        """Count a subscription that a session is about to hold; one with the same text is replaced, and costs nothing.

        Raises:
            QuotaExceeded: there is no room left for the device.
        """
        if wanted.text in session.subscriptions:
            return
        device = session.principal.device
        if self._bytes.get(device, 0) + size_of(wanted) > self._max_bytes:
            raise QuotaExceeded(
                f"the subscriptions of {device} take {self._bytes.get(device, 0)} bytes already",
                reason="subscriptions too large",
                fix="use wildcards or shorter topics, or raise hub.max_subscription_bytes_per_device",
            )
        self.put_back(session, wanted)

    def put_back(self, session: Session, subscription: Subscription) -> None:
        """Count a subscription that was held before a restart, whatever the bound is by now."""
        device = session.principal.device
        self._bytes[device] = self._bytes.get(device, 0) + size_of(subscription)

    def give_back(self, session: Session, subscription: Subscription) -> None:
        """Count a subscription no more."""
        device = session.principal.device
        left = self._bytes.get(device, 0) - size_of(subscription)
        if left > 0:
            self._bytes[device] = left
        else:
            self._bytes.pop(device, None)


def size_of(subscription: Subscription) -> int:
    """Give about how many bytes a subscription takes."""
    text = subscription.text
    return SUBSCRIPTION_BYTES + 2 * len(text) + LEVEL_BYTES * (1 + text.count("/"))
