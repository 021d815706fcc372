"""A command line on a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import CommandLine


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Give a command line without a home."""
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def lockgate(bare: CommandLine) -> CommandLine:
    """Give a command line with a fresh home."""
    return bare.makes_home()
