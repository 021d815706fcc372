"""The hub's memory: who hears a topic, and who may publish on it, as it was decided before.

A publish on a topic seen before costs two look-ups. What is remembered is dropped when the policy's epoch moves; a
route also when a subscription that touches its topic comes or goes. There is no second path that skips the policy: a
route is made by asking it about every receiver. When subscriptions alone have changed, the answers about the receivers
that a route had are still those that the policy would give, and are taken over: a storm of subscriptions does not make
each message ask about everybody anew.
"""

from __future__ import annotations

from lockgate.hub.known import KnownTopics
from lockgate.hub.session import Session
from lockgate.hub.shares import READY, UNABLE, Share, rank
from lockgate.hub.trie import Trie
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.policy import UNLIMITED_BYTES, Denied, Grant, PolicyEngine

NEVER = -1
MAX_ROUTES = 100_000
MAX_ROUTE_BYTES = 134_217_728
MAX_GRANTS_PER_CLIENT = 1000
MAX_GRANTS = 262_144
"""Of all clients together: about 100 MB, and more than 10,000 devices with two dozen topics each need."""
MAX_DENIALS_PER_CLIENT = 100
MAX_TOPIC_CHARACTERS = 256
"""A grant on a longer topic is not remembered: devices choose their topics, and could fill the memory with them."""

# What a route takes beside its topic, about, in bytes: itself, each receiver, each of the receiver's subscriptions.
_ROUTE_BYTES = 512
_TARGET_BYTES = 192
_SUBSCRIPTION_BYTES = 24
_LEVEL_BYTES = 384
KEPT_TARGETS = 32
"""A touched route of more receivers is kept for what was decided about them; a smaller one is as soon made anew."""


class Target:
    """One session that hears a topic, and how: its overlapping subscriptions become one delivery."""

    __slots__ = (
        "identifiers",
        "max_payload_bytes",
        "no_local",
        "principal",
        "qos",
        "retain_as_published",
        "session",
        "subscriptions",
    )

    def __init__(
        self, session: Session, subscriptions: list[Subscription], max_qos: int, max_payload_bytes: int
    ) -> None:
        self.session = session
        self.principal: Principal = session.principal
        self.subscriptions = subscriptions
        self.max_payload_bytes: int = max_payload_bytes
        self.qos: int = min(max(s.qos for s in subscriptions), max_qos)
        self.identifiers: tuple[int, ...] = tuple(s.identifier for s in subscriptions if s.identifier)
        self.retain_as_published: bool = any(s.retain_as_published for s in subscriptions)
        self.no_local: bool = any(s.no_local for s in subscriptions)

    def holds_for(self, subscriptions: list[Subscription]) -> bool:
        """Say whether it would be made just so again: the policy is as it was, and so are session and subscriptions."""
        return self.session.principal is self.principal and self.subscriptions == subscriptions

    def without_local(self) -> Target | None:
        """Give the target as it stands for the session's own messages [MQTT-3.8.3-3]."""
        foreign = [s for s in self.subscriptions if not s.no_local]
        return Target(self.session, foreign, self.qos, self.max_payload_bytes) if foreign else None


class SharedTarget:
    """A share that hears a topic: one of `members`, those that may receive it, takes each message."""

    __slots__ = ("members", "share")

    def __init__(self, share: Share, members: list[Target]) -> None:
        self.share = share
        self.members = members

    def pick(self, qos: int) -> Target | None:
        """Give the member whose turn it is to take a message of this QoS, None when nobody can."""
        members, share = self.members, self.share
        count = len(members)
        best, chosen = UNABLE, -1
        index = share.turn
        for _ in range(count):
            if index >= count:
                index = 0
            target = members[index]
            fitness = rank(target.session, qos if qos < target.qos else target.qos)
            if fitness < best:
                best, chosen = fitness, index
                if fitness == READY:
                    break
            index += 1
        if chosen < 0:
            return None
        share.turn = chosen + 1
        return members[chosen]


class Route:
    """Who hears one topic, as long as `epoch` is the memory's. A payload larger than it says is not for all of them."""

    __slots__ = ("epoch", "max_payload_bytes", "shares", "targets")

    def __init__(self, targets: list[Target], shares: list[SharedTarget], epoch: int) -> None:
        self.targets = targets
        self.shares = shares
        self.epoch: int = epoch
        least = UNLIMITED_BYTES
        for target in targets:
            least = min(least, target.max_payload_bytes)
        for shared in shares:
            for target in shared.members:
                least = min(least, target.max_payload_bytes)
        self.max_payload_bytes: int = least


