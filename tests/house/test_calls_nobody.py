"""The hub calls nobody: what could open a connection stands in few rooms, none of them the gate's or the office's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lockgate"
MODULES = {"http.client", "urllib.request", "ftplib", "smtplib", "telnetlib", "httpx", "requests", "aiohttp", "paho"}
CALLS = re.compile(r"\b(?:create_connection|open_connection|open_unix_connection|connect_ex|urlopen|sock_connect)\b")
ALLOWED = {
    "cli/demo/eavesdrop.py": "the demonstration's clients, on this machine",
    "cli/demo/scene.py": "the demonstration's clients, on this machine",
    "client/device.py": "the device's side",
    "client/enrolment.py": "the device's side",
    "net/probe.py": "the scanner tries the hub's own doors",
}
WITHIN = {"net/local.py"}
"""Rooms that connect by a file of this machine, and by nothing else."""
RUNNING = (
    "app.py", "office.py", "clerk.py", "supervision.py", "api", "ca", "adapters", "hub", "identity", "policy",
    "registry", "store",
)  # fmt: skip


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{name.name}" for name in node.names))


def can_call_out(text: str) -> bool:
    names = set(imported(ast.parse(text)))
    return bool(CALLS.search(text)) or any(n == m or n.startswith(f"{m}.") for n in names for m in MODULES)


@pytest.mark.requirement("O7")
def test_only_the_rooms_named_here_can_open_a_connection() -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if can_call_out(path.read_text())}
    assert found == set(ALLOWED) | WITHIN


@pytest.mark.requirement("O7")
def test_what_connects_on_this_machine_does_so_by_files_alone() -> None:
    for room in WITHIN:
        text = (SOURCE / room).read_text()
        assert set(re.findall(r"AF_[A-Z0-9]+", text)) == {"AF_UNIX"}, room
        assert "open_connection" not in text, room
        assert text.count("socket.socket(") == text.count("socket.socket(socket.AF_UNIX"), room


@pytest.mark.requirement("O7")
def test_nothing_that_gate_or_office_run_imports_one_of_them() -> None:
    callers = {f"lockgate.{room.removesuffix('.py').replace('/', '.')}" for room in ALLOWED}
    for place in RUNNING:
        path = SOURCE / place
        for each in [path] if path.is_file() else sorted(path.rglob("*.py")):
            assert callers.isdisjoint(imported(ast.parse(each.read_text()))), each


def test_what_calls_out_is_seen() -> None:
    assert can_call_out("from http.client import HTTPSConnection")
    assert can_call_out("import urllib.request")
    assert can_call_out("reader, writer = await asyncio.open_connection(host, port)")
    assert not can_call_out("import urllib.parse\nimport http")
