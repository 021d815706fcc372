"""The instructions, interpreter's calls and allocations of a message, counted by valgrind on the compiled build.

The work is that of `rooms.py`. Two runs differ by less than 2 %.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec

from tests.counted.ceilings import Cost

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "compiled" / "src"
RUN_SECONDS = 300
_CALLEE = re.compile(r"cfn=([^']+)(?:'\d+)?$")
_FRAMES = frozenset({"_PyEval_EvalFrameDefault"})
_ALLOCATIONS = frozenset({"_PyObject_Malloc", "_PyObject_Realloc", "_PyObject_Calloc"})
"""The allocator behind all of Python's; a Python without names of static functions hides it."""


def build() -> None:
    """Compile the hot rooms into `COMPILED`, unless they are."""
    subprocess.run([ROOT / "tools" / "compiled"], check=True)


def measure(folder: Path) -> dict[str, Cost]:
    """Run the work under valgrind in `folder`, and give what each workload's messages cost."""
    build()
    valgrind, compiler = shutil.which("valgrind"), shutil.which("cc")
    assert valgrind, "valgrind is missing: tools/peers installs it"
    assert compiler, "a C compiler is missing: tools/peers installs it"
    marks, done, output = folder / "marks.so", folder / "done.json", folder / "counted"
    source = Path(__file__).with_name("marks.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", marks, source], check=True)
    options = ("-q", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--compress-strings=no")
    work = (sys.executable, "-m", "tests.counted.rooms", str(marks), str(done))
    subprocess.run(
        [valgrind, *options, f"--callgrind-out-file={output}", *work],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(COMPILED), "PYTHONHASHSEED": "0"},
        timeout=RUN_SECONDS,
    )
    delivered = msgspec.json.decode(done.read_bytes(), type=dict[str, int])
    costs = dict(read(path.read_text(encoding="utf-8"), delivered) for path in sorted(folder.glob("counted.*")))
    assert set(costs) == set(delivered), "each workload writes its figures down"
    return costs


def read(text: str, delivered: dict[str, int]) -> tuple[str, Cost]:
    """Give a workload's name and what one of its messages costs, from what callgrind wrote of it."""
    name, instructions = "", 0
    calls: Counter[str] = Counter()
    callee = ""
    for line in text.splitlines():
        if line.startswith("cfn="):
            found = _CALLEE.match(line)
            callee = found[1] if found is not None else ""
        elif line.startswith("calls="):
            calls[callee] += int(line[6:].split()[0])
        elif line.startswith("desc: Trigger: Client Request: "):
            name = line.removeprefix("desc: Trigger: Client Request: ")
        elif line.startswith("summary: "):
            instructions = int(line[9:])
    frames, allocations = (sum(calls[each] for each in names) for names in (_FRAMES, _ALLOCATIONS))
    messages = delivered[name]
    return name, Cost(*(round(figure / messages, 3) for figure in (instructions, frames, allocations)))
