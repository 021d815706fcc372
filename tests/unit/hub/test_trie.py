"""The subscription trie finds what `filter_matches` says, and keeps nothing of what was removed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub.session import Session
from lockgate.hub.trie import Node, Trie
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter, filter_matches
from tests.support.fakes import FakeStore, principal

levels = st.sampled_from(["", "a", "b", "$s"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda path, end: "/".join([*path, *end]),
    st.lists(levels | st.just("+"), max_size=4),
    st.sampled_from([(), ("#",)]),
).filter(bool)


def session(name: str = "s") -> Session:
    return Session(principal(name), 0.0, FakeStore(), 10, 1000, 10)


def subscription(text: str, qos: int = 0) -> Subscription:
    return Subscription(TopicFilter(text), qos)


@given(st.lists(st.tuples(st.integers(0, 2), filters), max_size=8), topics)
def test_matching_agrees_with_filter_matches(wanted: list[tuple[int, str]], topic: str) -> None:
    trie, sessions = Trie(), [session(str(number)) for number in range(3)]
    for number, text in wanted:
        trie.insert(sessions[number], subscription(text))
    found = {(s.client_id, one.filter) for s, matches in trie.match(topic).items() for one in matches}
    assert found == {(str(number), text) for number, text in wanted if filter_matches(text, topic)}


@given(st.lists(st.tuples(st.integers(0, 2), filters), max_size=8))
def test_nothing_is_left_when_everything_was_removed(wanted: list[tuple[int, str]]) -> None:
    trie, sessions = Trie(), [session(str(number)) for number in range(3)]
    for number, text in wanted:
        trie.insert(sessions[number], subscription(text))
    assert len(trie) == len(set(wanted))
    for number, text in set(wanted):
        assert trie.remove(sessions[number], text)
        assert not trie.remove(sessions[number], text)
    assert len(trie) == 0
    assert not trie._root.children, "an empty branch stayed behind"


def test_the_same_filter_again_replaces_the_subscription() -> None:
    trie, one = Trie(), session()
    assert trie.insert(one, subscription("a/+", 0))
    assert not trie.insert(one, subscription("a/+", 2))
    assert trie.match("a/b") == {one: [subscription("a/+", 2)]}
    assert len(trie) == 1


def test_removing_one_filter_keeps_its_neighbours() -> None:
    trie, one, two = Trie(), session("one"), session("two")
    trie.insert(one, subscription("a/b"))
    trie.insert(two, subscription("a/b"))
    trie.insert(one, subscription("a/b/c"))
    assert trie.remove(one, "a/b")
    assert not trie.remove(one, "a/x")
    assert not trie.remove(one, "a")
    assert list(trie.match("a/b")) == [two]
    assert list(trie.match("a/b/c")) == [one]


def test_shares_are_found_beside_the_others_and_leave_nothing_behind() -> None:
    trie, one, two = Trie(), session("one"), session("two")
    plain, team = subscription("a/+"), Subscription(TopicFilter("a/+"), 1, share="team")
    assert trie.match_shares("a/b") == []
    for each in (one, two):
        assert trie.insert(each, team)
    assert trie.insert(one, plain)
    assert not trie.insert(one, team)
    assert trie.match("a/b") == {one: [plain]}
    ((share),) = trie.match_shares("a/b")
    assert (share.text, share.members) == ("$share/team/a/+", {one: team, two: team})
    assert trie.match_shares("b") == []
    assert (len(trie), trie.shared) == (3, 2)
    assert trie.remove(one, "a/+")
    assert not trie.remove(one, "a/+", "other")
    for each in (one, two):
        assert trie.remove(each, "a/+", "team")
        assert not trie.remove(each, "a/+", "team")
    assert (len(trie), trie.shared, trie._root.children) == (0, 0, {})


class CountedChildren(dict[str, Node]):
    """The children of a node, which count how often any node's are looked at."""

    looked_at = 0

    def get(self, *arguments: Any) -> Any:
        CountedChildren.looked_at += 1
        return super().get(*arguments)


def count_work(trie: Trie, topic: str) -> int:
    def count(node: Node) -> None:
        node.children = CountedChildren(node.children)
        for child in node.children.values():
            count(child)

    count(trie._root)
    CountedChildren.looked_at = 0
    trie.match(topic)
    return CountedChildren.looked_at


@pytest.mark.parametrize("depth", [3, 5, 10])
def test_matching_does_not_grow_with_the_subscriptions_that_do_not_match(depth: int) -> None:
    topic = "/".join(["plant", *"abcdefgh"[: depth - 2], "temperature"])
    work = []
    for others in (0, 10, 1000, 10_000):
        trie, one = Trie(), session()
        for text in (topic, topic.replace("/a/", "/+/"), "plant/#", "#"):
            trie.insert(one, subscription(text))
        for number in range(others):
            for text in (
                f"{topic}/{number}",
                topic.replace("plant", f"plant{number}"),
                f"+/{number}/#",
                topic.replace("temperature", str(number)),
            ):
                trie.insert(one, subscription(text))
        assert sum(map(len, trie.match(topic).values())) == 4
        work.append(count_work(trie, topic))
    assert work[1:] == [work[1]] * 3, "it is the levels and the wildcards that cost"
    assert work[1] <= 3 * 2 * (depth + 1)
