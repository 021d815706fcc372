"""The hub's memory: who hears a topic, and who may publish on it, as it was decided before.

A publish on a topic seen before costs one look-up, to what was granted and to the route. What is remembered about a
device is dropped when the policy's epoch moves for that device; a route is made anew when the epoch moves for anybody,
and when a subscription that touches its topic comes or goes. There is no second path that skips the policy: a route is
made by asking it about every receiver, but for those that it had and for whom nothing has changed since they were asked
about. Neither a storm of subscriptions nor a thousand new devices make each message ask about everybody anew.
"""

from __future__ import annotations

from typing import Final, final

from lockgate.hub.known import KnownTopics
from lockgate.hub.session import Session
from lockgate.hub.shares import READY, UNABLE, Share, rank
from lockgate.hub.trie import Trie
from lockgate.model.epoch import Epoch
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.policy import UNLIMITED_BYTES, Denied, Grant, PolicyEngine

NEVER: Final = -1
# Not Final, which would build the bounds into the compiled room: tests lower them, and only filling asks for them.
MAX_ROUTES = 100_000
MAX_ROUTE_BYTES = 134_217_728
MAX_GRANTS_PER_CLIENT = 1000
MAX_GRANTS = 262_144
"""Of all clients together: about 100 MB, and more than 10,000 devices with two dozen topics each need."""
MAX_DENIALS_PER_CLIENT: Final = 100
MAX_TOPIC_CHARACTERS: Final = 256
"""A grant on a longer topic is not remembered: devices choose their topics, and could fill the memory with them."""

# What a route takes beside its topic, about, in bytes: itself, each receiver, each of the receiver's subscriptions.
_ROUTE_BYTES: Final = 512
_TARGET_BYTES: Final = 192
_SUBSCRIPTION_BYTES: Final = 24
_LEVEL_BYTES: Final = 384
KEPT_TARGETS: Final = 32
"""A touched route of more receivers is kept for what was decided about them; a smaller one is as soon made anew."""


@final
class Target:
    """One session that hears a topic, and how: its overlapping subscriptions become one delivery."""

    __slots__ = (
        "decided_at",
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
        self,
        session: Session,
        subscriptions: list[Subscription],
        max_qos: int,
        max_payload_bytes: int,
        decided_at: int = NEVER,
    ) -> None:
        self.decided_at: int = decided_at
        self.session = session
        self.principal: Principal = session.principal
        self.subscriptions = subscriptions
        self.max_payload_bytes: int = max_payload_bytes
        self.qos: int = min(max(s.qos for s in subscriptions), max_qos)
        self.identifiers: tuple[int, ...] = tuple(s.identifier for s in subscriptions if s.identifier)
        self.retain_as_published: bool = any(s.retain_as_published for s in subscriptions)
        self.no_local: bool = any(s.no_local for s in subscriptions)

    def holds_for(self, subscriptions: list[Subscription], clock: Epoch) -> bool:
        """Say whether it would be made just so again: policy, session and subscriptions are as they were."""
        return (
            self.session.principal is self.principal
            and clock.moved_at(self.principal.device) <= self.decided_at
            and self.subscriptions == subscriptions
        )

    def without_local(self) -> Target | None:
        """Give the target as it stands for the session's own messages [MQTT-3.8.3-3]."""
        foreign = [s for s in self.subscriptions if not s.no_local]
        return Target(self.session, foreign, self.qos, self.max_payload_bytes) if foreign else None


@final
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


@final
class Route:
    """Who hears one topic, until it is dropped, and as long as `epoch` is the memory's.

    A payload larger than `max_payload_bytes` is not for all of them.
    """

    __slots__ = ("epoch", "is_dropped", "max_payload_bytes", "shares", "targets")

    def __init__(self, targets: list[Target], shares: list[SharedTarget], epoch: int) -> None:
        self.targets = targets
        self.shares = shares
        self.epoch: int = epoch
        self.is_dropped: bool = False
        least = UNLIMITED_BYTES
        for target in targets:
            least = min(least, target.max_payload_bytes)
        for shared in shares:
            for target in shared.members:
                least = min(least, target.max_payload_bytes)
        self.max_payload_bytes: int = least

    def drop(self) -> None:
        """It holds no longer; what remembers it shall not keep its receivers in memory."""
        self.is_dropped = True
        self.targets = []
        self.shares = []


_NOT_FOUND_YET: Final = Route([], [], -1)
_NOT_FOUND_YET.drop()


@final
class Walk:
    """What became of a publish on one topic by one principal, and will of the next: its grant, and who hears it."""

    __slots__ = ("grant", "is_limited", "max_payload_bytes", "may_retain", "qos_bits", "route")

    def __init__(self, grant: Grant) -> None:
        self.grant: Grant = grant
        self.route: Route = _NOT_FOUND_YET
        self.is_limited: bool = grant.is_limited
        self.qos_bits: int = grant.qos_bits
        self.may_retain: bool = grant.may_retain
        self.max_payload_bytes: int = grant.max_payload_bytes

    def takes_in(self, message: Message) -> bool:
        """Say whether the grant, which has limits, takes in a message."""
        return (
            self.qos_bits >> message.qos & 1 != 0
            and (self.may_retain or not message.retain)
            and message.payload_bytes <= self.max_payload_bytes
        )


@final
class Grants:
    """What one principal may publish, by topic; and what it was refused."""

    __slots__ = ("by_topic", "checked_at", "denied", "principal")

    def __init__(self, principal: Principal, now: int) -> None:
        self.principal = principal
        self.checked_at: int = now
        self.by_topic: dict[str, Walk] = {}
        self.denied: dict[tuple[str, int, bool], Denied] = {}


