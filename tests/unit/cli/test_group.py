"""`lockgate group`: devices together, shut out together."""

from __future__ import annotations

from tests.support.cli import CommandLine


def test_a_group_is_made_filled_shown_and_removed(lockgate: CommandLine) -> None:
    assert "no groups yet" in lockgate.does("group", "list").out
    lockgate.does("group", "add", "floor1")
    for name in ("one", "two"):
        lockgate.adds(name)
    assert lockgate.does("group", "join", "floor1", "one", "two").out.count("floor1") == 2
    lockgate.does("policy", "allow", "--group", "floor1", "--publish", "floor/#")
    shown = lockgate.does("group", "show", "floor1")
    assert "devices: one, two" in shown.out
    assert "floor/#" in shown.out
    facts = lockgate.does("group", "show", "floor1", "--json").json()
    assert (facts["devices"], facts["is_blocked"], len(facts["rules"])) == (["one", "two"], False, 1)
    lockgate.does("group", "leave", "floor1", "two")
    assert lockgate.does("group", "list", "--json").json()[0]["devices"] == ["one"]
    lockgate.does("group", "remove", "floor1")
    assert lockgate.does("group", "list", "--json").json() == []
    assert "no group" in lockgate.refuses("group", "show", "floor1")


def test_a_blocked_group_shows_at_its_devices(lockgate: CommandLine) -> None:
    lockgate.adds("one", "jwt-es256", "--group", "g")
    done = lockgate.does("group", "block", "g", "--json").json()
    assert done == [{"group": "g", "done": "blocked"}]
    assert "blocked" in lockgate.does("group", "list").out
    assert "group blocked" in lockgate.does("device", "list").out
    assert "blocked by the groups: g" in lockgate.does("device", "show", "one").out
    lockgate.refuses("group", "remove", "g")
    lockgate.does("group", "unblock", "g")
    assert "good" in lockgate.does("device", "list").out
    lockgate.does("group", "revoke", "g")
    assert "revoked" in lockgate.does("device", "list").out
