"""A rule reads as a sentence."""

from __future__ import annotations

import pytest

from lockgate.model.permission import Effect, Operation, Rule


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule("everyone", Operation.RECEIVE, "a/#"), "everyone: allow receive a/# (built in)"),
        (Rule("device:s", Operation.PUBLISH, "a", id=7), "device:s: allow publish a (rule 7)"),
        (
            Rule("group:g", Operation.PUBLISH, "a", max_qos=1, retain=False, id=8),
            "group:g: allow publish a up to QoS 1 without retain (rule 8)",
        ),
        (
            Rule("device:s", Operation.RECEIVE, "a", Effect.DENY, retain=False, id=9),
            "device:s: deny receive a (rule 9)",
        ),
    ],
)
def test_a_rule_says_who_may_what_where_and_how_far(rule: Rule, sentence: str) -> None:
    assert str(rule) == sentence
