"""A number that moves when what was decided may no longer hold: who remembers decisions looks at it each time.

It also knows about whom: a change that concerns a few devices leaves standing what was decided about the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, final

MAX_NAMES: Final = 131_072
"""Changes about more devices than this, since all were concerned, concern all: about 15 MB."""


@final
class Epoch:
    """Shared between whoever changes something and whoever remembers what followed from it."""

    __slots__ = ("_all_moved_at", "_moved_at", "number")

    def __init__(self) -> None:
        self.number: int = 0
        self._all_moved_at: int = 0
        self._moved_at: dict[str, int] = {}

    def move(self, concerned: Collection[str] | None = None) -> None:
        """Something changed: for the devices that are named, or for all."""
        self.number += 1
        if concerned is None or len(self._moved_at) + len(concerned) > MAX_NAMES:
            self._moved_at.clear()
            self._all_moved_at = self.number
        else:
            self._moved_at.update(dict.fromkeys(concerned, self.number))

    def moved_at(self, device: str) -> int:
        """Give the number at the last change that concerned a device: what was decided since then still holds."""
        found = self._moved_at.get(device)
        return self._all_moved_at if found is None else found
