"""What all commands share: text made safe, times spelled out, errors in one sentence."""

from __future__ import annotations

import getpass
import importlib
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import render

from lockgate import __version__
from lockgate.cli import output
from lockgate.errors import LockgateError


@given(st.text())
def test_no_text_from_outside_steers_the_terminal(text: str) -> None:
    shown = output.safe(text)
    assert shown.isprintable()
    assert render(shown).plain.isprintable()
    assert text not in render(shown).plain or text.isprintable()


def test_times_are_spelled_in_utc() -> None:
    assert output.moment(0) == "1970-01-01 00:00:00 UTC"
    assert output.moment(None) == "never"


def test_the_actor_is_the_user_or_else_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    assert output.actor() == "anna (command line)"

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert output.actor().startswith("uid ")


@pytest.mark.parametrize(
    ("compiled", "words"),
    [(0, "pure Python"), (1, f"1 of {len(output.HOT_ROOMS)} hot rooms"), (99, "(hot rooms compiled by mypyc)")],
)
def test_the_version_says_which_build_runs(monkeypatch: pytest.MonkeyPatch, compiled: int, words: str) -> None:
    files = {name: "x.so" if number < compiled else "x.py" for number, name in enumerate(output.HOT_ROOMS)}
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(__file__=files[name]))
    line = output.version_line()
    assert line.startswith(f"lockgate {__version__} (")
    assert words in line


def test_lines_and_tables_are_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    made = output.table("one", "two")
    made.add_row("x" * 300, "y" * 300)
    output.console().print(made)
    output.console().print("z " * 300)
    out = capsys.readouterr().out
    assert "x" * 300 + "  " + "y" * 300 in out
    assert "z " * 299 in out


def test_a_terminal_keeps_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert not output.console().soft_wrap


@pytest.mark.parametrize("fix", ["", "do [this]"])
def test_an_error_ends_with_its_sentence_its_fix_and_code_1(capsys: pytest.CaptureFixture[str], fix: str) -> None:
    with pytest.raises(SystemExit) as caught:
        output.fail(LockgateError("it is [/] \x1b broken", fix=fix))
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["error: it is [/] \\x1b broken", *(["fix: do [this]"] if fix else [])]
