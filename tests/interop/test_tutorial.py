"""The tutorials, run as they are printed: line by line, in a fresh folder, with nothing but a shell."""

from __future__ import annotations

import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.hub import eventually

ROOT = Path(__file__).parents[2]
LINE_SECONDS = 60.0
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Terminal:
    """A shell in a folder of its own, with a fresh home directory and lockgate on its path."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "person"
        self.home.mkdir()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOCKGATE")}
        environment["HOME"] = str(self.home)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=environment,
            start_new_session=True,
        )
        self.shown = ""
        self._count = 0

    def run(self, line: str) -> int:
        """Type one line; give its exit code when the prompt is back."""
        assert self._shell.stdin is not None
        self._count += 1
        mark = f"prompt-{self._count}-"
        self._shell.stdin.write(f"{line}\necho {mark}$?\n".encode())
        self._shell.stdin.flush()
        deadline = time.monotonic() + LINE_SECONDS
        while not (found := re.search(rf"^{mark}(\d+)$", self.shown, re.MULTILINE)):
            assert self._read(deadline), f"no prompt after: {line}\n{self.shown}"
        return int(found[1])

    def close(self) -> None:
        """End the shell and whatever it still runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        for stream in (self._shell.stdin, self._shell.stdout):
            if stream is not None:
                stream.close()

    def _read(self, deadline: float) -> bool:
        assert self._shell.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._shell.stdout, selectors.EVENT_READ)
            if not selector.select(deadline - time.monotonic()):
                return False
        data = os.read(self._shell.stdout.fileno(), 65_536)
        self.shown += data.decode()
        return bool(data)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.close()


def lines_of(page: str) -> list[str]:
    """Give the lines that a page tells a person to type."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [block for block in BLOCK.findall(text) if "make " not in block]
    return [line for block in blocks for line in block.splitlines() if line]


def on_a_free_port(lines: list[str]) -> list[str]:
    """Give the lines as printed but for the port: another hub of this machine may want the printed one meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return [line.replace("8883", str(port)) for line in lines]


@pytest.mark.requirement("F20")
@pytest.mark.parametrize(
    ("page", "also"),
    [("README.md", []), ("docs/start/tutorial.md", ["Not authorized", "yes: office receive Office/+/Temperature"])],
)
def test_tutorial_brings_the_first_message_as_it_is_printed(page: str, also: list[str], terminal: Terminal) -> None:
    assert shutil.which("mosquitto_pub"), "the tutorial needs mosquitto_pub: tools/peers installs it"
    for line in on_a_free_port(lines_of(page)):
        assert terminal.run(line) == 0, f"{line}\n{terminal.shown}"
    assert "\nOffice/Meetingroom/Temperature 21.5\n" in terminal.shown
    for text in also:
        assert text in terminal.shown
    doors = terminal.home / "first-hub" / "lockgate-home" / "run" / "doors.json"
    eventually(lambda: not doors.exists(), 15, "the end of the hub")


def test_readme_tutorial_has_at_most_ten_lines_and_nothing_insecure() -> None:
    lines = lines_of("README.md")
    assert 0 < len(lines) <= 10
    assert not any("insecure" in word for line in lines for word in shlex.split(line))
