"""The hub's memory: who hears a topic, and who may publish on it, as it was decided before.

A publish on a topic seen before costs two look-ups. What is remembered is dropped when the policy's epoch moves; a
route also when a subscription that touches its topic comes or goes. There is no second path that skips the policy: a
route is made by asking it about every receiver.
"""

from __future__ import annotations

from lockgate.errors import NotAuthorized
from lockgate.hub.session import Session
from lockgate.hub.shares import READY, UNABLE, Share, rank
from lockgate.hub.trie import Trie
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.policy import Grant, PolicyEngine

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


class Target:
    """One session that hears a topic, and how: its overlapping subscriptions become one delivery."""

    __slots__ = ("identifiers", "no_local", "qos", "retain_as_published", "session", "subscriptions")

    def __init__(self, session: Session, subscriptions: list[Subscription], max_qos: int) -> None:
        self.session = session
        self.subscriptions = subscriptions
        self.qos: int = min(max(s.qos for s in subscriptions), max_qos)
        self.identifiers: tuple[int, ...] = tuple(s.identifier for s in subscriptions if s.identifier)
        self.retain_as_published: bool = any(s.retain_as_published for s in subscriptions)
        self.no_local: bool = any(s.no_local for s in subscriptions)

    def without_local(self) -> Target | None:
        """Give the target as it stands for the session's own messages [MQTT-3.8.3-3]."""
        foreign = [s for s in self.subscriptions if not s.no_local]
        return Target(self.session, foreign, self.qos) if foreign else None


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
    """Who hears one topic, as long as `epoch` is the memory's."""

    __slots__ = ("epoch", "shares", "targets")

    def __init__(self, targets: list[Target], shares: list[SharedTarget], epoch: int) -> None:
        self.targets = targets
        self.shares = shares
        self.epoch: int = epoch


class Grants:
    """What one principal may publish, by topic; and what it was refused."""

    __slots__ = ("by_topic", "denied", "principal")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.by_topic: dict[str, Grant] = {}
        self.denied: dict[tuple[str, int, bool], NotAuthorized] = {}


class Memory:
    """Remembers routes, grants and denials; all bounded, all emptied whole when full."""

    def __init__(self, policy: PolicyEngine, trie: Trie) -> None:
        self._policy = policy
        self._trie = trie
        self._policy_epoch: int = policy.epoch
        self._routes: dict[str, Route] = {}
        self._below: dict[str, dict[str, None]] = {}
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

    def grant(self, principal: Principal, topic: str, qos: int, retain: bool) -> Grant | None:
        """Give a remembered grant that takes in this publish, or None."""
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            return None
        grant = grants.by_topic.get(topic)
        if grant is None or qos > grant.max_qos or (retain and not grant.may_retain):
            return None
        return grant

    def remember(self, principal: Principal, topic: str, grant: Grant) -> None:
        """Keep a grant for the next publish on its topic."""
        if len(topic) > MAX_TOPIC_CHARACTERS:
            return
        grants = self._grants_of(principal)
        if len(grants.by_topic) >= MAX_GRANTS_PER_CLIENT:
            self._decisions -= len(grants.by_topic)
            grants.by_topic.clear()
        if topic not in grants.by_topic:
            self._decisions += 1
        grants.by_topic[topic] = grant

    def denial(self, principal: Principal, topic: str, qos: int, retain: bool) -> NotAuthorized | None:
        """Give the remembered refusal of exactly this publish, or None: a flood asks for the same again and again."""
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            return None
        return grants.denied.get((topic, qos, retain))

    def remember_denial(self, principal: Principal, topic: str, qos: int, retain: bool, error: NotAuthorized) -> None:
        """Keep a refusal for the next publish of its kind."""
        if len(topic) > MAX_TOPIC_CHARACTERS:
            return
        denied = self._grants_of(principal).denied
        if len(denied) >= MAX_DENIALS_PER_CLIENT:
            self._decisions -= len(denied)
            denied.clear()
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
            route = Route(self._targets(topic), self._shared_targets(topic), self._epoch)
            self._route_bytes += _size_of(topic, route)  # one made anew counts twice: the bound comes sooner
            if len(self._routes) >= MAX_ROUTES or self._route_bytes > MAX_ROUTE_BYTES:
                self._forget_all_routes()
            self._routes[topic] = route
            self._below.setdefault(_first_levels(topic), {})[topic] = None
        return route

    def forget_routes(self, topic_filter: str) -> None:
        """Drop the routes that a subscription with this filter touches."""
        if "+" not in topic_filter and "#" not in topic_filter:
            self._routes.pop(topic_filter, None)
            return
        first = _first_levels(topic_filter)
        if "+" in first or "#" in first:
            self._epoch += 1
            return
        for topic in self._below.pop(first, ()):  # such as a device's own tree: the others' routes stay
            self._routes.pop(topic, None)

    def _forget_all_grants(self) -> None:
        self._grants.clear()
        self._decisions = 0

    def _forget_all_routes(self) -> None:
        self._routes.clear()
        self._below.clear()
        self._route_bytes = 0

    def _targets(self, topic: str) -> list[Target]:
        targets = []
        for session, subscriptions in self._trie.match(topic).items():
            grant = self._policy.authorize(session.principal, Operation.RECEIVE, topic)
            if isinstance(grant, Grant):
                targets.append(Target(session, subscriptions, grant.max_qos))
        return targets

    def _shared_targets(self, topic: str) -> list[SharedTarget]:
        found: list[SharedTarget] = []
        for share in self._trie.match_shares(topic):
            members: list[Target] = []
            for session in share.members:
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
    return Target(session, [subscription], grant.max_qos)


def _first_levels(topic: str) -> str:
    """Give the first two levels of a topic or a filter."""
    return "/".join(topic.split("/", 2)[:2])


def _size_of(topic: str, route: Route) -> int:
    size = _ROUTE_BYTES + 4 * len(topic)
    for target in route.targets:
        size += _TARGET_BYTES + _SUBSCRIPTION_BYTES * len(target.subscriptions)
    for shared in route.shares:
        size += _TARGET_BYTES + (_TARGET_BYTES + _SUBSCRIPTION_BYTES) * len(shared.members)
    return size
