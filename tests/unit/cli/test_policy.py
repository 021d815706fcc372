"""`lockgate policy`: rules made, listed, taken away, and asked why."""

from __future__ import annotations

import shlex

import pytest

from tests.support.cli import CommandLine


@pytest.fixture(autouse=True)
def _sensor(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "password")


def test_allow_and_deny_add_a_rule_for_each_filter(lockgate: CommandLine) -> None:
    out = lockgate.does(
        "policy", "allow", "--device", "sensor", "--publish", "a", "--publish", "b", "--receive", "c"
    ).out
    assert out.splitlines() == [
        "added device:sensor: allow publish a (rule 1)",
        "added device:sensor: allow publish b (rule 2)",
        "added device:sensor: allow receive c (rule 3)",
    ]
    (rule,) = lockgate.does("policy", "deny", "--everyone", "--receive", "secret/#", "--json").json()
    assert (rule["subject"], rule["effect"], rule["operation"], rule["id"]) == ("everyone", "deny", "receive", 4)
    (rule,) = lockgate.does("policy", "deny", "--group", "g", "--publish", "x", "--json").json()
    assert (rule["subject"], rule["effect"], rule["operation"]) == ("group:g", "deny", "publish")


def test_limits_are_kept_and_listed(lockgate: CommandLine) -> None:
    lockgate.does("policy", "allow", "--group", "g", "--publish", "a", "--max-qos", "1", "--no-retain")
    (rule,) = lockgate.does("policy", "list", "--json").json()
    assert (rule["subject"], rule["qos"], rule["retain"]) == ("group:g", [0, 1], False)
    assert lockgate.does("policy", "list").out.splitlines()[-1].split() == [
        "1",
        "group:g",
        "allow",
        "publish",
        "a",
        "0,1",
        "no",
    ]


def test_levels_sizes_and_rates_are_kept_and_listed(lockgate: CommandLine) -> None:
    limits = ("--qos", "2,1", "--max-payload", "100", "--rate", "2.5")
    lockgate.does("policy", "allow", "--everyone", "--publish", "a", "--receive", "b", *limits)
    lockgate.does("policy", "deny", "--everyone", "--publish", "c")
    first, second, _ = lockgate.does("policy", "list", "--json").json()
    assert [first[key] for key in ("qos", "retain", "max_payload_bytes", "messages_per_second")] == [
        [1, 2], True, 100, 2.5,
    ]  # fmt: skip
    assert (second["max_payload_bytes"], second["messages_per_second"]) == (100, None)
    lines = [line.split() for line in lockgate.does("policy", "list").out.splitlines()[-3:]]
    assert lines[0][-4:] == ["1,2", "yes", "100", "2.5/s"]
    assert lines[2][-1] == "c"


def test_the_built_in_rule_is_listed_too(lockgate: CommandLine) -> None:
    assert "devices/${device}/#" in lockgate.does("policy", "list").out
    assert lockgate.does("policy", "list", "--json").json() == []


def test_a_filter_with_markup_or_control_characters_is_shown_harmless(lockgate: CommandLine) -> None:
    lockgate.does("policy", "allow", "--everyone", "--publish", "[/x]\x1b[2J[red]")
    out = lockgate.does("policy", "list").out
    assert "[/x]\\x1b[2J[red]" in out
    assert "\x1b" not in out


def test_explain_says_yes_with_the_rule_and_no_with_the_fix(lockgate: CommandLine) -> None:
    done = lockgate.does("policy", "explain", "sensor", "publish", "devices/sensor/x")
    assert done.out.startswith("yes: sensor publish devices/sensor/x")
    done = lockgate("policy", "explain", "sensor", "publish", "out")
    assert done.code == 1
    assert done.out.startswith("no: sensor publish out: no rule allows it")
    assert "fix:  lockgate policy allow --device sensor --publish=out" in done.out
    lockgate.does("policy", "allow", "--device", "sensor", "--publish", "out", "--qos", "1", "--no-retain")
    lockgate.does("policy", "explain", "sensor", "publish", "out", "--qos", "1")
    assert lockgate("policy", "explain", "sensor", "publish", "out", "--qos", "2").code == 1
    assert lockgate("policy", "explain", "sensor", "publish", "out", "--retain").code == 1


def test_explain_as_json_is_the_same_answer(lockgate: CommandLine) -> None:
    done = lockgate("policy", "explain", "sensor", "receive", "a/#", "--json")
    assert done.code == 1
    assert done.json() == {
        "device": "sensor", "operation": "receive", "topic": "a/#", "is_allowed": False, "reason": "no rule allows it",
        "rule": None, "fix": "lockgate policy allow --device sensor '--receive=a/#'",
    }  # fmt: skip
    assert lockgate.does("policy", "explain", "sensor", "receive", "devices/sensor/#", "--json").json()["is_allowed"]


