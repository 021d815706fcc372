"""What is done last in a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lockgate.net.turn import Turn


def never(step: Callable[[], None]) -> None:
    raise AssertionError("it was to be done at the end of the turn")


def test_steps_are_done_when_the_turn_ends_and_in_their_order() -> None:
    turn, done = Turn(), list[str]()
    turn.begin()
    turn.ends_with(lambda: done.append("first"), never)
    turn.ends_with(lambda: turn.ends_with(lambda: done.append("what a step asks for"), never), never)
    turn.ends_with(lambda: done.append("second"), never)
    assert done == []
    turn.end()
    assert done == ["first", "second", "what a step asks for"]
    turn.end()
    assert len(done) == 3, "once each"


def test_a_step_outside_of_a_turn_is_done_in_the_next_turn_of_the_loop() -> None:
    async def main() -> None:
        turn, done = Turn(), list[str]()
        turn.ends_with(lambda: done.append("step"), asyncio.get_running_loop().call_soon)
        assert done == []
        await asyncio.sleep(0)
        assert done == ["step"]

    asyncio.run(main())


def test_a_step_that_asks_for_itself_without_end_leaves_the_loop_its_turn() -> None:
    async def main() -> None:
        turn, count = Turn(), 0

        def again() -> None:
            nonlocal count
            count += 1
            if count < 1000:
                turn.ends_with(again, asyncio.get_running_loop().call_soon)

        turn.begin()
        again()
        turn.end()
        assert count < 10
        before = count
        await asyncio.sleep(0)
        assert count == before + 1
        count = 1000

    asyncio.run(main())


def test_a_step_that_fails_keeps_nobody_from_his_turn() -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        turn, done = Turn(), list[str]()
        turn.begin()
        turn.ends_with(lambda: done.append(str(1 / 0)), never)
        turn.ends_with(lambda: done.append("step"), never)
        turn.end()
        assert done == ["step"]
        assert isinstance(told[0]["exception"], ZeroDivisionError)

    asyncio.run(main())
