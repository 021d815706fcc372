"""The topics that the hub's memory holds routes for, level by level: which of them does a filter take in?

A subscription that comes or goes touches the routes of these and of no others. The search is bounded: a filter that
takes in very many topics is not worth looking for them, and the memory then takes all its routes for touched.
"""

from __future__ import annotations

from typing import final

MAX_VISITS = 256
"""How many levels of topics one search looks at, at most: some 20 microseconds."""


@final
class Level:
    """What the topics have at one level; `topic` is the one that ends here, "" for none."""

    __slots__ = ("below", "topic")

    def __init__(self) -> None:
        self.below: dict[str, Level] | None = None
        self.topic: str = ""


@final
class KnownTopics:
    """Topic names, found by the filters that take them in. They are let go of all at once."""

    def __init__(self) -> None:
        self._root = Level()
        self._left: int = 0

    def add(self, topic: str) -> int:
        """Hold a topic; say how many levels had to be made for it."""
        level, made = self._root, 0
        for word in topic.split("/"):
            below = level.below
            if below is None:
                below = level.below = {}
            following = below.get(word)
            if following is None:
                following = below[word] = Level()
                made += 1
            level = following
        level.topic = topic
        return made

    def clear(self) -> None:
        """Let go of all topics."""
        self._root = Level()

    def taken_in(self, topic_filter: str) -> list[str] | None:
        """Give the topics that a filter takes in; None when they are too many to look for."""
        found: list[str] = []
        self._left = MAX_VISITS
        self._search(self._root, topic_filter.split("/"), 0, found)
        return found if self._left >= 0 else None

    def _search(self, level: Level, words: list[str], index: int, found: list[str]) -> None:
        self._left -= 1
        if self._left < 0:
            return
        if index == len(words):
            if level.topic:
                found.append(level.topic)
            return
        word, below, is_first = words[index], level.below, level is self._root
        if word == "#":
            if level.topic:  # "a/#" takes in "a" as well (section 4.7.1.2)
                found.append(level.topic)
            if below is not None:
                for name, following in below.items():
                    if not (is_first and name.startswith("$")):  # [MQTT-4.7.2-1]
                        self._search(following, words, index, found)
                    if self._left < 0:
                        return
        elif below is None:
            return
        elif word == "+":
            for name, following in below.items():
                if not (is_first and name.startswith("$")):
                    self._search(following, words, index + 1, found)
                if self._left < 0:
                    return
        else:
            exact = below.get(word)
            if exact is not None:
                self._search(exact, words, index + 1, found)