class Grants:
    """What one principal may publish, by topic; and what it was refused."""

    __slots__ = ("by_topic", "denied", "principal")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.by_topic: dict[str, Grant] = {}
        self.denied: dict[tuple[str, int, bool], Denied] = {}


class Memory:
    """Remembers routes, grants and denials; all bounded, all emptied whole when full."""

    def __init__(self, policy: PolicyEngine, trie: Trie) -> None:
        self._policy = policy
        self._trie = trie
        self._policy_epoch: int = policy.epoch
        self._routes: dict[str, Route] = {}
        self._known = KnownTopics()
        self._route_bytes: int = 0
        self._grants: dict[str, Grants] = {}
        self._decisions: int = 0
        self._epoch: int = 0

    def check_epoch(self) -> None:
        """Forget everything when the policy changed."""
        epoch = self._policy.epoch
        if epoch != self._policy_epoch:
            self._policy_epoch = epoch
            self._forget_all_routes()
            self._forget_all_grants()

    def grant(self, principal: Principal, topic: str, qos: int, retain: bool, size: int) -> Grant | None:
        """Give a remembered grant that takes in this publish of `size` bytes, or None."""
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            return None
        grant = grants.by_topic.get(topic)
        if grant is None or not grant.is_limited:
            return grant
        if not grant.qos_bits >> qos & 1 or (retain and not grant.may_retain) or size > grant.max_payload_bytes:
            return None
        return grant

    def decide(self, principal: Principal, message: Message) -> Grant | Denied:
        """Ask the policy whether the principal may publish a message, and keep the answer for the next of its kind."""
        topic, qos, retain, size = message.topic, message.qos, message.retain, len(message.payload)
        known = self._denial(principal, topic, qos, retain)
        if known is not None and size >= known.from_bytes:  # a flood asks for the same again and again
            return known
        answer = self._policy.authorize(principal, Operation.PUBLISH, topic, qos, retain, size)
        if len(topic) > MAX_TOPIC_CHARACTERS:
            return answer
        if isinstance(answer, Grant):
            if answer.lasts:
                self._remember(principal, topic, answer)
        elif isinstance(answer, Denied):
            self._remember_denial(principal, topic, qos, retain, answer)
        return answer

    def _remember(self, principal: Principal, topic: str, grant: Grant) -> None:
        grants = self._grants_of(principal)
        if len(grants.by_topic) >= MAX_GRANTS_PER_CLIENT:
            self._decisions -= len(grants.by_topic)
            grants.by_topic.clear()
        if topic not in grants.by_topic:
            self._decisions += 1
        grants.by_topic[topic] = grant

    def _denial(self, principal: Principal, topic: str, qos: int, retain: bool) -> Denied | None:
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            return None
        return grants.denied.get((topic, qos, retain))

    def _remember_denial(self, principal: Principal, topic: str, qos: int, retain: bool, error: Denied) -> None:
        denied = self._grants_of(principal).denied
        if len(denied) >= MAX_DENIALS_PER_CLIENT:
            self._decisions -= len(denied)
            denied.clear()
        if (topic, qos, retain) not in denied:
            self._decisions += 1
        denied[topic, qos, retain] = error

    def _grants_of(self, principal: Principal) -> Grants:
        if self._decisions >= MAX_GRANTS:
            self._forget_all_grants()
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            self.forget_client(principal.client_id)
            grants = self._grants[principal.client_id] = Grants(principal)
        return grants

    def forget_client(self, client_id: str) -> None:
        """Drop the grants of a client whose connection ended."""
        grants = self._grants.pop(client_id, None)
        if grants is not None:
            self._decisions -= len(grants.by_topic) + len(grants.denied)

    def route(self, topic: str) -> Route:
        """Give who hears `topic`: remembered, or made now by asking the policy about each receiver."""
        route = self._routes.get(topic)
        if route is None or route.epoch != self._epoch:
            route = Route(self._targets(topic, route), self._shared_targets(topic, route), self._epoch)
            self._route_bytes += _size_of(topic, route)  # one made anew counts twice: the bound comes sooner
            if len(self._routes) >= MAX_ROUTES or self._route_bytes > MAX_ROUTE_BYTES:
                self._forget_all_routes()
            self._routes[topic] = route
            self._route_bytes += _LEVEL_BYTES * self._known.add(topic)
        return route

    def forget_routes(self, topic_filter: str) -> None:
        """Make the routes anew that a subscription with this filter touches, when they are next asked for."""
        if "+" not in topic_filter and "#" not in topic_filter:
            self._touch(topic_filter)
            return
        topics = self._known.taken_in(topic_filter)
        if topics is None:
            self._epoch += 1
            return
        for topic in topics:
            self._touch(topic)

    def _touch(self, topic: str) -> None:
        route = self._routes.get(topic)
        if route is None:
            return
        if len(route.targets) + sum(len(shared.members) for shared in route.shares) > KEPT_TARGETS:
            route.epoch = NEVER
        else:
            del self._routes[topic]

    def _forget_all_grants(self) -> None:
        self._grants.clear()
        self._decisions = 0

    def _forget_all_routes(self) -> None:
        self._routes.clear()
        self._known.clear()
        self._route_bytes = 0

    def _targets(self, topic: str, former: Route | None) -> list[Target]:
        decided = {target.session: target for target in former.targets} if former is not None else {}
        targets = []
        for session, subscriptions in self._trie.match(topic).items():
            known = decided.get(session)
            if known is not None and known.holds_for(subscriptions):
                targets.append(known)
                continue
            grant = self._policy.authorize(session.principal, Operation.RECEIVE, topic)
            if isinstance(grant, Grant):
                targets.append(Target(session, subscriptions, grant.max_qos, grant.max_payload_bytes))
        return targets

    def fitting(self, route: Route, topic: str, size: int) -> Route:
        """Give those of a route who may receive a payload of `size` bytes, as others of their rules let them."""
        targets = [found for target in route.targets if (found := fitting(self._policy, target, topic, size))]
        shares = []
        for shared in route.shares:
            members = [found for target in shared.members if (found := fitting(self._policy, target, topic, size))]
            if members:
                shares.append(SharedTarget(shared.share, members))
        return Route(targets, shares, route.epoch)

    def _shared_targets(self, topic: str, former: Route | None) -> list[SharedTarget]:
        decided: dict[Share, dict[Session, Target]] = {}
        for shared in former.shares if former is not None else ():
            decided[shared.share] = {target.session: target for target in shared.members}
        found: list[SharedTarget] = []
        for share in self._trie.match_shares(topic):
            known = decided.get(share, {})
            members: list[Target] = []
            for session, subscription in share.members.items():
                member = known.get(session)
                if member is None or not member.holds_for([subscription]):
                    member = member_target(self._policy, share, session, topic)
                if member is not None:
                    members.append(member)
            if members:
                found.append(SharedTarget(share, members))
        return found


