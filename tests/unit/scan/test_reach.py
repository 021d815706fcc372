"""What filters reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.model.permission import Effect, Operation, Rule
from lockgate.policy.matching import takes_in
from lockgate.scan.reach import allowing, overlaps, reaches_everything, reaches_others
from lockgate.scan.subject import Subject


def rule(topic: str, subject: str = "everyone", effect: Effect = Effect.ALLOW) -> Rule:
    return Rule(subject, Operation.PUBLISH, topic, effect)


@pytest.mark.parametrize("topic", ["#", "+/#", "+/+", "devices/#", "devices/+", "devices/other/x", "+/other"])
def test_filters_that_reach_others(topic: str) -> None:
    assert reaches_others(rule(topic))


@pytest.mark.parametrize(
    "topic", ["devices/${device}/#", "devices/${client_id}/x", "devices", "+", "Office/#", "$SYS/#"]
)
def test_filters_that_do_not(topic: str) -> None:
    assert not reaches_others(rule(topic))


def test_a_devices_own_name_is_its_own_tree() -> None:
    assert not reaches_others(rule("devices/lamp/#", "device:lamp"))
    assert reaches_others(rule("devices/lamp/#", "device:valve"))


def test_everything_has_two_spellings() -> None:
    assert [t for t in ("#", "+/#", "+/+/#", "a/#") if reaches_everything(rule(t))] == ["#", "+/#"]


def test_allow_rules_are_told_apart_by_their_subject() -> None:
    one, all_, no = rule("a", "device:x"), rule("b"), rule("c", effect=Effect.DENY)
    subject = Subject(0.0, "x", rules=(one, all_, no))
    assert list(allowing(subject, Operation.PUBLISH, for_everyone=True)) == [all_]
    assert list(allowing(subject, Operation.PUBLISH, for_everyone=False)) == [one]
    assert list(allowing(subject, Operation.RECEIVE, for_everyone=True)) == []


LEVEL = st.sampled_from(["a", "b", "$SYS"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=3)
FILTER = st.tuples(st.lists(st.sampled_from(["a", "b", "+", "$SYS"]), min_size=1, max_size=3), st.booleans()).map(
    lambda drawn: [*drawn[0], "#"] if drawn[1] else drawn[0]
)


@given(FILTER, FILTER, TOPIC)
def test_two_filters_that_take_in_one_topic_overlap(one: list[str], other: list[str], topic: list[str]) -> None:
    if takes_in(tuple(one), topic) and takes_in(tuple(other), topic):
        assert overlaps(one, other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a/b", "a"), ("+/x", "y/z"), ("$SYS/#", "#"), ("+", "$SYS")])
def test_filters_apart_do_not_overlap(one: str, other: str) -> None:
    assert not overlaps(one.split("/"), other.split("/"))
    assert not overlaps(other.split("/"), one.split("/"))
