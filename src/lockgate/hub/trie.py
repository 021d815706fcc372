"""The subscription trie: which sessions' filters take in a topic. Matching costs by levels, not by subscriptions."""

from __future__ import annotations

from lockgate.hub.session import Session
from lockgate.model.session import Subscription


class Node:
    """One level of the trie; `subscriptions` belong to filters that end here."""

    __slots__ = ("children", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.subscriptions: dict[Session, Subscription] = {}


class Trie:
    """Holds every session's subscriptions by topic filter."""

    def __init__(self) -> None:
        self._root = Node()
        self._count = 0

    def __len__(self) -> int:
        """Give the number of subscriptions."""
        return self._count

    def insert(self, session: Session, subscription: Subscription) -> bool:
        """Add a subscription, replacing the session's one with the same filter; say whether it is new."""
        node = self._root
        for level in subscription.filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = Node()
            node = child
        is_new = session not in node.subscriptions
        node.subscriptions[session] = subscription
        self._count += is_new
        return is_new

    def remove(self, session: Session, topic_filter: str) -> bool:
        """Take a subscription out, and the branches that only it used; say whether it was there."""
        path: list[tuple[Node, str]] = []
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                return False
            path.append((node, level))
            node = child
        if node.subscriptions.pop(session, None) is None:
            return False
        self._count -= 1
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.subscriptions or child.children:
                break
            del parent.children[level]
        return True

    def match(self, topic: str) -> dict[Session, list[Subscription]]:
        """Give each session with a filter that takes in `topic`, and those filters' subscriptions."""
        found: dict[Session, list[Subscription]] = {}
        levels = topic.split("/")
        _collect(self._root, levels, 0, topic.startswith("$"), found)
        return found


def _collect(
    node: Node, levels: list[str], index: int, is_hidden: bool, found: dict[Session, list[Subscription]]
) -> None:
    # [MQTT-4.7.2-1]: a wildcard in the first level never takes in a topic that begins with $.
    wildcards = not (is_hidden and index == 0)
    children = node.children
    if wildcards:
        rest = children.get("#")
        if rest is not None:  # "a/#" takes in "a" as well (section 4.7.1.2)
            _add(rest.subscriptions, found)
    if index == len(levels):
        _add(node.subscriptions, found)
        return
    child = children.get(levels[index])
    if child is not None:
        _collect(child, levels, index + 1, is_hidden, found)
    if wildcards:
        child = children.get("+")
        if child is not None:
            _collect(child, levels, index + 1, is_hidden, found)


def _add(subscriptions: dict[Session, Subscription], found: dict[Session, list[Subscription]]) -> None:
    for session, subscription in subscriptions.items():
        present = found.get(session)
        if present is None:
            found[session] = [subscription]
        else:
            present.append(subscription)
