"""The conformance suite judges Debian's mosquitto: it passes all tests but those whose difference is written down."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.catalogue import HERE
from tests.support.hub import eventually
from tests.support.peers import WAIT_SECONDS, program

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(900)]

CONFIGURATION = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"


def mosquitto() -> str:
    """Give the path of the server; Debian puts it where only root's shell looks."""
    return next((path for path in ("/usr/sbin/mosquitto",) if Path(path).exists()), "") or program("mosquitto")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a mosquitto that runs as long as the test does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    (tmp_path / "mosquitto.conf").write_text(CONFIGURATION.format(port=number))
    process = subprocess.Popen([mosquitto(), "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(number), what="mosquitto")
        yield number
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_mosquitto_differs_only_where_the_list_says_so(port: int) -> None:
    said = subprocess.run([mosquitto(), "-h"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+)", said)
    assert found is not None, said
    name = f"mosquitto-{found[1]}"
    if not (HERE / "elsewhere" / f"{name}.toml").exists():
        pytest.skip(f"no list of differences for {name} in tests/conformance/elsewhere")
    command = [sys.executable, "-m", "pytest", str(HERE), "--hub", f"mqtt://127.0.0.1:{port}", "--elsewhere", name]
    done = subprocess.run([*command, "--tb=short"], capture_output=True, text=True, cwd=HERE.parents[1], check=False)
    assert done.returncode == 0, done.stdout
    assert "xfailed" in done.stdout
