"""The examples: each is started, spoken to and stopped, with the devices that its README makes."""

from __future__ import annotations

import ast
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.client import Device
from lockgate.errors import NotAuthorized
from tests.support.hub import RunningHub, run_lockgate

OFFICE = Path(__file__).parents[2] / "examples" / "office"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the devices of the office, whose hub runs."""
    folder = tmp_path_factory.mktemp("office")
    with RunningHub(folder) as hub:
        for block in BLOCK.findall((OFFICE / "README.md").read_text(encoding="utf-8")):
            for line in block.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "lockgate"
                out = arguments.index("--out") + 1
                arguments[out] = str(folder / arguments[out])
                run_lockgate(*arguments, home=hub.home)
        yield folder


@contextmanager
def running(program: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start one of the programs; stop it as Ctrl-C does."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, str(OFFICE / program), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background may ignore it
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
    assert process.returncode == 0, said.decode()
    assert said.decode().endswith("goodbye\n")


@pytest.mark.requirement("Q2", "O6")
def test_people_are_warned_when_the_meeting_room_is_too_warm(office: Path) -> None:
    warnings: queue.Queue[str] = queue.Queue()
    with Device.open(office / "phone") as phone:
        phone.subscribe("Office/+/Warning", lambda message: warnings.put(message.payload.decode()))
        with running("control.py", office / "control"), running("sensor.py", office / "sensor"):
            assert warnings.get(timeout=30).endswith("degrees: open a window")


def test_phone_may_not_hear_the_temperature_itself(office: Path) -> None:
    with Device.open(office / "phone") as phone, pytest.raises(NotAuthorized, match="no rule allows it"):
        phone.subscribe("Office/#", lambda _: None)


@pytest.mark.requirement("Q20")
@pytest.mark.parametrize("program", ["sensor.py", "control.py"])
def test_program_of_a_device_has_at_most_ten_statements_besides_imports(program: str) -> None:
    statements = [
        node
        for node in ast.walk(ast.parse((OFFICE / program).read_text(encoding="utf-8")))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom)
    ]
    docstrings = 2 if program == "control.py" else 1
    assert len(statements) - docstrings <= 10