def test_explain_takes_the_client_id_and_the_standing_into_account(lockgate: CommandLine) -> None:
    lockgate.does("policy", "allow", "--everyone", "--publish", "c/${client_id}")
    lockgate.does("policy", "explain", "sensor", "publish", "c/sensor/1", "--client-id", "sensor/1")
    assert lockgate("policy", "explain", "sensor", "publish", "c/sensor/1").code == 1
    lockgate.does("device", "block", "sensor")
    assert "the device is blocked" in lockgate("policy", "explain", "sensor", "publish", "devices/sensor/x").out
    lockgate.does("device", "unblock", "sensor")
    lockgate.does("device", "revoke", "sensor")
    assert "credential is revoked" in lockgate("policy", "explain", "sensor", "publish", "devices/sensor/x").out


def test_what_explain_offers_as_a_fix_works(lockgate: CommandLine) -> None:
    fix = lockgate("policy", "explain", "sensor", "publish", "it's $1; x", "--json").json()["fix"]
    lockgate.does(*shlex.split(fix)[1:])
    lockgate.does("policy", "explain", "sensor", "publish", "it's $1; x")


def test_members_of_a_group_have_its_rules_until_they_leave(lockgate: CommandLine) -> None:
    lockgate.does("policy", "allow", "--group", "floor1", "--publish", "out")
    assert lockgate.does("policy", "join", "floor1", "sensor").out == "joined sensor to floor1\n"
    lockgate.does("policy", "explain", "sensor", "publish", "out")
    assert lockgate.does("policy", "leave", "floor1", "sensor").out == "took sensor out of floor1\n"
    assert lockgate("policy", "explain", "sensor", "publish", "out").code == 1
    assert "not in the group" in lockgate.refuses("policy", "leave", "floor1", "sensor")


def test_rules_are_removed_by_number(lockgate: CommandLine) -> None:
    lockgate.does("policy", "allow", "--everyone", "--publish", "a", "--publish", "b")
    assert lockgate.does("policy", "remove", "1", "2").out == "removed rule 1\nremoved rule 2\n"
    assert "there is no rule 1" in lockgate.refuses("policy", "remove", "1")


@pytest.mark.parametrize("option", ["--publish", "--receive"])
@pytest.mark.parametrize("text", ["", "a/#/b", "a+", "x/${groups}", "${", "+a"])
@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_a_filter_that_is_none_is_refused(lockgate: CommandLine, verb: str, option: str, text: str) -> None:
    lockgate.refuses("policy", verb, "--everyone", option, text)
    assert lockgate.does("policy", "list", "--json").json() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("allow", "--device", "nobody", "--publish", "x"), "there is no device nobody"),
        (("allow", "--group", "a/b", "--publish", "x"), "no valid group name"),
        (("allow", "--device", "", "--publish", "x"), "a rule is about"),
        (("explain", "nobody", "publish", "x"), "there is no device nobody"),
        (("join", "floor1", "nobody"), "there is no device nobody"),
        (("join", "+", "sensor"), "no valid group name"),
    ],
)
def test_an_unknown_subject_is_refused(lockgate: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    assert words in lockgate.refuses("policy", *arguments)


@pytest.mark.parametrize(
    ("operation", "topic"), [("publish", "a/#"), ("publish", ""), ("receive", "a/#/b"), ("receive", "")]
)
def test_explain_refuses_what_is_no_topic(lockgate: CommandLine, operation: str, topic: str) -> None:
    lockgate.refuses("policy", "explain", "sensor", operation, topic)


@pytest.mark.parametrize(
    "arguments",
    [
        ("allow", "--publish", "x"),
        ("allow", "--everyone", "--group", "g", "--publish", "x"),
        ("allow", "--everyone"),
        ("deny", "--device", "a", "--everyone", "--publish", "x"),
        ("deny", "--everyone"),
        ("allow", "--everyone", "--publish", "x", "--qos", "3"),
        ("allow", "--everyone", "--publish", "x", "--qos", ""),
        ("allow", "--everyone", "--publish", "x", "--rate", "0"),
        ("allow", "--everyone", "--receive", "x", "--rate", "1"),
        ("allow", "--everyone", "--role", "r", "--publish", "x"),
        ("remove",),
        ("remove", "one"),
        ("explain", "sensor", "fly", "x"),
        ("join", "floor1"),
        ("leave",),
    ],
)
def test_half_a_command_is_wrong_usage(lockgate: CommandLine, arguments: tuple[str, ...]) -> None:
    lockgate.misused("policy", *arguments)