@final
class Memory:
    """Remembers routes, grants and denials; all bounded, all emptied whole when full."""

    def __init__(self, policy: PolicyEngine, trie: Trie) -> None:
        self._policy = policy
        self._trie = trie
        self._clock: Epoch = policy.clock
        self._policy_epoch: int = self._clock.number
        self._routes: dict[str, Route] = {}
        self._known = KnownTopics()
        self._route_bytes: int = 0
        self._grants: dict[str, Grants] = {}
        self._decisions: int = 0
        self._epoch: int = 0
        self._last: Grants | None = None  # who published last mostly publishes next

    def check_epoch(self) -> None:
        """Have all that is remembered looked over before it is next used, if the policy changed."""
        if self._clock.number != self._policy_epoch:
            self._policy_epoch = self._clock.number
            self._epoch += 1
            self._last = None

    def is_last(self, principal: Principal) -> bool:
        """Say whether it was this principal that published last."""
        last = self._last
        return last is not None and last.principal is principal

    def forget_last(self) -> None:
        """Take whoever publishes next for somebody new."""
        self._last = None

    def walk(self, principal: Principal, message: Message) -> Walk | None:
        """Give the remembered walk of a message, None when it must be asked for, as when the policy changed."""
        if self._clock.number != self._policy_epoch:
            self.check_epoch()
        grants = self._last
        if grants is None or grants.principal is not principal:
            grants = self._find(principal)
            if grants is None:
                return None
            self._last = grants
        walk = grants.by_topic.get(message.topic)
        if walk is None or (walk.is_limited and not walk.takes_in(message)):
            return None
        return walk

    def route_of(self, walk: Walk, topic: str) -> Route:
        """Give who hears a message on `topic`, the walk's: the route that it holds, if that still stands."""
        route = walk.route
        if route.is_dropped or route.epoch != self._epoch:
            route = walk.route = self.route(topic)
        return route

    def decide(self, principal: Principal, message: Message) -> Walk | Denied:
        """Ask the policy whether the principal may publish a message, and keep the answer for the next of its kind."""
        topic, qos, retain, size = message.topic, message.qos, message.retain, message.payload_bytes
        known = self._denial(principal, topic, qos, retain)
        if known is not None and size >= known.from_bytes:  # a flood asks for the same again and again
            return known
        answer = self._policy.authorize(principal, Operation.PUBLISH, topic, qos, retain, size)
        if isinstance(answer, Grant):
            walk = Walk(answer)
            if answer.lasts and len(topic) <= MAX_TOPIC_CHARACTERS:
                self._remember(principal, topic, walk)
            return walk
        if len(topic) <= MAX_TOPIC_CHARACTERS:
            self._remember_denial(principal, topic, qos, retain, answer)
        return answer

    def _remember(self, principal: Principal, topic: str, walk: Walk) -> None:
        grants = self._grants_of(principal)
        if len(grants.by_topic) >= MAX_GRANTS_PER_CLIENT:
            self._decisions -= len(grants.by_topic)
            grants.by_topic.clear()
        if topic not in grants.by_topic:
            self._decisions += 1
        grants.by_topic[topic] = walk

    def _denial(self, principal: Principal, topic: str, qos: int, retain: bool) -> Denied | None:
        grants = self._find(principal)
        return None if grants is None else grants.denied.get((topic, qos, retain))

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
        grants = self._find(principal)
        if grants is None:
            self.forget_client(principal.client_id)
            grants = self._grants[principal.client_id] = Grants(principal, self._clock.number)
        return grants

    def _find(self, principal: Principal) -> Grants | None:
        """Give what is remembered of a principal, and still holds."""
        grants = self._grants.get(principal.client_id)
        if grants is None or grants.principal is not principal:
            return None
        now = self._clock.number
        if grants.checked_at != now:
            if self._clock.moved_at(principal.device) > grants.checked_at:
                return None
            grants.checked_at = now
            self._decisions -= len(grants.denied)
            grants.denied.clear()  # their words tell how things stand with other devices, too
        return grants

    def forget_client(self, client_id: str) -> None:
        """Drop the grants of a client whose connection ended."""
        self._last = None
        grants = self._grants.pop(client_id, None)
        if grants is not None:
            self._decisions -= len(grants.by_topic) + len(grants.denied)

    def route(self, topic: str) -> Route:
        """Give who hears `topic`: remembered, or made now by asking the policy about each receiver."""
        route = self._routes.get(topic)
        if route is None or route.epoch != self._epoch:
            before = route
            route = Route(self._targets(topic, before), self._shared_targets(topic, before), self._epoch)
            if before is not None:
                before.drop()
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
            route.drop()

    def _forget_all_grants(self) -> None:
        self._last = None
        self._grants.clear()
        self._decisions = 0

    def _forget_all_routes(self) -> None:
        for route in self._routes.values():
            route.drop()
        self._routes.clear()
        self._known.clear()
        self._route_bytes = 0

    def _targets(self, topic: str, former: Route | None) -> list[Target]:
        decided = {target.session: target for target in former.targets} if former is not None else {}
        targets = []
        for session, subscriptions in self._trie.match(topic).items():
            known = decided.get(session)
            if known is not None and known.holds_for(subscriptions, self._clock):
                targets.append(known)
                continue
            grant = self._policy.authorize(session.principal, Operation.RECEIVE, topic)
            if isinstance(grant, Grant):
                now = self._clock.number
                targets.append(Target(session, subscriptions, grant.max_qos, grant.max_payload_bytes, now))
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
                if member is None or not member.holds_for([subscription], self._clock):
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
    return Target(session, [subscription], grant.max_qos, grant.max_payload_bytes, policy.clock.number)


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
