"""Retained messages are found as `filter_matches` says, are bounded, and leave nothing behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import QuotaExceeded
from lockgate.hub.retained import Retained
from lockgate.model.message import Message
from lockgate.model.topic import TopicName, filter_matches, topic_name
from tests.unit.hub.test_trie import filters, topics


def message(topic: str, payload: bytes = b"x", expires_at: float | None = None) -> Message:
    return Message(TopicName(topic), payload, retain=True, expires_at=expires_at)


@given(st.lists(topics, max_size=8), filters)
def test_matching_agrees_with_filter_matches(kept: list[str], topic_filter: str) -> None:
    retained = Retained(100, 1_000_000)
    for topic in kept:
        retained.keep(message(topic))
    found = [one.topic for one in retained.match(topic_filter, 0.0)]
    assert sorted(found) == sorted({topic for topic in kept if filter_matches(topic_filter, topic)})


@given(st.lists(topics, max_size=8))
def test_nothing_is_left_when_everything_was_cleared(kept: list[str]) -> None:
    retained = Retained(100, 1_000_000)
    for topic in kept:
        retained.keep(message(topic))
    assert len(retained) == len(set(kept))
    for topic in set(kept):
        assert retained.clear(topic)
        assert not retained.clear(topic)
    assert len(retained) == 0
    assert not retained._root.children, "an empty branch stayed behind"


def test_the_last_word_on_a_topic_counts() -> None:
    retained = Retained(100, 1_000_000)
    retained.keep(message("a", b"old"))
    retained.keep(message("a", b"new"))
    assert [one.payload for one in retained.match("a", 0.0)] == [b"new"]
    assert len(retained) == 1


def test_one_topic_too_many_is_refused_and_leaves_no_trace() -> None:
    retained = Retained(2, 1_000_000)
    retained.keep(message("a/b"))
    retained.keep(message("c"))
    for topic in ("x/y", "a"):
        with pytest.raises(QuotaExceeded, match="2 topics hold retained messages already"):
            retained.keep(message(topic))
    assert not retained.clear("x/y")
    assert set(retained._root.children) == {"a", "c"}
    retained.keep(message("a/b", b"new"))
    retained.clear("c")
    retained.keep(message("x/y"))


def test_an_expired_message_is_hidden_and_named_for_clearing() -> None:
    retained = Retained(100, 1_000_000)
    retained.keep(message("a", expires_at=10.0))
    retained.keep(message("b", expires_at=20.0))
    retained.keep(message("c"))
    assert [one.topic for one in retained.match("#", 9.9)] == ["a", "b", "c"]
    assert [one.topic for one in retained.match("#", 10.0)] == ["b", "c"]
    assert retained.expired(10.0) == ["a"]


def test_what_the_hub_tells_of_itself_finds_room_when_all_is_full() -> None:
    full = Retained(1, 1000)
    full.keep(Message(topic_name("a"), b"x"))
    full.keep(Message(topic_name("$SYS/broker/version"), b"x" * 2000))
    full.keep(Message(topic_name("a"), b"y"))
    with pytest.raises(QuotaExceeded):
        full.keep(Message(topic_name("b"), b"x"))
    assert len(full) == 2


def published(topic: str, publisher: str) -> Message:
    return Message(TopicName(topic), b"x", retain=True, publisher=publisher)


def test_what_a_device_published_is_known_as_long_as_it_stands() -> None:
    retained = Retained(100, 1_000_000)
    retained.keep(published("a", "one"))
    retained.keep(published("b", "one"))
    retained.keep(published("b", "two"))
    assert retained.published_by("one") == ["a"]
    assert retained.published_by("two") == ["b"]
    retained.clear("a")
    assert retained.published_by("one") == []
    retained.clear("b")
    assert retained._by_publisher == {}
