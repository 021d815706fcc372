"""What commands that change the registry share."""

from __future__ import annotations

from lockgate.cli.acts import registrar_of
from lockgate.home import Home
from tests.support.cli import CommandLine


def test_a_command_acts_in_the_name_of_who_runs_it(lockgate: CommandLine) -> None:
    with registrar_of(lockgate.home) as registrar:
        registrar.add_group("g")
    with Home.open(lockgate.home).registry(read_only=True) as registry:
        assert registry.audit()[-1].actor.endswith("(command line)")


def test_an_act_ends_at_the_first_name_that_cannot_be(lockgate: CommandLine) -> None:
    lockgate.does("group", "add", "one")
    done = lockgate("group", "block", "one", "two")
    assert (done.code, done.out.split()) == (1, ["blocked", "one"])
    assert "no group two" in done.err
