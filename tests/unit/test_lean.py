"""A short start: what is not loaded, and that nothing is different afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from lockgate.lean import load_structlog, without_collector

ALONE = """
import sys
from lockgate.lean import load_structlog
load_structlog()
assert "structlog" in sys.modules
assert not any(name.partition(".")[0] == "rich" for name in sys.modules)
import rich.console
from structlog.dev import ConsoleRenderer
print(ConsoleRenderer(colors=False)(None, "info", {"event": "hub.started", "devices": 3}))
"""
A_START = """
import sys
from lockgate.cli import cli
assert cli.get_command(None, "up").name == "up"
import lockgate.app
print([name for name in ("rich", "joserfc", "scramp", "websockets", "importlib.metadata") if name in sys.modules])
"""


def said_by(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_structlog_is_loaded_without_rich_and_both_work_afterwards() -> None:
    assert said_by(ALONE).split() == ["hub.started", "devices=3"]


def test_where_either_is_loaded_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    there = sys.modules["structlog"]
    load_structlog()
    assert sys.modules["structlog"] is there
    monkeypatch.delitem(sys.modules, "structlog")
    monkeypatch.setitem(sys.modules, "rich", gc)
    load_structlog()
    assert "structlog" not in sys.modules


def test_a_hub_loads_no_library_that_only_some_of_its_devices_need() -> None:
    assert said_by(A_START) == "[]"


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was_after_an_import(monkeypatch: pytest.MonkeyPatch, was_enabled: bool) -> None:
    (gc.enable if was_enabled else gc.disable)()
    try:
        assert without_collector("lockgate.lean") is sys.modules["lockgate.lean"]
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()
        gc.unfreeze()
