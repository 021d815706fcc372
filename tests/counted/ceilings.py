"""What the counted work may cost at most: `ceilings.json`, beside this file; `python -m tests.counted` writes it anew.

It is to be written anew when something costs less than before, and when a change is worth what it costs: the commit
then shows both.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.counted.system_calls import Calls

PATH = Path(__file__).with_name("ceilings.json")


class Cost(msgspec.Struct, frozen=True):
    """What one delivered message costs in the rooms."""

    instructions: float
    frames: float
    """Calls of the interpreter."""
    allocations: float
    """Pieces of memory; 0 where this Python does not let them be told apart."""


class Ceilings(msgspec.Struct, frozen=True):
    """The figures, and where they come from."""

    python: str
    """The interpreter whose instructions were counted: another build of it has others."""
    instructions: dict[str, Cost]
    """For one delivered message."""
    system_calls: dict[str, Calls]
    """For one batch."""


def load() -> Ceilings:
    """Read the figures."""
    return msgspec.json.decode(PATH.read_bytes(), type=Ceilings) if PATH.exists() else Ceilings("", {}, {})


CEILINGS = load()
