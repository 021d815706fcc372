"""A fresh home to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import CommandLine
from tests.support.scan import Examined


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Examined:
    """Give a fresh home with its command line."""
    return Examined(CommandLine(tmp_path, monkeypatch, capsys).makes_home())
