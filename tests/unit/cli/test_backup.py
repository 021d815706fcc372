"""`lockgate backup` and `restore`: where the passphrase comes from, and what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from lockgate.cli import backup as room
from tests.support.cli import CommandLine


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(tmp_path, monkeypatch, capsys).makes_home()
    line.adds("sensor")
    return line


def test_a_backup_is_restored_with_the_passphrase_of_a_file(line: CommandLine, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery\n")
    file = tmp_path / "b"
    facts = line.does("backup", file, "--passphrase-file", phrase, "--json").json()
    assert (facts["file"], facts["with_ca_keys"]) == (str(file), True)
    again = tmp_path / "again"
    told = line.does("restore", file, "--home", again, "--passphrase-file", phrase).out
    assert "restored" in told
    assert "lockgate up" in told
    assert [d["name"] for d in line.does("device", "list", "--home", again, "--json").json()] == ["sensor"]
    assert "is there already" in line.refuses("restore", file, "--home", again, "--passphrase-file", phrase)


def test_the_passphrase_may_stand_in_the_environment(
    line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no passphrase" in line.refuses("backup", tmp_path / "b")
    monkeypatch.setenv(room.VARIABLE, "correct horse battery")
    assert "elsewhere" in line.does("backup", tmp_path / "b", "--without-ca-keys").out
    assert "issuing.key" in line.does("restore", tmp_path / "b", "--home", tmp_path / "again").out
    facts = line.does("restore", tmp_path / "b", "--home", tmp_path / "third", "--json").json()
    assert (facts["has_ca_keys"], facts["names"]) == (False, ["hub.example", "127.0.0.1"])


def test_an_empty_passphrase_file_is_no_passphrase(line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "phrase").touch()
    assert "empty" in line.refuses("backup", tmp_path / "b", "--passphrase-file", tmp_path / "phrase")


def test_on_a_terminal_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.delenv(room.VARIABLE, raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    def prompt(text: str, hide_input: bool, confirmation_prompt: bool, err: bool) -> str:
        assert hide_input
        assert err
        asked.append((text, confirmation_prompt))
        return "correct horse battery"

    monkeypatch.setattr(click, "prompt", prompt)
    assert room.read_passphrase(None, is_new=True) == room.read_passphrase(None, is_new=False)
    assert [again for _, again in asked] == [True, False]
