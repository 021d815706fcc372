"""`lockgate init`: a home from nothing, never over something."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lockgate.settings import load_settings
from tests.support.cli import CommandLine


def test_init_makes_a_home_and_says_what_comes_next(bare: CommandLine) -> None:
    done = bare.does("init", "--name", "hub.example")
    assert "made" in done.out
    assert "hub.example" in done.out
    assert f"lockgate up --home {bare.home}" in done.out
    for path in (bare.home, *bare.home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_init_as_json_names_home_names_and_port(bare: CommandLine) -> None:
    facts = bare.does("init", "--json", "--name", "hub.example", "--name", "10.0.0.7", "--port", "0").json()
    assert facts == {"home": str(bare.home), "names": ["hub.example", "10.0.0.7"], "port": 0}
    assert "port = 0" in (bare.home / "lockgate.toml").read_text()


def test_the_office_has_the_port_that_it_is_given(bare: CommandLine) -> None:
    bare.does("init", "--name", "hub.example", "--port", "0", "--office-port", "9443")
    settings = load_settings(bare.home / "lockgate.toml")
    assert (settings.office.port, settings.mqtt.port, settings.mqtt.websocket_port) == (9443, 0, 0)


def test_the_home_is_where_home_says_it_is(bare: CommandLine, tmp_path: Path) -> None:
    bare.does("init", "--name", "hub.example", "--home", tmp_path / "deep" / "other")
    assert (tmp_path / "deep" / "other" / "lockgate.toml").exists()
    assert not bare.home.exists()


def test_without_home_and_variable_it_is_lockgate_home_here(
    bare: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCKGATE_HOME")
    monkeypatch.chdir(tmp_path)
    done = bare.does("init", "--name", "hub.example")
    assert (tmp_path / "lockgate-home" / "lockgate.toml").exists()
    assert "--home" not in done.out


def test_a_second_init_changes_nothing(lockgate: CommandLine) -> None:
    before = (lockgate.home / "server.key").read_bytes()
    assert "is a home already" in lockgate.refuses("init", "--name", "hub.example")
    assert (lockgate.home / "server.key").read_bytes() == before


def test_init_takes_no_folder_that_holds_something_and_not_the_one_you_are_in(
    bare: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.home.mkdir()
    monkeypatch.chdir(bare.home)
    assert "is no home" in bare.refuses("init", "--name", "hub.example", "--home", ".")
    (bare.home / "letter.txt").write_text("dear")
    assert "is no home" in bare.refuses("init", "--name", "hub.example")
    assert os.listdir(bare.home) == ["letter.txt"]
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize("name", ["*.example", "http://hub", "", "a b", "fe80::1%eth0", "x" * 300, "hub\n.example"])
def test_a_name_that_no_certificate_can_hold_is_refused_and_nothing_is_left(bare: CommandLine, name: str) -> None:
    bare.refuses("init", "--name", name, fix=False)
    assert os.listdir(bare.folder) == []


def test_a_place_that_cannot_be_written_is_refused(bare: CommandLine) -> None:
    (bare.folder / "file").write_text("")
    assert "cannot be made" in bare.refuses("init", "--name", "hub.example", "--home", bare.folder / "file" / "home")
    assert "File name too long" in bare.refuses("init", "--name", "hub.example", "--home", bare.folder / ("x" * 300))


def test_a_home_that_is_a_file_or_a_port_that_is_none_is_wrong_usage(bare: CommandLine) -> None:
    (bare.folder / "file").write_text("")
    bare.misused("init", "--home", bare.folder / "file")
    bare.misused("init", "--port", "65536")
    bare.misused("init", "--port", "many")
