"""Rules: each one that reaches too far, or nowhere, is seen by its check, and removed by its fix."""

from __future__ import annotations

import pytest

from tests.support.scan import Examined


def rule(home: Examined, *words: str) -> None:
    home.lockgate.does("policy", *words)


@pytest.mark.parametrize("topic", ["#", "+/#", "devices/#", "devices/+/set", "+/+/set", "devices/lamp/set"])
def test_publishing_into_all_trees_for_everyone_is_severe(home: Examined, topic: str) -> None:
    rule(home, "allow", "--everyone", "--publish", topic, "--no-retain")
    found = home.sees_only("LG-RULE-001")
    assert topic in found.text
    home.mends(found)


@pytest.mark.parametrize("topic", ["Office/#", "devices/${device}/x", "news", "$share/x"])
def test_publishing_on_shared_topics_is_no_finding(home: Examined, topic: str) -> None:
    rule(home, "allow", "--everyone", "--publish", topic, "--no-retain")
    assert home.find("LG-RULE-001") == []


def test_receiving_from_all_trees_for_everyone_is_seen(home: Examined) -> None:
    rule(home, "allow", "--everyone", "--receive", "devices/+/state")
    home.mends(home.sees_only("LG-RULE-002"))


def test_a_device_that_steers_all_is_seen(home: Examined) -> None:
    home.lockgate.adds("steward", "jwt-es256", "--publish", "devices/+/set")
    home.mends(home.sees_only("LG-RULE-003"))


def test_a_devices_own_tree_by_its_name_is_no_finding(home: Examined) -> None:
    home.lockgate.adds("steward", "jwt-es256", "--publish", "devices/steward/#", "--receive", "devices/+/state")
    assert home.find("LG-RULE-003") == []
    assert home.find("LG-RULE-004") == []


def test_a_device_that_hears_everything_is_seen(home: Examined) -> None:
    home.lockgate.adds("recorder", "jwt-es256", "--receive", "#")
    home.mends(home.sees_only("LG-RULE-004"))


def test_a_denial_of_what_nothing_allows_is_seen(home: Examined) -> None:
    rule(home, "deny", "--everyone", "--publish", "Office/secret")
    home.mends(home.sees_only("LG-RULE-005"))


def test_a_rule_that_a_denial_covers_is_seen(home: Examined) -> None:
    home.lockgate.adds("lamp", "jwt-es256", "--publish", "Office/lamp")
    rule(home, "deny", "--everyone", "--publish", "Office/#")
    found = home.sees_only("LG-RULE-005")
    assert "Office/#" in found.text
    home.mends(found)


def test_a_denial_inside_an_allowance_is_no_finding(home: Examined) -> None:
    home.lockgate.adds("lamp", "jwt-es256", "--publish", "Office/#")
    rule(home, "deny", "--everyone", "--publish", "Office/secret/#")
    rule(home, "deny", "--everyone", "--receive", "devices/+/secret")
    assert home.find("LG-RULE-005") == []


def test_a_rule_about_an_empty_group_is_seen(home: Examined) -> None:
    rule(home, "allow", "--group", "nobodies", "--publish", "Office/x")
    home.mends(home.sees_only("LG-RULE-006"))


def test_retaining_on_shared_topics_for_everyone_is_seen(home: Examined) -> None:
    rule(home, "allow", "--everyone", "--publish", "Office/board")
    found = home.sees_only("LG-RULE-007")
    first, second = found.fix.split(" && ")
    home.lockgate.does(*first.split()[1:])
    home.lockgate.does(*second.split()[1:])
    assert home.find("LG-RULE-007") == []


def test_the_hubs_own_topics_for_everyone_are_seen(home: Examined) -> None:
    rule(home, "allow", "--everyone", "--receive", "$SYS/#")
    home.mends(home.sees_only("LG-RULE-008"))


def test_a_role_that_nobody_holds_is_seen(home: Examined) -> None:
    home.lockgate.adds("lamp")
    for name in ("speaker", "listener"):
        home.lockgate.does("policy", "role", "add", name)
    home.lockgate.does("policy", "role", "grant", "speaker", "--device", "lamp")
    found = home.sees_only("LG-RULE-010")
    assert found.text == "listener"
    home.mends(found)


def test_rules_of_a_blocked_device_are_seen(home: Examined) -> None:
    home.lockgate.adds("lamp", "jwt-es256", "--publish", "Office/lamp")
    home.lockgate.does("device", "block", "lamp")
    home.mends(home.sees_only("LG-RULE-009"))
