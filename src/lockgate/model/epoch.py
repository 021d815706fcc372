"""A number that moves when what was decided may no longer hold: who remembers decisions looks at it each time."""

from __future__ import annotations

from typing import final


@final
class Epoch:
    """Shared between whoever changes something and whoever remembers what followed from it."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int = 0

    def move(self) -> None:
        """Something changed."""
        self.number += 1
