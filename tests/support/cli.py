"""The command line in this process: arguments in, exit code and both streams out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockgate.cli import main


class Done(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Give what --json printed."""
        assert self.code in (0, 1), self
        return msgspec.json.decode(self.out)


class CommandLine:
    """Runs `lockgate ...` on the home `home`, by way of `main`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv("LOCKGATE_HOME", str(self.home))

    def __call__(self, *arguments: str | Path) -> Done:
        """Run a command."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["lockgate", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        assert code is None or isinstance(code, int), code
        out, err = self._capsys.readouterr()
        return Done(code or 0, out, err)

    def does(self, *arguments: str | Path) -> Done:
        """Run a command that must succeed."""
        done = self(*arguments)
        assert (done.code, done.err) == (0, ""), done
        return done

    def refuses(self, *arguments: str | Path, fix: bool = True) -> str:
        """Run a command that must fail with one sentence (and a line that says what mends it); give the sentence."""
        done = self(*arguments)
        assert (done.code, done.out) == (1, ""), done
        lines = done.err.splitlines()
        assert lines[0].startswith("error: "), done
        assert len(lines) == 1 + fix, done
        assert not fix or lines[1].startswith("fix: "), done
        assert lines[0].removeprefix("error: ").strip(), done
        return done.err

    def misused(self, *arguments: str | Path) -> str:
        """Run a command that is used wrongly; give what it said."""
        done = self(*arguments)
        assert (done.code, done.out) == (2, ""), done
        assert [line for line in done.err.splitlines() if line.startswith("Error: ")], done
        assert "Traceback" not in done.err
        return done.err

    def makes_home(self) -> CommandLine:
        """Make the home."""
        self.does("init", "--name", "hub.example", "--name", "127.0.0.1")
        return self

    def adds(self, name: str, auth: str = "jwt-es256", *options: str) -> Path:
        """Add a device; give its folder."""
        out = self.folder / f"device-{name}"
        self.does("device", "add", name, "--auth", auth, "--out", out, *options)
        return out
