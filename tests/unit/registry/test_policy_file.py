"""The policy as a file: what is written is read back, errors name the line and the key, and changes are minimal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidSettings
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.registry.policy_file import Document, describe, plan, read_policy, write_policy
from lockgate.store.rules import Held, PolicyChange

PUBLISH, RECEIVE = Operation.PUBLISH, Operation.RECEIVE
FULL = Rule("role:r.1", PUBLISH, 'a/"${group}"/\x7f\\/+', Effect.ALLOW, (0, 2), False, 3, 0, 0.5)
DENY = Rule("everyone", RECEIVE, "secret/#", Effect.DENY, id=4)
TEXT = """\
# What devices may. `lockgate policy export` writes this form, and `lockgate policy import` reads it.
version = 1

[roles]
empty = []
"r.1" = ["device:a", "group:g"]

[[rule]]
for = "everyone"
deny = "receive"
topic = "secret/#"

[[rule]]
for = "role:r.1"
allow = "publish"
topic = "a/\\"${group}\\"/\\u007F\\\\/+"
qos = [0, 2]
retain = false
max_payload_bytes = 0
messages_per_second = 0.5
"""


def test_a_policy_has_one_form_whatever_its_order() -> None:
    held = (Held("r.1", "group:g"), Held("r.1", "device:a"))
    for rules in ((FULL, DENY), (DENY, FULL)):
        assert write_policy(Document(rules, ("r.1", "empty"), held)) == TEXT
    read = read_policy(TEXT, "policy.toml")
    assert read == Document((DENY.content, FULL.content), ("empty", "r.1"), tuple(sorted(held)))
    assert read_policy(write_policy(Document()), "x") == Document()


LEVEL = st.text(st.characters(codec="utf-8", exclude_characters="+#/\x00$"), max_size=4)
RULES = st.builds(
    Rule,
    st.sampled_from(["everyone", "device:a", "group:a.b", "role:r"]),
    st.sampled_from(Operation),
    st.lists(LEVEL | st.sampled_from(["+", "${device}", "${group}", "${client_id}", "$x"]), min_size=1, max_size=4).map(
        lambda levels: "/".join(levels) or "x"
    ),
    st.just(Effect.DENY),
) | st.builds(
    Rule,
    st.sampled_from(["everyone", "device:a", "group:a.b", "role:r"]),
    st.just(PUBLISH),
    st.lists(LEVEL, min_size=1, max_size=4).map(lambda levels: "/".join([*levels, "#"])),
    st.just(Effect.ALLOW),
    st.sets(st.integers(0, 2), min_size=1).map(lambda levels: tuple(sorted(levels))),
    st.booleans(),
    st.just(0),
    st.none() | st.integers(0, 268_435_455),
    st.none() | st.floats(1e-6, 1e9),
)


@given(st.lists(RULES, max_size=6))
def test_whatever_is_written_is_read_back(rules: list[Rule]) -> None:
    document = Document(tuple(rules), ("r",))
    read = read_policy(write_policy(document), "x")
    assert sorted(map(str, read.rules)) == sorted(map(str, rules))
    assert plan(document, read, True).is_empty
    assert write_policy(read) == write_policy(document)


RULE = '[[rule]]\nfor = "everyone"\nallow = "publish"\ntopic = "x"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "is no TOML"),
        ("", "version is None"),
        ("version = 2", "version is 2"),
        ("version = 1\nrules = []", "unknown key rules"),
        ("version = 1\nrule = 3", "rule is no list"),
        (f"version = 1\n{RULE}\n{RULE}qoss = [1]", "rule 2 (line 7): unknown key qoss"),
        (f"version = 1\n{RULE}zzzzz = 1", "rule 1 (line 2): unknown key zzzzz"),
        (f"version = 1\n{RULE}qos = [3]", "rule 1 (line 2): a rule's QoS levels"),
        (f'version = 1\n{RULE}qos = "1"', "rule 1 (line 2): qos: Expected `array`"),
        (f'version = 1\n{RULE}deny = "publish"', "either allow or deny"),
        ('version = 1\nrule = [{for = "everyone", topic = "x", allow = "fly"}]', "rule 1: allow: Invalid enum"),
        ("version = 1\nrule = [3]", "rule 1: Expected `object`"),
        ('version = 1\n[[rule]]\nfor = "everyone"\ntopic = "x"', "either allow or deny"),
        ('version = 1\n[[rule]]\nfor = "all"\nallow = "publish"\ntopic = "x"', "a rule is about"),
        ('version = 1\n[[rule]]\nfor = "everyone"\nallow = "publish"\ntopic = "a#"', "# must stand alone"),
        ('version = 1\n[[rule]]\nfor = "role:none"\nallow = "publish"\ntopic = "a"', "no role:none under [roles]"),
        ('version = 1\n[roles]\n"a/b" = []', "no valid role name"),
        ('version = 1\n[roles]\nr = ["everyone"]', "held by device:NAME or group:NAME"),
        ("version = 1\n[roles]\nr = 1", "roles: Expected `array`"),
        ("version = 1\nroles = 3", "roles: Expected `object`"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_rule_the_line_and_the_key(text: str, words: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read_policy(text, "policy.toml")
    assert words in str(caught.value)
    assert caught.value.fix
    if "qoss" in words:
        assert caught.value.fix == "did you mean qos?"


def test_a_change_is_what_is_missing_and_with_replace_what_is_too_much() -> None:
    twice = Rule("everyone", PUBLISH, "x")
    current = Document((FULL, DENY), ("r.1", "old"), (Held("old", "group:g"),))
    wanted = Document((DENY.content, twice, twice), ("r.1", "new"), (Held("new", "device:a"),))
    added = plan(current, wanted, False)
    assert added == PolicyChange((twice, twice), (), ("new",), (), (Held("new", "device:a"),))
    whole = plan(current, wanted, True)
    assert (whole.remove_rules, whole.remove_roles, whole.revoke) == ((FULL,), ("old",), (Held("old", "group:g"),))
    assert describe(whole) == [
        f"- {FULL}",
        "- group:g holds old",
        "- role old",
        "+ role new",
        "+ device:a holds new",
        "+ everyone: allow publish x",
        "+ everyone: allow publish x",
    ]
    assert plan(current, current, True).is_empty
