"""The known topics are found by the filters that take them in, and the search does not grow with the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub import known as room
from lockgate.hub.known import KnownTopics
from lockgate.model.topic import filter_matches
from tests.unit.hub.test_trie import filters, topics


@given(st.lists(topics, max_size=12), filters)
def test_a_filter_finds_what_filter_matches_says(held: list[str], wanted: str) -> None:
    known = KnownTopics()
    for topic in held:
        known.add(topic)
    found = known.taken_in(wanted)
    assert found is not None
    assert sorted(found) == sorted(topic for topic in set(held) if filter_matches(wanted, topic))


def test_each_level_is_counted_once_and_nothing_is_left_when_it_was_cleared() -> None:
    known = KnownTopics()
    assert [known.add(topic) for topic in ("a/b/c", "a/b/d", "a", "a")] == [3, 1, 0, 0]
    known.clear()
    assert known.taken_in("#") == []
    assert known.add("a/b/c") == 3


@pytest.mark.parametrize("wanted", ["#", "+/x", "devices/+/x", "devices/#", "+/+/+"])
def test_a_filter_that_takes_in_very_many_topics_is_not_worth_the_search(wanted: str) -> None:
    known = KnownTopics()
    for number in range(room.MAX_VISITS):
        known.add(f"devices/{number}/x")
        known.add(f"{number}/x")
    assert known.taken_in(wanted) is None
    assert known.taken_in("devices/7/#") == ["devices/7/x"]


def test_the_search_does_not_grow_with_the_topics_that_the_filter_leaves_out() -> None:
    visits = []
    for others in (0, 10, 10_000):
        known = KnownTopics()
        known.add("plant/1/line/7/temperature")
        for number in range(others):
            known.add(f"plant/1/line/{number + 8}/temperature")
            known.add(f"plant/{number + 2}/line/7/temperature")
        assert known.taken_in("plant/1/line/7/+") == ["plant/1/line/7/temperature"]
        visits.append(room.MAX_VISITS - known._left)
    assert visits == [6, 6, 6]
