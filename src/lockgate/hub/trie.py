"""The subscription trie: which sessions' filters take in a topic. Matching costs by levels, not by subscriptions."""

from __future__ import annotations

from lockgate.hub.session import Session
from lockgate.hub.shares import Share
from lockgate.model.session import Subscription


class Node:
    """One level of the trie; `subscriptions` belong to filters that end here, `shares` are those by their name."""

    __slots__ = ("children", "shares", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.subscriptions: dict[Session, Subscription] = {}
        self.shares: dict[str, Share] | None = None

    def members(self, share: str) -> dict[Session, Subscription] | None:
        """Give the subscriptions under this share's name; those that are not shared for ""."""
        if not share:
            return self.subscriptions
        found = self.shares.get(share) if self.shares is not None else None
        return None if found is None else found.members

    def new_share(self, subscription: Subscription) -> dict[Session, Subscription]:
        """Make the share that a subscription is the first of; give its members."""
        if self.shares is None:
            self.shares = {}
        share = self.shares[subscription.share] = Share(subscription.text)
        return share.members

    def drop_share(self, share: str) -> None:
        """Let go of a share without members."""
        if self.shares is not None:
            self.shares.pop(share, None)
            self.shares = self.shares or None


class Trie:
    """Holds every session's subscriptions by topic filter."""

    def __init__(self) -> None:
        self._root = Node()
        self._count = 0
        self.shared: int = 0
        """How many of the subscriptions are shared."""

    def __len__(self) -> int:
        """Give the number of subscriptions."""
        return self._count

    def insert(self, session: Session, subscription: Subscription) -> bool:
        """Add a subscription, replacing the session's one with the same text; say whether it is new."""
        node = self._root
        for level in subscription.filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = Node()
            node = child
        members = node.members(subscription.share)
        if members is None:
            members = node.new_share(subscription)
        is_new = session not in members
        members[session] = subscription
        if is_new:
            self._count += 1
            self.shared += 1 if subscription.share else 0
        return is_new

    def remove(self, session: Session, topic_filter: str, share: str = "") -> bool:
        """Take a subscription out, and the branches that only it used; say whether it was there."""
        path: list[tuple[Node, str]] = []
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                return False
            path.append((node, level))
            node = child
        members = node.members(share)
        if members is None or members.pop(session, None) is None:
            return False
        self._count -= 1
        if share:
            self.shared -= 1
            if not members:
                node.drop_share(share)
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.subscriptions or child.children or child.shares:
                break
            del parent.children[level]
        return True

    def match(self, topic: str) -> dict[Session, list[Subscription]]:
        """Give each session with a filter that takes in `topic`, and those filters' subscriptions; not the shared."""
        found: dict[Session, list[Subscription]] = {}
        for node in self._nodes(topic):
            _add(node.subscriptions, found)
        return found

    def match_shares(self, topic: str) -> list[Share]:
        """Give each share with a filter that takes in `topic`."""
        if not self.shared:
            return []
        return [share for node in self._nodes(topic) if node.shares is not None for share in node.shares.values()]

    def share(self, topic_filter: str, name: str) -> Share | None:
        """Give the share of this filter and name."""
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.shares.get(name) if node.shares is not None else None

    def _nodes(self, topic: str) -> list[Node]:
        found: list[Node] = []
        _collect(self._root, topic.split("/"), 0, topic.startswith("$"), found)
        return found


def _collect(node: Node, levels: list[str], index: int, is_hidden: bool, found: list[Node]) -> None:
    # [MQTT-4.7.2-1]: a wildcard in the first level never takes in a topic that begins with $.
    wildcards = not (is_hidden and index == 0)
    children = node.children
    if wildcards:
        rest = children.get("#")
        if rest is not None:  # "a/#" takes in "a" as well (section 4.7.1.2)
            found.append(rest)
    if index == len(levels):
        found.append(node)
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
