"""Topic names and filters: what may be one, and which filter takes in which name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import TopicFilterInvalid, TopicNameInvalid
from lockgate.model.topic import (
    MAX_SHARE_BYTES,
    MAX_TOPIC_LEVELS,
    filter_matches,
    split_share,
    topic_filter,
    topic_name,
)

levels = st.sampled_from(["", "a", "b", "$x", "ä"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.builds(
    lambda path, end: "/".join([*path, *end]),
    st.lists(levels | st.just("+"), max_size=5),
    st.sampled_from([(), ("#",)]),
).filter(bool)


def takes_in(pattern: list[str], levels: list[str]) -> bool:
    """Say the same as `filter_matches`, by the standard's words and without a thought for speed (section 4.7)."""
    if pattern == ["#"]:
        return True
    if not pattern or not levels:
        return not pattern and not levels
    if pattern[0] in ("+", levels[0]):
        return takes_in(pattern[1:], levels[1:])
    return False


@given(filters, names)
def test_matching_agrees_with_a_plain_model(pattern: str, name: str) -> None:
    hidden = name.startswith("$") and pattern[0] in "+#"
    assert filter_matches(pattern, name) == (not hidden and takes_in(pattern.split("/"), name.split("/")))


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "a/b", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/a", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/a", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("ACCOUNTS", "Accounts", False),
    ],
)
def test_the_standards_own_examples(pattern: str, name: str, matches: bool) -> None:
    assert filter_matches(pattern, name) is matches


@given(names)
def test_every_name_is_a_filter_that_takes_in_itself_alone(name: str) -> None:
    assert str(topic_name(name)) == str(topic_filter(name)) == name
    assert filter_matches(name, name)
    assert not filter_matches(name, name + "x")


@given(filters)
def test_what_holds_a_wildcard_is_no_name(pattern: str) -> None:
    assert topic_filter(pattern) == pattern
    if "+" in pattern or "#" in pattern:
        with pytest.raises(TopicNameInvalid, match="wildcards"):
            topic_name(pattern)


@pytest.mark.parametrize("text", ["", "a\0b", "é" * 32_768, "x" * 65_536, "/" * 32])
def test_what_is_neither_name_nor_filter(text: str) -> None:
    with pytest.raises(TopicNameInvalid):
        topic_name(text)
    with pytest.raises(TopicFilterInvalid):
        topic_filter(text)


@pytest.mark.parametrize("text", ["x" * 65_535, "é" * 32_767, "/" * 31, " ", "/"])
def test_what_just_fits(text: str) -> None:
    assert str(topic_name(text)) == str(topic_filter(text)) == text


@pytest.mark.parametrize("text", ["a#", "#/a", "a/#/b", "##", "a+", "+a", "a/b+/c", "++"])
def test_a_wildcard_in_the_wrong_place_is_refused(text: str) -> None:
    with pytest.raises(TopicFilterInvalid, match="must stand alone"):
        topic_filter(text)


@pytest.mark.parametrize(
    ("text", "name", "inner"),
    [
        ("$share/team/a", "team", "a"),
        ("$share/team//a", "team", "/a"),
        ("$share/t/+/#", "t", "+/#"),
        ("$share", "", "$share"),
        ("$shared/a/b", "", "$shared/a/b"),
        ("a/$share/b", "", "a/$share/b"),
        ("$share/t/" + "/".join("a" * MAX_TOPIC_LEVELS), "t", "/".join("a" * MAX_TOPIC_LEVELS)),
    ],
)
def test_a_share_and_its_filter_are_split(text: str, name: str, inner: str) -> None:
    assert split_share(text) == (name, inner)


@pytest.mark.parametrize(
    "text",
    [
        "$share/",
        "$share//a",
        "$share/team",
        "$share/team/",
        "$share/te+m/a",
        "$share/#/a",
        "$share/team/a#",
        "$share/te\x00m/a",
        "$share/team/" + "a" * MAX_SHARE_BYTES,
        "a/#/b",
        "",
    ],
)
def test_what_is_no_shared_subscription_is_refused(text: str) -> None:
    with pytest.raises(TopicFilterInvalid):
        split_share(text)
