"""What is done last when the wires have had their turn: what was gathered meanwhile leaves, in one write for each.

Asking the loop to call it soon would do the same one turn later, with a system call and an idle handle between: at a
low rate, where each message has a turn of its own, that is a good part of what it costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

_ROUNDS: Final = 4

CallSoon = Callable[[Callable[[], None]], object]


@final
class Turn:
    """One turn of the wires of a thread's loop."""

    def __init__(self) -> None:
        self._is_on: bool = False
        self._last: list[tuple[Callable[[], None], CallSoon]] = []

    def ends_with(self, step: Callable[[], None], call_soon: CallSoon) -> None:
        """Have `step` called when the turn ends; when there is none, in the loop's next, by `call_soon`."""
        if self._is_on:
            self._last.append((step, call_soon))
        else:
            call_soon(step)

    def begin(self) -> None:
        """Keep what is to be done last."""
        self._is_on = True

    def end(self) -> None:
        """Do it. What the steps themselves ask for comes as well, as long as that is no endless game."""
        for _ in range(_ROUNDS):
            steps = self._last
            if not steps:
                break
            self._last = []
            for step, _ in steps:
                _do(step)
        self._is_on = False
        steps, self._last = self._last, []
        for step, call_soon in steps:
            call_soon(step)


def _do(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:  # the steps of others come all the same
        asyncio.get_running_loop().call_exception_handler({"message": "the end of a turn failed", "exception": error})


TURN: Final = Turn()
"""The one of this process: it has one loop that carries wires, and a turn is over when its call returns."""
