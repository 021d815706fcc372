"""A message's way through the compiled rooms takes no more instructions, interpreter's calls and memory than before.

Nothing here depends on time: the same code gives the same figures, within 2 %. Proven by hand: with one call of an
empty function that is not compiled in `Hub.publish`, all failed but the fan-out, where it is a hundredth of a call for
each delivery. `python -m tests.counted` writes the ceilings anew.
"""

from __future__ import annotations

import sys

import pytest

from tests.counted.ceilings import CEILINGS, Cost
from tests.counted.instructions import measure, read

MARGIN = 1.05
MARGIN_ELSEWHERE = 1.3
"""With another build of Python, the same work takes other instructions."""
BY_CHANCE = 0.02
"""Calls and allocations of a message: one more in 50 messages is not noticed."""


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    return measure(tmp_path_factory.mktemp("counted"))


@pytest.mark.process
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", CEILINGS.instructions)
def test_a_message_costs_no_more_than_it_did(costs: dict[str, Cost], name: str) -> None:
    cost, ceiling = costs[name], CEILINGS.instructions[name]
    margin = MARGIN if sys.version == CEILINGS.python else MARGIN_ELSEWHERE
    assert cost.instructions <= ceiling.instructions * margin
    assert cost.frames <= ceiling.frames * 1.02 + BY_CHANCE
    if sys.version == CEILINGS.python:
        assert cost.allocations <= ceiling.allocations * 1.02 + BY_CHANCE


@pytest.mark.process
@pytest.mark.timeout(400)
def test_every_workload_has_its_ceiling(costs: dict[str, Cost]) -> None:
    assert set(costs) == set(CEILINGS.instructions)
    assert all(cost.instructions > 100 for cost in costs.values()), "what is counted is not the work"


def test_what_callgrind_writes_is_read() -> None:
    name, cost = read(
        "desc: Trigger: Client Request: 1 to 1\n"
        "fn=CPyDef_hub___Hub___publish\n12 30\n"
        "cfn=_PyEval_EvalFrameDefault'2\ncalls=3 20\n12 4000\n"
        "cfn=_PyObject_Malloc\ncalls=20 20\n12 600\n"
        "cfn=_PyObject_Free\ncalls=20 20\n12 600\n"
        "summary: 5230\n",
        {"1 to 1": 10},
    )
    assert (name, cost) == ("1 to 1", Cost(523.0, 0.3, 2.0))
