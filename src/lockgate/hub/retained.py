"""Retained messages: the last word on each topic, for whoever subscribes later."""

from __future__ import annotations

from lockgate.errors import QuotaExceeded
from lockgate.model.message import Message
from lockgate.model.topic import TopicName

LEVEL_BYTES = 256
"""What a level of a topic takes that no other topic shares, about."""


class RetainedNode:
    """One topic level; `message` is the retained message of the topic that ends here."""

    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, RetainedNode] = {}
        self.message: Message | None = None


class Retained:
    """Keeps at most `max_messages` retained messages of about `max_bytes` together, found by topic filter."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._root = RetainedNode()
        self._by_publisher: dict[str, dict[TopicName, None]] = {}
        self._count = 0
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.looked: int = 0
        """How many levels of topics the last `match` looked at."""

    def __len__(self) -> int:
        """Give the number of retained messages."""
        return self._count

    def keep(self, message: Message) -> None:
        """Keep a message as its topic's last word, replacing the one before.

        Raises:
            QuotaExceeded: when there is no room for it.
        """
        if message.topic.startswith("$SYS/"):  # the hub's own, a few: how full it is must be told when it is full
            self.put_back(message)
            return
        before = self._find(message.topic.split("/"))
        if self._count >= self._max_messages and before is None:
            raise QuotaExceeded(
                f"{self._max_messages} topics hold retained messages already",
                reason="too many retained messages",
                fix="raise hub.max_retained_messages, or clear some",
            )
        added = _bytes_of(message) - (0 if before is None else _bytes_of(before))
        if added > 0 and self._bytes + added > self._max_bytes:
            raise QuotaExceeded(
                f"the retained messages take {self._bytes} bytes already",
                reason="retained messages too large",
                fix="raise hub.max_retained_bytes, or clear some",
            )
        self.put_back(message)

    def put_back(self, message: Message) -> None:
        """Keep a message that was kept before a restart, whatever the bounds are by now."""
        node = self._root
        for level in message.topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = RetainedNode()
            node = child
        if node.message is None:
            self._count += 1
        else:
            self._forget_publisher(node.message)
            self._bytes -= _bytes_of(node.message)
        self._by_publisher.setdefault(message.publisher, {})[message.topic] = None
        self._bytes += _bytes_of(message)
        node.message = message

    def clear(self, topic: str) -> bool:
        """Drop a topic's retained message; say whether there was one."""
        path: list[tuple[RetainedNode, str]] = []
        node = self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                return False
            path.append((node, level))
            node = child
        if node.message is None:
            return False
        self._forget_publisher(node.message)
        self._bytes -= _bytes_of(node.message)
        node.message = None
        self._count -= 1
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.message is not None or child.children:
                break
            del parent.children[level]
        return True

    def find(self, topic: str, now: float) -> Message | None:
        """Give the retained message of one topic, None when there is none at `now` (unix seconds)."""
        message = self._find(topic.split("/"))
        if message is None or (message.expires_at is not None and message.expires_at <= now):
            return None
        return message

    def match(self, topic_filter: str, now: float) -> list[Message]:
        """Give the retained messages that `topic_filter` takes in and that have not expired at `now` (unix seconds)."""
        found: list[Message] = []
        self.looked = _gather(self._root, topic_filter.split("/"), 0, found)
        return [m for m in found if m.expires_at is None or m.expires_at > now]

    def expired(self, now: float) -> list[str]:
        """Give the topics whose retained message has expired."""
        found: list[Message] = []
        _gather_all(self._root, found)
        return [m.topic for m in found if m.expires_at is not None and m.expires_at <= now]

    def published_by(self, device: str) -> list[TopicName]:
        """Give the topics whose retained message a device published."""
        return list(self._by_publisher.get(device, ()))

    def _forget_publisher(self, message: Message) -> None:
        topics = self._by_publisher[message.publisher]
        del topics[message.topic]
        if not topics:
            del self._by_publisher[message.publisher]

    def _find(self, levels: list[str]) -> Message | None:
        node = self._root
        for level in levels:
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.message


def _bytes_of(message: Message) -> int:
    return message.size + len(message.topic) + LEVEL_BYTES * (1 + message.topic.count("/"))


def _gather(node: RetainedNode, levels: list[str], index: int, found: list[Message]) -> int:
    """Gather what a filter takes in; give how many nodes were looked at."""
    if index == len(levels):
        if node.message is not None:
            found.append(node.message)
        return 1
    level = levels[index]
    looked = 1
    if level == "#":
        if index > 0 and node.message is not None:
            found.append(node.message)
        for name, child in node.children.items():
            if index > 0 or not name.startswith("$"):
                looked += _gather_all(child, found)
    elif level == "+":
        for name, child in node.children.items():
            if index > 0 or not name.startswith("$"):
                looked += _gather(child, levels, index + 1, found)
    else:
        next_node = node.children.get(level)
        if next_node is not None:
            looked += _gather(next_node, levels, index + 1, found)
    return looked


def _gather_all(node: RetainedNode, found: list[Message]) -> int:
    if node.message is not None:
        found.append(node.message)
    looked = 1
    for child in node.children.values():
        looked += _gather_all(child, found)
    return looked
