"""Reach: can what one device publishes ever be received by another? With a topic that shows it, or what bars it.

Theory of operation. Both may use a topic when an allow rule of each takes it in and no deny rule of either does. Two
filters overlap in a set of topics that is a filter again, so each pair of allow rules gives one candidate filter. From
it the topic is built that is hardest to deny: a name that stands in no rule where the filter has a +, and each length
that the filter allows. A deny rule that takes in that topic takes in all topics of that length, for a + is matched by
what matches anything; so when each length is denied, the candidate is denied as a whole. That is sound and complete
for topics of up to 32 levels, and takes as many steps as there are pairs, lengths and deny rules.

About the trees of devices behind a gateway other rules decide than about the rest. So the topics are cut into cells,
one for each such tree and one for all else, and each is searched by itself. A client id of its own choice is one more
name that stands in no rule, or one that the other side's rules wait for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from lockgate.model.device import Device
from lockgate.model.permission import Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import MAX_TOPIC_LEVELS
from lockgate.policy.engine import PolicyEngine, RuleSource
from lockgate.policy.matching import CLIENT_ID, ReadyRule, takes_in

MAX_BARRIERS = 20
"""So many overlaps that are denied are told of one pair of devices; one is enough to see the pattern."""

MAX_REMEMBERED_SIDES = 1000

Levels = tuple[str, ...]


class Barrier(msgspec.Struct, frozen=True):
    """An overlap of two allow rules that deny rules take away as a whole."""

    overlap: str
    publish: Rule
    receive: Rule
    denied_by: tuple[Rule, ...]


class Reached(msgspec.Struct, frozen=True):
    """What one device can say to another: a topic with the rules that allow it, or why there is none.

    `reason` is "" when there is a topic; the client ids are those with which it works.
    """

    publisher: str
    receiver: str
    reason: str = ""
    topic: str = ""
    publish: Rule | None = None
    receive: Rule | None = None
    publishes_as: str = ""
    receives_as: str = ""
    barriers: tuple[Barrier, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether a message can cross."""
        return bool(self.topic)


class _Side(msgspec.Struct, frozen=True):
    """What one device may in one cell, under one client id."""

    client_id: str
    allows: tuple[ReadyRule, ...]
    denies: tuple[ReadyRule, ...]
    levels: frozenset[str]
    allows_by_client: bool
    denies_by_client: bool

    @property
    def goes_by_client(self) -> bool:
        """Whether another client id could make a difference."""
        return self.allows_by_client or self.denies_by_client


