"""Which delivery of a full queue goes when the oldest shall: QoS 0 first, and none that its receiver must still get.

A queue is looked through once, not at every drop: the place is remembered as long as only the ends of the queue change.
A session says when it took the head; when it takes something else out, it puts another queue in its place.
"""

from __future__ import annotations

from collections import deque

from lockgate.model.session import Delivery


class Eviction:
    """Finds the delivery to drop in one queue."""

    __slots__ = ("_head", "_looked", "_oldest", "_queue")

    def __init__(self) -> None:
        self._queue: deque[Delivery] | None = None
        self._head: Delivery | None = None
        self._looked: int = 0
        self._oldest: int = -1

    def head_left(self, queue: deque[Delivery], head: Delivery) -> None:
        """Know that the head of the queue was taken: what is behind it was looked through all the same."""
        if self._queue is not queue or self._head is not head or not self._looked:
            return
        self._head = queue[0] if queue else None
        self._looked -= 1
        if self._oldest > 0:
            self._oldest -= 1
        elif self._oldest == 0:
            self._find_again(queue, 0)

    def take_out(self, queue: deque[Delivery]) -> Delivery | None:
        """Take the oldest QoS 0 delivery out of the queue, or else the oldest; None when none may go.

        A QoS 2 delivery that may have been sent stays: its receiver knows the tag, and would take the next message
        under it for a repetition.
        """
        if not queue:
            return None
        if self._queue is not queue or self._head is not queue[0]:
            self._start(queue)
        index = self._find(queue)
        if index < 0:
            return None
        delivery = queue[index]
        del queue[index]
        if index == 0:
            self._head = queue[0] if queue else None
        if index < self._looked:  # the oldest of all: what was not QoS 0 before it is not QoS 0 now
            self._looked -= 1
            self._find_again(queue, index)
        return delivery

    def _start(self, queue: deque[Delivery]) -> None:
        self._queue = queue
        self._head = queue[0]
        self._looked = 0
        self._oldest = -1

    def _find_again(self, queue: deque[Delivery], place: int) -> None:
        """Find the first that may go, from a place on, among those that were looked through."""
        self._oldest = -1
        while place < self._looked:
            if _may_go(queue[place]):
                self._oldest = place
                return
            place += 1

    def _find(self, queue: deque[Delivery]) -> int:
        """Give the place of the first QoS 0 delivery, or else of the first that may go; -1 for none."""
        while self._looked < len(queue):
            delivery = queue[self._looked]
            if delivery.qos == 0:
                return self._looked
            if self._oldest < 0 and _may_go(delivery):
                self._oldest = self._looked
            self._looked += 1
        return self._oldest


def _may_go(delivery: Delivery) -> bool:
    return delivery.qos < 2 or not delivery.is_repeated
