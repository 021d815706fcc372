"""Expectations: read from a file, asked of the policy, and compared with what it answers."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.policy.expectations import Outcome, WrittenRules, check, described_devices, read_expectations

RULES = (
    Rule("group:office", Operation.RECEIVE, "Office/#", id=1),
    Rule("role:writer", Operation.PUBLISH, "Office/${device}", Effect.ALLOW, (1, 2), False, 2, 9),
    Rule("everyone", Operation.RECEIVE, "Office/Safe/#", Effect.DENY, id=3),
    Rule("everyone", Operation.PUBLISH, "c/${client_id}", id=4),
)
ROLES = {"device:desk": ("writer",)}
DEVICES = '[[device]]\nname = "desk"\ngroups = ["office"]\n[[device]]\nname = "lamp"\ngateways = ["desk"]\n'


def ask(rows: str, head: str = DEVICES) -> list[Outcome]:
    expectations = read_expectations(f"{head}\n{rows}", "expect.toml")
    return check(expectations, WrittenRules(RULES, ROLES, described_devices(expectations)))


def row(**keys: object) -> str:
    values = {key: str(value).lower() if isinstance(value, bool) else repr(value) for key, value in keys.items()}
    return "[[expect]]\n" + "\n".join(f"{key} = {value}" for key, value in values.items())


@pytest.mark.parametrize(
    "keys",
    [
        {"device": "desk", "receive": "Office/x", "allowed": True, "rule": "group:office: allow receive"},
        {"device": "desk", "receive": "Office/#", "allowed": True},
        {"device": "desk", "receive": "Office/Safe/x", "allowed": False, "rule": "everyone: deny receive Office/Safe"},
        {"device": "other", "receive": "Office/x", "allowed": False},
        {"device": "desk", "publish": "Office/desk", "qos": 1, "allowed": True},
        {"device": "desk", "publish": "Office/desk", "qos": 0, "allowed": False},
        {"device": "desk", "publish": "Office/desk", "qos": 1, "retain": True, "allowed": False},
        {"device": "desk", "publish": "Office/desk", "qos": 1, "payload_bytes": 10, "allowed": False},
        {"device": "desk", "publish": "devices/lamp/x", "allowed": True},
        {"device": "other", "publish": "c/other/1", "client_id": "other/1", "allowed": True},
    ],
)
def test_an_expectation_is_met_when_the_answer_and_the_rule_are_those(keys: dict[str, object]) -> None:
    (outcome,) = ask(row(**keys))
    assert outcome.is_met, outcome
    (outcome,) = ask(row(**{**keys, "allowed": not keys["allowed"]}))
    assert not outcome.is_met
    (outcome,) = ask(row(**{**keys, "rule": "role:boss"}))
    assert not outcome.is_met


def test_an_outcome_says_what_came() -> None:
    (outcome,) = ask(row(device="desk", publish="elsewhere", allowed=True))
    assert (outcome.is_allowed, outcome.reason, outcome.rule) == (False, "no rule allows it", "")


def test_a_device_that_nobody_knows_is_denied() -> None:
    expectations = read_expectations(row(device="desk", publish="x", allowed=False), "x")
    (outcome,) = check(expectations, WrittenRules(RULES, ROLES, [Device("other")]))
    assert (outcome.is_met, outcome.reason) == (True, "the device is not registered")
    assert WrittenRules(RULES, ROLES, []).rules_for("nobody") == (RULES[2], RULES[3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "is no TOML"),
        ("", "missing required field `expect`"),
        (row(device="a", publish="x"), "missing required field `allowed` - at `$.expect[0]`"),
        (row(device="a", publish="x", allowed=True, quality=1), "unknown field `quality`"),
        (row(device="a", allowed=True), "expectation 1 needs either publish or receive"),
        (row(device="a", publish="x", receive="y", allowed=True), "needs either publish or receive"),
        (row(device="a", publish="x", qos=3, allowed=True), "qos is 0 to 2"),
        (row(device="a", publish="x", payload_bytes=-1, allowed=True), "not negative"),
    ],
)
def test_a_file_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read_expectations(text, "expect.toml")
    assert words in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("keys", [{"publish": "a/#"}, {"receive": "a/#/b"}])
def test_a_topic_that_is_none_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(LockgateError):
        ask(row(device="a", allowed=True, **keys))