class Reach:
    """Searches for ways from device to device.

    Args:
        source: the rules.
        devices: all devices, for who is bound to whom.
    """

    def __init__(self, source: RuleSource, devices: Iterable[Device]) -> None:
        self._engine = PolicyEngine(source)
        self._devices = {device.name: device for device in devices}
        self._sides: dict[tuple[str, str, Operation, str], _Side] = {}
        self._behind: defaultdict[str, set[str]] = defaultdict(set)
        for device in self._devices.values():
            for gateway in device.gateways:
                self._behind[gateway].add(device.name)

    def find(self, publisher: str, receiver: str) -> Reached:
        """Say whether a message that `publisher` may publish can ever be received by `receiver`."""
        for name in (publisher, receiver):
            standing = self._engine.rules_of(self._principal(name, name))
            if isinstance(standing, str):
                return Reached(publisher, receiver, f"{name}: {standing}")
        barriers: list[Barrier] = []
        for cell in self._cells(publisher, receiver):
            for speaker, hearer, fresh in self._pairs(publisher, receiver, cell):
                for found in self._overlaps(speaker, hearer, cell, publisher, receiver, fresh):
                    if isinstance(found, Barrier):
                        barriers.append(found)
                        continue
                    topic, publish, receive = found
                    names = speaker.client_id, hearer.client_id
                    return Reached(publisher, receiver, "", topic, publish, receive, *names)
        reason = "deny rules take away all that allow rules have in common" if barriers else "no allow rules overlap"
        told = tuple(dict.fromkeys(barriers))[:MAX_BARRIERS]
        return Reached(publisher, receiver, reason, barriers=told)

    def from_device(self, name: str) -> Iterator[Reached]:
        """Give, for every other device, what `name` can say to it."""
        return (self.find(name, other) for other in sorted(self._devices) if other != name)

    def to_device(self, name: str) -> Iterator[Reached]:
        """Give, for every other device, what it can say to `name`."""
        return (self.find(other, name) for other in sorted(self._devices) if other != name)

    def _principal(self, name: str, client_id: str) -> Principal:
        known = self._devices.get(name)
        good = [c.id for c in known.credentials if not c.is_revoked] if known is not None else []
        return Principal(name, client_id, "reach", good[0] if good else 0)

    def _cells(self, publisher: str, receiver: str) -> list[str]:
        """Give the trees of devices about which other rules decide, as far as both may meet there; "" for the rest."""
        of_publisher, of_receiver = self._behind.get(publisher, set()), self._behind.get(receiver, set())
        if not of_publisher and not of_receiver:
            return [""]
        told = self._allows(publisher, Operation.PUBLISH), self._allows(receiver, Operation.RECEIVE)
        cells = of_publisher & of_receiver
        for bound, others in ((of_publisher, told[1]), (of_receiver, told[0])):
            named = {levels[1] for levels in others if levels[0] in ("devices", "+") and len(levels) > 1}
            is_wide = any(levels[0] == "#" for levels in others) or bool(named & {"+", "#"})
            cells |= bound if is_wide else bound & named
        return ["", *sorted(cells)]

    def _allows(self, name: str, operation: Operation) -> list[Levels]:
        ready = self._engine.rules_of(self._principal(name, name))
        return [] if isinstance(ready, str) else [rule.levels for rule in ready.allowing(operation)]

    def _side(self, name: str, client_id: str, operation: Operation, cell: str) -> _Side:
        key = (name, client_id, operation, cell)
        side = self._sides.get(key)
        if side is None:
            if len(self._sides) >= MAX_REMEMBERED_SIDES:
                self._sides.clear()
            side = self._sides[key] = self._make_side(name, client_id, operation, cell)
        return side

    def _make_side(self, name: str, client_id: str, operation: Operation, cell: str) -> _Side:
        ready = self._engine.rules_of(self._principal(name, client_id))
        assert not isinstance(ready, str)
        represented = self._engine.represented(name, cell) if cell and cell != name else None
        allows, denies = ready.allowing(operation), ready.denying(operation)
        if isinstance(represented, str):
            allows = ()
        elif represented is not None:
            allows, denies = represented.allowing(operation), denies + represented.denying(operation)
        return _Side(
            client_id,
            allows,
            denies,
            frozenset(level for rule in allows + denies for level in rule.levels),
            any(CLIENT_ID in rule.rule.filter for rule in allows),
            any(CLIENT_ID in rule.rule.filter for rule in denies),
        )

    def _pairs(self, publisher: str, receiver: str, cell: str) -> Iterator[tuple[_Side, _Side, str]]:
        """Give both sides under each client id that makes a difference, with a name that stands in no rule."""
        publish, receive = Operation.PUBLISH, Operation.RECEIVE
        speaker, hearer = self._side(publisher, publisher, publish, cell), self._side(receiver, receiver, receive, cell)
        behind = self._behind.get(publisher, ()), self._behind.get(receiver, ())
        known = speaker.levels.union(hearer.levels, *behind)
        fresh = _fresh(known, "anything")
        suffix = _fresh(known | {fresh}, "client")
        suffixes = (suffix,) if publisher != receiver else (suffix, _fresh(known | {fresh, suffix}, "client"))
        for one in self._clients(publisher, speaker, hearer, (suffix,)):
            speaking = self._side(publisher, one, publish, cell)
            for two in self._clients(receiver, hearer, speaking, suffixes):
                yield speaking, self._side(receiver, two, receive, cell), fresh

    def _clients(self, name: str, side: _Side, other: _Side, suffixes: tuple[str, ...]) -> list[str]:
        """Give the client ids that a device may choose, as far as rules tell them apart."""
        if not side.goes_by_client:
            return [name]
        awaited = {
            levels[index + 1]
            for levels in (rule.levels for rule in other.allows)
            for index in range(len(levels) - 1)
            if levels[index] in (name, "+") and levels[index + 1] not in ("", "+", "#")
        }
        return [name, *(f"{name}/{suffix}" for suffix in (*suffixes, *sorted(awaited)))]

    def _overlaps(
        self, speaker: _Side, hearer: _Side, cell: str, publisher: str, receiver: str, fresh: str
    ) -> Iterator[Barrier | tuple[str, Rule, Rule]]:
        denies = speaker.denies + hearer.denies
        is_first = speaker.client_id == publisher and hearer.client_id == receiver
        is_whole = is_first or speaker.denies_by_client or hearer.denies_by_client
        elsewhere = () if cell else (self._behind.get(publisher, ()), self._behind.get(receiver, ()))
        for one, two, both in _candidates(speaker, hearer, cell, is_whole):
            is_in_a_cell = both[0] == "devices" and any(both[1:2] and both[1] in bound for bound in elsewhere)
            topics = [] if is_in_a_cell else _hardest(both, denies, fresh)
            free = next((t for t in topics if not any(takes_in(deny.levels, t) for deny in denies)), None)
            if free is not None:
                yield "/".join(free), one, two
            elif topics:
                against = (d.rule for d in denies if any(takes_in(d.levels, topic) for topic in topics))
                yield Barrier("/".join(both), one, two, tuple(dict.fromkeys(against)))


