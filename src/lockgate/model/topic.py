"""Topic names and topic filters: text becomes one of them once, at the edge, and is trusted after.

Source: MQTT 5.0 section 4.7 and MQTT 3.1.1 section 4.7; every door speaks of topics in these words.
"""

from __future__ import annotations

from typing import NewType

from lockgate.errors import TopicFilterInvalid, TopicNameInvalid

TopicName = NewType("TopicName", str)
"""What a message is published on: no wildcards, at least one character."""

TopicFilter = NewType("TopicFilter", str)
"""What a subscriber or a rule asks for: may hold the wildcards + and #."""

MAX_TOPIC_BYTES = 65_535
MAX_TOPIC_LEVELS = 32
SHARE_PREFIX = "$share/"
MAX_SHARE_BYTES = 1024
"""Of a shared subscription's whole text: each of its deliveries is stored with it."""


def topic_name(text: str) -> TopicName:
    """Give back `text` as a topic name.

    Raises:
        TopicNameInvalid: when it is empty, too long or deep, or holds a wildcard or a NUL.
    """
    # [MQTT-4.7.3-1] at least one character; [MQTT-4.7.1-1] and [MQTT-3.3.2-2] no wildcards;
    # [MQTT-4.7.3-2] no NUL; [MQTT-4.7.3-3] at most 65,535 bytes.
    if not text:
        raise TopicNameInvalid("a topic name needs at least one character")
    if "+" in text or "#" in text:
        raise TopicNameInvalid(f"a topic name must not hold the wildcards + or #: {text[:80]!r}")
    problem = _problem_of(text)
    if problem:
        raise TopicNameInvalid(f"{problem}: {text[:80]!r}")
    return TopicName(text)


def topic_filter(text: str) -> TopicFilter:
    """Give back `text` as a topic filter.

    Raises:
        TopicFilterInvalid: when a wildcard shares its level, # is not last, or the text is empty or too long.
    """
    if not text:
        raise TopicFilterInvalid("a topic filter needs at least one character")
    problem = _problem_of(text)
    if problem:
        raise TopicFilterInvalid(f"{problem}: {text[:80]!r}")
    levels = text.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):  # [MQTT-4.7.1-1]
            raise TopicFilterInvalid(f"# must stand alone in the last level: {text[:80]!r}")
        if "+" in level and level != "+":  # [MQTT-4.7.1-2]
            raise TopicFilterInvalid(f"+ must stand alone in its level: {text[:80]!r}")
    return TopicFilter(text)


def split_share(text: str) -> tuple[str, TopicFilter]:
    """Give the ShareName and the topic filter of what a subscriber asks for; the name is "" when it is not shared.

    Source: MQTT 5.0 section 4.8.2: `$share/{ShareName}/{filter}`.

    Raises:
        TopicFilterInvalid: when the name is missing or holds a wildcard, or the filter is none.
    """
    if not text.startswith(SHARE_PREFIX):
        return "", topic_filter(text)
    name, slash, rest = text[len(SHARE_PREFIX) :].partition("/")
    # [MQTT-4.8.2-1] at least one character; [MQTT-4.8.2-2] no wildcards, and a filter follows.
    if not name or not slash:
        raise TopicFilterInvalid(f"a shared subscription is $share/NAME/FILTER: {text[:80]!r}")
    if "+" in name or "#" in name:
        raise TopicFilterInvalid(f"a share's name must not hold the wildcards + or #: {text[:80]!r}")
    problem = _problem_of(name)
    if problem:
        raise TopicFilterInvalid(f"{problem}: {text[:80]!r}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SHARE_BYTES:
        raise TopicFilterInvalid(f"a shared subscription has at most {MAX_SHARE_BYTES} bytes: {text[:80]!r}")
    return name, topic_filter(rest)


def filter_matches(pattern: str, topic: str) -> bool:
    """Say whether the topic filter `pattern` takes in the topic name `topic`.

    A leading wildcard never takes in a topic that begins with $ [MQTT-4.7.2-1].
    """
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted = pattern.split("/")
    levels = topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or (level != "+" and level != levels[index]):
            return False
    return len(wanted) == len(levels)


def _problem_of(text: str) -> str:
    if "\x00" in text:
        return "a topic must not hold the character NUL"
    if len(text) > MAX_TOPIC_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES:
        return f"a topic has at most {MAX_TOPIC_BYTES} bytes"
    if text.count("/") >= MAX_TOPIC_LEVELS:
        return f"a topic has at most {MAX_TOPIC_LEVELS} levels"
    return ""
