"""The `lockgate` command as a whole: help for everything, exit codes, and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest

from lockgate import __version__
from lockgate import cli as room
from lockgate.cli import COMMANDS, cli
from tests.support.cli import CommandLine


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


ALL = list(commands())


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "lockgate" for path, _ in ALL])
def test_help_says_what_a_command_does_and_explains_each_option(
    bare: CommandLine, path: tuple[str, ...], command: click.Command
) -> None:
    out = bare.does(*path, "--help").out
    assert bare.does(*path, "-h").out == out
    assert out.startswith(f"Usage: {' '.join(('lockgate', *path))} ")
    assert command.get_short_help_str(), path
    if isinstance(command, click.Group):
        told, context = " ".join(out.split()), click.Context(command)
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            assert verb is not None
            assert verb.hidden or " ".join(verb.get_short_help_str(4096).split()) in told
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, (path, option.name)
            assert all(name in out for name in option.opts)
        elif isinstance(option, click.Argument):
            assert option.make_metavar(click.Context(command)).strip("[].") in out


def test_the_version_is_told(bare: CommandLine) -> None:
    assert bare.does("--version").out.startswith(f"lockgate {__version__} (")


def test_a_command_is_imported_only_when_it_is_asked_for(bare: CommandLine) -> None:
    assert {path[0] for path, _ in ALL if path} == set(COMMANDS)
    bare.misused("fly")
    bare.misused("--fly")


def test_every_command_that_needs_a_home_says_that_there_is_none(bare: CommandLine) -> None:
    needing = [
        ("up",), ("why",), ("device", "list"), ("device", "show", "x"), ("device", "block", "x"), ("policy", "list"),
        ("policy", "explain", "x", "publish", "y"), ("policy", "allow", "--everyone", "--publish", "x"),
        ("policy", "remove", "1"), ("policy", "join", "g", "x"), ("policy", "leave", "g", "x"), ("server-cert", "show"),
        ("server-cert", "renew"), ("server-cert", "add-name", "x"), ("service", "install"),
        ("device", "add", "x", "--auth", "x509", "--out", "y"),
    ]  # fmt: skip
    for arguments in needing:
        assert f"there is no home at {bare.home}" in bare.refuses(*arguments)


def test_a_pipe_that_closes_early_is_no_error_to_talk_about(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(**_words: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(room, "cli", cut)
    monkeypatch.setattr(sys.stderr, "close", lambda: None)
    done = bare("why")
    assert (done.code, done.out, done.err) == (1, "", "")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), "error: /x/y: Permission denied"),
        (OSError("something"), "error: something"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_too(
    bare: CommandLine, monkeypatch: pytest.MonkeyPatch, error: OSError, sentence: str
) -> None:
    def fail(**_words: object) -> None:
        raise error

    monkeypatch.setattr(room, "cli", fail)
    assert bare.refuses("why").splitlines()[0] == sentence


def test_help_and_completion_tell_what_each_command_says_of_itself(bare: CommandLine) -> None:
    said = {path[0]: command.get_short_help_str(4096) for path, command in ALL if len(path) == 1}
    assert said == room.SHORT_HELP
