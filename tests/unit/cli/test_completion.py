"""`lockgate completion`: a script for each shell, and what it completes."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from lockgate.cli import COMMANDS, cli
from tests.support.cli import CommandLine


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o nosort -F"),
        ("zsh", "#compdef lockgate"),
        ("fish", "complete --no-files --command lockgate"),
    ],
)
def test_each_shell_gets_its_script(bare: CommandLine, shell: str, words: str) -> None:
    out = bare.does("completion", shell).out
    assert words in out
    assert "_LOCKGATE_COMPLETE" in out


def test_another_shell_is_wrong_usage(bare: CommandLine) -> None:
    bare.misused("completion", "tcsh")
    bare.misused("completion")


def test_commands_and_choices_are_completed() -> None:
    shell = ShellComplete(cli, {}, "lockgate", "_LOCKGATE_COMPLETE")
    assert {item.value for item in shell.get_completions([], "")} == set(COMMANDS)
    assert {item.value for item in shell.get_completions(["device"], "")} >= {"add", "block", "list", "token"}
    assert {item.value for item in shell.get_completions(["device", "add", "--auth"], "jwt")} == {
        "jwt-eddsa",
        "jwt-es256",
        "jwt-rs256",
    }
