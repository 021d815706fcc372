"""Acknowledgements find those who wait for them: the network thread puts, the caller's thread takes."""

from __future__ import annotations

import threading

from lockgate.errors import LockgateError, Unavailable


class Answers:
    """The hub's answers by packet id. An answer may come before anybody waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._come: dict[int, LockgateError | None] = {}
        self._forgotten: set[int] = set()

    def put(self, packet_id: int, error: LockgateError | None) -> bool:
        """Hand in the answer for `packet_id`, None for yes; say whether anybody may still want it."""
        with self._changed:
            if packet_id in self._forgotten:
                self._forgotten.remove(packet_id)
                return False
            self._come[packet_id] = error
            self._changed.notify_all()
            return True

    def take(self, packet_id: int, timeout_seconds: float) -> None:
        """Wait for the answer for `packet_id`.

        Raises:
            LockgateError: the hub's no.
            Unavailable: no answer came in time; it is forgotten when it comes later.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: packet_id in self._come, timeout_seconds):
                self._forgotten.add(packet_id)
                raise Unavailable(f"the hub did not answer within {timeout_seconds:g} s", reason="no answer in time")
            error = self._come.pop(packet_id)
        if error is not None:
            raise error

    def forget(self, packet_id: int) -> None:
        """Say that nobody will wait for the answer for `packet_id`, which has not come yet."""
        with self._changed:
            self._forgotten.add(packet_id)
