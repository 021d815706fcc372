"""Rules made ready: variables filled in without widening anything, and filters compared, proved by brute force."""

from __future__ import annotations

from itertools import product

import pytest

from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import filter_matches
from lockgate.policy.matching import ReadyRules, covers, make_ready, takes_in

NAMES = ["a", "b", "", "$x"]
TOPICS = [
    "/".join(levels) for count in (1, 2, 3, 4) for levels in product(NAMES, repeat=count) if any(levels) or count > 1
]


def _filters() -> list[str]:
    words = ["a", "$x", "+"]
    plain = [levels for count in (1, 2, 3) for levels in product(words, repeat=count)]
    return (
        ["#"]
        + ["/".join(levels) for levels in plain]
        + ["/".join((*levels, "#")) for levels in plain if len(levels) < 3]
    )


FILTERS = _filters()
TAKEN = {pattern: frozenset(topic for topic in TOPICS if filter_matches(pattern, topic)) for pattern in FILTERS}


def ready(pattern: str, client_id: str = "sensor", effect: Effect = Effect.ALLOW, device: str = "sensor") -> ReadyRules:
    rule = Rule("everyone", Operation.PUBLISH, pattern, effect)
    return make_ready((rule,), Principal(device, client_id, "x509"))


def levels(pattern: str, client_id: str = "sensor", effect: Effect = Effect.ALLOW) -> list[str]:
    made = ready(pattern, client_id, effect)
    return ["/".join(rule.levels) for rule in (*made.allow_publish, *made.deny_publish)]


def test_a_filter_takes_in_the_topics_that_the_standard_says() -> None:
    for pattern in FILTERS:
        taken = frozenset(topic for topic in TOPICS if takes_in(tuple(pattern.split("/")), topic.split("/")))
        assert taken == TAKEN[pattern], pattern


def test_a_filter_covers_another_exactly_when_it_takes_in_all_of_its_topics() -> None:
    for rule, asked in product(FILTERS, FILTERS):
        (made,) = ready(rule).allow_publish
        assert covers(made.levels, asked.split("/")) == (TAKEN[asked] <= TAKEN[rule]), (rule, asked)


def test_rules_are_sorted_by_operation_and_effect() -> None:
    rules = tuple(Rule("everyone", operation, "x", effect) for operation in Operation for effect in Effect)
    made = make_ready(rules, Principal("sensor", "sensor", "x509"))
    for operation in Operation:
        assert [(r.rule.operation, r.rule.effect) for r in made.denying(operation)] == [(operation, Effect.DENY)]
        assert [(r.rule.operation, r.rule.effect) for r in made.allowing(operation)] == [(operation, Effect.ALLOW)]


@pytest.mark.parametrize(
    ("pattern", "client_id", "filled"),
    [
        ("x/y", "sensor", "x/y"),
        ("devices/${device}/#", "sensor/1", "devices/sensor/#"),
        ("c/${client_id}/#", "sensor", "c/sensor/#"),
        ("c/${client_id}/#", "sensor/1", "c/sensor/1/#"),
        ("${device}/${client_id}/${device}", "sensor/1", "sensor/sensor/1/sensor"),
        ("c/${client_id}", "sensor/${device}", "c/sensor/${device}"),
    ],
)
def test_names_are_filled_in(pattern: str, client_id: str, filled: str) -> None:
    assert levels(pattern, client_id) == [filled]
    assert levels(pattern, client_id, Effect.DENY) == [filled]


@pytest.mark.parametrize(
    "client_id", ["", "+", "#", "sensor/#", "sensor/+", "sensor/a+", "sensor/a/b", "sensor/", "/sensor", "sensor//x"]
)
def test_a_client_id_with_wildcards_or_more_levels_opens_nothing_and_escapes_no_deny(client_id: str) -> None:
    assert levels("c/${client_id}/x", client_id) == []
    assert levels("c/${client_id}/x", client_id, Effect.DENY) == ["c/#"]
    assert levels("x/y", client_id) == ["x/y"]


@pytest.mark.parametrize("device", ["", "+", "#", "a/b", "a/#"])
def test_a_device_name_fills_one_level_or_nothing(device: str) -> None:
    assert ready("devices/${device}/#", device=device) == ReadyRules()
    (denied,) = ready("${device}/x", effect=Effect.DENY, device=device).deny_publish
    assert denied.levels == ("#",)
