"""`lockgate policy role`: rules under one name, held by devices and groups."""

from __future__ import annotations

import pytest

from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _sensor(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "password")


def may_publish(lockgate: CommandLine, topic: str) -> bool:
    return lockgate("policy", "explain", "sensor", "publish", topic).code == 0


def test_a_role_brings_its_rules_to_those_who_hold_it(lockgate: CommandLine) -> None:
    assert lockgate.does("policy", "role", "add", "writer").out == "added the role writer\n"
    lockgate.does("policy", "allow", "--role", "writer", "--publish", "out", "--max-payload", "9")
    assert not may_publish(lockgate, "out")
    said = lockgate.does("policy", "role", "grant", "writer", "--device", "sensor", "--group", "floor1").out
    assert said == "granted writer to device:sensor\ngranted writer to group:floor1\n"
    assert may_publish(lockgate, "out")
    done = lockgate("policy", "explain", "sensor", "publish", "out", "--payload", "10")
    assert (done.code, "role:writer: allow publish out up to 9 bytes (rule 1)" in done.out) == (1, True)
    assert lockgate.does("policy", "role", "revoke", "writer", "--device", "sensor").out.startswith("revoked writer")
    assert not may_publish(lockgate, "out")
    lockgate.does("policy", "join", "floor1", "sensor")
    assert may_publish(lockgate, "out")
    assert lockgate.does("policy", "role", "remove", "writer").out == "removed the role writer\n"
    assert not may_publish(lockgate, "out")
    assert lockgate.does("policy", "list", "--json").json() == []


def test_roles_are_listed_with_rules_and_holders(lockgate: CommandLine) -> None:
    assert "no roles yet" in lockgate.does("policy", "role", "list").out
    lockgate.does("policy", "role", "add", "writer")
    lockgate.does("policy", "allow", "--role", "writer", "--publish", "[red]x", "--publish", "y")
    lockgate.does("policy", "role", "grant", "writer", "--device", "sensor")
    out = lockgate.does("policy", "role", "list").out
    assert "allow publish [red]x (rule 1)" in out
    assert "device:sensor" in out
    (role,) = lockgate.does("policy", "role", "list", "--json").json()
    assert (role["role"], role["held_by"], len(role["rules"])) == ("writer", ["device:sensor"], 2)


def test_each_act_answers_as_json_too(lockgate: CommandLine) -> None:
    assert lockgate.does("policy", "role", "add", "r", "--json").json() == {"role": "r", "done": "added"}
    for verb, done in (("grant", "granted"), ("revoke", "revoked")):
        assert lockgate.does("policy", "role", verb, "r", "--group", "g", "--json").json() == [
            {"role": "r", "holder": "group:g", "done": done}
        ]
    assert lockgate.does("policy", "role", "remove", "r", "--json").json() == {"role": "r", "done": "removed"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "a/b"), "no valid role name"),
        (("add", "there"), "there is a role there already"),
        (("remove", "none"), "there is no role none"),
        (("grant", "none", "--group", "g"), "there is no role none"),
        (("grant", "there", "--device", "nobody"), "there is no device nobody"),
        (("grant", "there", "--group", "+"), "no valid group name"),
        (("revoke", "there", "--device", "sensor"), "does not hold the role"),
    ],
)
def test_what_cannot_be_is_refused(lockgate: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    lockgate.does("policy", "role", "add", "there")
    assert words in lockgate.refuses("policy", "role", *arguments)
    assert "there is no role none" in lockgate.refuses("policy", "allow", "--role", "none", "--publish", "x")


@pytest.mark.parametrize("arguments", [("grant", "r"), ("revoke", "r"), ("add",), ("grant", "--device", "sensor")])
def test_half_a_command_is_wrong_usage(lockgate: CommandLine, arguments: tuple[str, ...]) -> None:
    lockgate.misused("policy", "role", *arguments)