def _candidates(speaker: _Side, hearer: _Side, cell: str, is_whole: bool) -> Iterator[tuple[Rule, Rule, Levels]]:
    """Give the overlaps of each pair of allow rules; unless `is_whole`, of those alone that name the client."""
    for one in speaker.allows:
        inside = overlap(one.levels, ("devices", cell, "#")) if cell else one.levels
        for two in hearer.allows if inside is not None else ():
            if is_whole or CLIENT_ID in one.rule.filter or CLIENT_ID in two.rule.filter:
                both = overlap(inside or (), two.levels)
                if both is not None:
                    yield one.rule, two.rule, both


def overlap(one: Levels, two: Levels) -> Levels | None:
    """Give the filter that takes in what both filters do, None when there is no such topic."""
    if (one[0] in ("+", "#") and two[0][:1] == "$") or (two[0] in ("+", "#") and one[0][:1] == "$"):  # [MQTT-4.7.2-1]
        return None
    both: list[str] = []
    for index in range(max(len(one), len(two))):
        mine = one[index] if index < len(one) else None
        other = two[index] if index < len(two) else None
        if mine == "#":
            return (*both, *two[index:])
        if other == "#":
            return (*both, *one[index:])
        if mine is None or other is None or (mine != other and "+" not in (mine, other)):
            return None
        both.append(other if mine == "+" else mine)
    return tuple(both)


def _hardest(pattern: Levels, denies: tuple[ReadyRule, ...], fresh: str) -> list[list[str]]:
    """Give the topics of a filter that are hardest to deny: one of each length that could make a difference."""
    is_tree = pattern[-1] == "#"
    head = [fresh if level == "+" else level for level in (pattern[:-1] if is_tree else pattern)]
    longest = len(head)
    if is_tree:
        longest = max(longest, *(len(deny.levels) for deny in denies), 0) + 1
    counts = range(max(1, len(head)), min(longest, MAX_TOPIC_LEVELS) + 1)
    return [head + [fresh] * (count - len(head)) for count in counts]


def _fresh(known: frozenset[str], name: str) -> str:
    made, number = name, 0
    while made in known:
        number += 1
        made = f"{name}-{number}"
    return made
