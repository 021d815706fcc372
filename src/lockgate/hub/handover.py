"""Where the deliveries of a share go when the member that held them is gone.

Other members take them in turns: those that are connected and whose queue has room; where the session is over also
those that wait for their client. Every delivery is authorized for its new receiver. What this costs is bounded for each
delivery, and a share in which nobody has room left is not asked again.
"""

from __future__ import annotations

from collections import deque

from lockgate.hub.routes import Target, fitting, member_target
from lockgate.hub.session import Session
from lockgate.hub.shares import Share
from lockgate.hub.trie import Trie
from lockgate.model.session import Delivery
from lockgate.model.topic import split_share
from lockgate.policy import PolicyEngine

MAX_TRIES = 64
"""So many members are asked whether they may receive a topic, and no more: a share can have thousands."""


class HandOver:
    """Finds new holders for what one session lets go.

    Args:
        trie: knows the shares.
        policy: decides who may receive a topic.
        leaving: the session that lets go; it is given nothing.
        is_over: it is gone for good: members without a connection take its deliveries as well.
    """

    def __init__(self, trie: Trie, policy: PolicyEngine, leaving: Session, is_over: bool) -> None:
        self._trie = trie
        self._policy = policy
        self._leaving = leaving
        self._is_over = is_over
        self._members: dict[str, _Members] = {}
        self._targets: dict[tuple[Session, str, str], Target | None] = {}

    def find(self, delivery: Delivery) -> Target | None:
        """Give another member of the share by which a delivery came, one with room for it; None when there is none."""
        members = self._members.get(delivery.share)
        if members is None:
            members = self._members[delivery.share] = self._find(delivery.share)
        return self._next(members.connected, members.share, delivery) or self._next(
            members.absent, members.share, delivery
        )

    def _find(self, text: str) -> _Members:
        name, topic_filter = split_share(text)
        members = _Members(self._trie.share(topic_filter, name))
        if members.share is not None:
            for session in members.share.members:
                if session is self._leaving:
                    continue
                if session.outlet is not None:
                    members.connected.append(session)
                elif self._is_over and session.is_durable:
                    members.absent.append(session)
            members.connected.rotate(-members.share.turn)
            members.absent.rotate(-members.share.turn)
        return members

    def _next(self, candidates: deque[Session], share: Share | None, delivery: Delivery) -> Target | None:
        message = delivery.message
        tries = min(MAX_TRIES, len(candidates))
        while share is not None and tries > 0 and candidates:
            session = candidates.popleft()
            if session.is_full:
                continue  # and out of the line
            candidates.append(session)
            tries -= 1
            target = self._target(share, session, message.topic)
            if target is not None:
                target = fitting(self._policy, target, message.topic, message.payload_bytes)
            if target is not None and (session.outlet is not None or min(message.qos, target.qos) > 0):
                return target
        return None

    def _target(self, share: Share, session: Session, topic: str) -> Target | None:
        """Give how a member hears a topic: thousands of deliveries are about a few topics."""
        key = (session, share.text, topic)
        if key not in self._targets:
            self._targets[key] = member_target(self._policy, share, session, topic)
        return self._targets[key]


class _Members:
    """Who may be asked, in turn."""

    def __init__(self, share: Share | None) -> None:
        self.share = share
        self.connected: deque[Session] = deque()
        self.absent: deque[Session] = deque()
