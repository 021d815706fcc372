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
            Rule("group:g", Operation.PUBLISH, "a", qos=(0, 1), retain=False, id=8),
            "group:g: allow publish a up to QoS 1 without retain (rule 8)",
        ),
        (
            Rule("role:r", Operation.PUBLISH, "a", qos=(1, 2), max_payload_bytes=9, messages_per_second=0.5, id=1),
            "role:r: allow publish a at QoS 1 and 2 up to 9 bytes at 0.5 messages per second (rule 1)",
        ),
        (
            Rule("everyone", Operation.RECEIVE, "a", qos=(), retain=False),
            "everyone: allow receive a at no QoS (built in)",
        ),
        (
            Rule("device:s", Operation.RECEIVE, "a", Effect.DENY, retain=False, id=9),
            "device:s: deny receive a (rule 9)",
        ),
    ],
)
def test_a_rule_says_who_may_what_where_and_how_far(rule: Rule, sentence: str) -> None:
    assert str(rule) == sentence


def test_two_rules_that_say_the_same_have_the_same_content() -> None:
    one, other = (Rule("everyone", Operation.PUBLISH, "a", qos=(0, 1), id=number) for number in (1, 2))
    assert one != other
    assert one.content == other.content
    assert one.sentence == other.sentence == "everyone: allow publish a up to QoS 1"
