"""`python -m tests.counted` measures the counted work, and writes its figures down as the ceilings."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from tests.counted import ceilings, instructions
from tests.counted.test_system_calls import Gate
from tests.counted.traffic import WORKS


def main() -> None:
    """Measure, and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = instructions.measure(folder)
        with Gate(folder / "gate") as gate:
            calls = {work.name: gate.measure(work, folder) for work in WORKS}
    new = ceilings.Ceilings(sys.version, costs, calls)
    text = msgspec.json.format(msgspec.json.encode(new), indent=2).decode() + "\n"
    ceilings.PATH.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