def member_target(policy: PolicyEngine, share: Share, session: Session, topic: str) -> Target | None:
    """Give how a member of a share hears `topic`; None when it may not, or is a member no longer."""
    subscription = share.members.get(session)
    grant = policy.authorize(session.principal, Operation.RECEIVE, topic)
    if subscription is None or not isinstance(grant, Grant):
        return None
    return Target(session, [subscription], grant.max_qos, grant.max_payload_bytes)


def fitting(policy: PolicyEngine, target: Target, topic: str, size: int) -> Target | None:
    """Give how a target hears a message of `size` bytes on `topic`, None when it may not."""
    if size <= target.max_payload_bytes:
        return target
    session = target.session
    grant = policy.authorize(session.principal, Operation.RECEIVE, topic, payload_bytes=size)
    if not isinstance(grant, Grant):
        return None
    return Target(session, target.subscriptions, grant.max_qos, grant.max_payload_bytes)


def _size_of(topic: str, route: Route) -> int:
    size = _ROUTE_BYTES + 4 * len(topic)
    for target in route.targets:
        size += _TARGET_BYTES + _SUBSCRIPTION_BYTES * len(target.subscriptions)
    for shared in route.shares:
        size += _TARGET_BYTES + (_TARGET_BYTES + _SUBSCRIPTION_BYTES) * len(shared.members)
    return size
