"""The policy engine: the only room that makes a Grant, the token which the topic space asks for.

Rules come from the registry (a device's own, its groups', everyone's); beside them stands the built-in rule that a
device may publish and receive under its own tree `devices/NAME/#`. What no rule allows is refused, and deny wins.

A gateway speaks for the devices that are bound to it: about the tree of such a device, the rules and the standing of
that device decide, and the gateway's own deny rules. About all else, a gateway is a device like others.
"""

from __future__ import annotations

import shlex
from typing import Protocol

import msgspec

from lockgate.errors import NotAuthorized
from lockgate.model.device import Device
from lockgate.model.epoch import Epoch
from lockgate.model.permission import QOS_LEVELS, Operation, Rule, levels_in_words
from lockgate.model.principal import Principal
from lockgate.policy.matching import (
    CLIENT_ID,
    HUB_RULES,
    LAB_RULES,
    NOBODY_ELSE,
    OWN_TREE,
    ReadyRules,
    covers,
    make_ready,
    takes_in,
)

LAB_DEVICE = "lab"
HUB_DEVICE = "hub"
"""Two names that no device can have."""
MAX_REMEMBERED_PRINCIPALS = 100_000
MAX_REMEMBERED_CLIENTS = 10_000
"""Those for whom a rule holds their own client id, at most; a device can make up client ids for ever."""
BY_GATEWAY = -1
"""Stands for the credential of a device for which a gateway speaks."""
UNLIMITED_BYTES = 1 << 62


class RuleSource(Protocol):
    """What policy needs of the registry."""

    @property
    def clock(self) -> Epoch:
        """What moves whenever a device or a rule changed."""
        ...

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        ...

    def rules_for(self, device: str, /) -> tuple[Rule, ...]:
        """Give the rules of a device, its groups and everyone."""
        ...


class Decision(msgspec.Struct, frozen=True):
    """Why policy said what it said: the rule that decided, or None when none spoke.

    It has no truth value: a forgotten `is_allowed` would otherwise read as a yes.
    """

    is_allowed: bool
    principal: Principal
    operation: Operation
    topic: str
    reason: str
    rule: Rule | None = None
    fix: str = ""

    def __bool__(self) -> bool:
        """Refuse to be read as yes or no."""
        raise TypeError("a Decision has no truth value: look at is_allowed, or match on Grant and NotAuthorized")


class Request(msgspec.Struct, frozen=True, gc=False):
    """What somebody asks to do. For RECEIVE neither QoS nor retain is judged; for a filter nothing but the filter."""

    principal: Principal
    operation: Operation
    topic: str
    qos: int = 0
    retain: bool = False
    payload_bytes: int = 0
    is_filter: bool = False


class Grant(msgspec.Struct, frozen=True):
    """A permission in hand. Made here and nowhere else (a house test looks).

    It takes in every message on its topic whose QoS is in `qos_bits` (bit 0 for QoS 0), that is retained only if it
    `may_retain`, and whose payload is within `max_payload_bytes`. With `messages_per_second` (0: no limit) each of them
    counts on the account of `holder`, the device whose rule it is. Unless it `lasts`, the next message may fall under
    another rule, and is to be asked for anew.
    """

    decision: Decision
    max_qos: int
    may_retain: bool
    qos_bits: int
    max_payload_bytes: int
    messages_per_second: float
    holder: str
    lasts: bool
    is_limited: bool
    """Whether there is any limit to look at: most grants have none."""


class Denied(NotAuthorized):
    """The policy's no, with its decision; it holds for payloads of `from_bytes` and more, 0 for all."""

    def __init__(self, decision: Decision, from_bytes: int = 0) -> None:
        rule = str(decision.rule) if decision.rule is not None else "no rule allows it"
        super().__init__(
            f"{decision.principal.device} may not {decision.operation} {decision.topic!r}: {decision.reason}",
            reason=f"not authorized: {decision.reason}",
            fix=decision.fix,
            evidence={"operation": decision.operation.value, "topic": decision.topic, "rule": rule},
        )
        self.decision = decision
        self.from_bytes = from_bytes


class _Known:
    """The rules of a principal, or why it has none; they hold as they stood when the clock was last asked."""

    __slots__ = ("checked_at", "rules")

    def __init__(self, rules: ReadyRules | str, checked_at: int) -> None:
        self.rules = rules
        self.checked_at = checked_at


class PolicyEngine:
    """Decides over publish, receive and subscribe, for every door alike."""

    def __init__(self, source: RuleSource) -> None:
        self.clock = source.clock
        """Moves whenever an answer given before may no longer hold: who remembers grants compares it."""
        self._source = source
        self._of_devices: dict[tuple[str, int], _Known] = {}
        self._of_clients: dict[tuple[str, int, str], _Known] = {}

    def authorize(
        self,
        principal: Principal,
        operation: Operation,
        topic: str,
        qos: int = 0,
        retain: bool = False,
        payload_bytes: int = 0,
    ) -> Grant | Denied:
        """Decide whether `principal` may publish a message on the topic name, or receive one from it.

        For RECEIVE neither QoS nor retain is judged: the grant's `max_qos` bounds the delivery.
        """
        return self._decide(Request(principal, operation, topic, qos, retain, payload_bytes))

    def authorize_filter(self, principal: Principal, topic_filter: str) -> Grant | Denied:
        """Decide whether `principal` may subscribe: one allow rule must cover all that the filter takes in.

        Each delivery is authorized again, so a deny rule inside the filter still silences its topics.
        """
        return self._decide(Request(principal, Operation.RECEIVE, topic_filter, is_filter=True))

    def _decide(self, request: Request) -> Grant | Denied:
        principal, operation = request.principal, request.operation
        ready = self.rules_of(principal)
        if isinstance(ready, str):
            return _refuse(request, ready, None, _standing_fix(principal.device, ready))
        levels = request.topic.split("/")
        matches = covers if request.is_filter else takes_in
        denying, holder = ready.denying(operation), principal.device
        if levels[0] == "devices" and len(levels) > 1 and levels[1] != holder:
            represented = self.represented(holder, levels[1])
            if isinstance(represented, str):
                reason = f"{levels[1]}, for which it would speak: {represented}"
                return _refuse(request, reason, None, _standing_fix(levels[1], represented))
            if represented is not None:
                ready, holder = represented, levels[1]
                denying += ready.denying(operation)
        for candidate in denying:
            if matches(candidate.levels, levels):
                rule = candidate.rule
                fix = f"lockgate policy remove {rule.id}" if rule.id else "only the hub publishes under $SYS"
                return _refuse(request, "a rule denies it", rule, fix)
        matching = [candidate.rule for candidate in ready.allowing(operation) if matches(candidate.levels, levels)]
        granting = [rule for rule in matching if not _obstacle(rule, request)]
        if granting:
            return _grant(request, max(granting, key=_breadth), holder, matching)
        return _no(request, holder, matching, self._other_owner(levels, holder))

    def _other_owner(self, levels: list[str], holder: str) -> str:
        """Give the device in whose tree a topic lies that is not `holder`'s, "" if there is none."""
        name = levels[1] if levels[0] == "devices" and len(levels) > 1 else holder
        return "" if name == holder or self._source.device(name) is None else name

    def represented(self, gateway: str, device: str) -> ReadyRules | str | None:
        """Give the rules of a device for which the gateway may speak, or why nobody may; None when it may not."""
        found = self._source.device(device)
        if found is None or gateway not in found.gateways:
            return None
        return self.rules_of(Principal(device, device, "gateway", BY_GATEWAY))

    def rules_of(self, principal: Principal) -> ReadyRules | str:
        """Give the principal's rules, or the reason why it has none (blocked, revoked, unknown)."""
        device, credential_id = principal.device, principal.credential_id
        known = self._of_devices.get((device, credential_id))
        if known is None:
            known = self._of_clients.get((device, credential_id, principal.client_id))
        if known is None:
            return self._make_rules(principal)
        now = self.clock.number
        if known.checked_at != now:
            if self.clock.moved_at(device) > known.checked_at:
                return self._make_rules(principal)
            known.checked_at = now
        return known.rules

    def _make_rules(self, principal: Principal) -> ReadyRules | str:
        """Make the principal's rules ready, and remember them: for all clients of its device, if they are the same."""
        rules = self._rules_of(principal)
        device, credential_id, now = principal.device, principal.credential_id, self.clock.number
        if len(self._of_devices) >= MAX_REMEMBERED_PRINCIPALS:
            self._of_devices.clear()
        self._of_devices.pop((device, credential_id), None)  # what is there goes before what a client of it has
        if isinstance(rules, str):
            self._of_devices[device, credential_id] = _Known(rules, now)
            return rules
        found = self._source.device(device)
        ready = make_ready(rules, principal, found.groups if found is not None else ())
        if not any(CLIENT_ID in rule.filter for rule in rules):
            self._of_devices[device, credential_id] = _Known(ready, now)
            return ready
        if len(self._of_clients) >= MAX_REMEMBERED_CLIENTS:
            self._of_clients.clear()
        self._of_clients[device, credential_id, principal.client_id] = _Known(ready, now)
        return ready

    def _rules_of(self, principal: Principal) -> tuple[Rule, ...] | str:
        if principal.device == LAB_DEVICE:
            return NOBODY_ELSE + LAB_RULES
        if principal.device == HUB_DEVICE:
            return HUB_RULES
        device = self._source.device(principal.device)
        if device is None:
            return "the device is not registered"
        if device.is_blocked:
            return "the device is blocked"
        if device.is_shut_out:
            return f"the group {device.blocked_groups[0]} is blocked"
        if not _is_good(device, principal.credential_id):
            return "the credential is revoked"
        return NOBODY_ELSE + OWN_TREE + self._source.rules_for(principal.device)


def _is_good(device: Device, credential_id: int) -> bool:
    """Say whether a credential still stands for its device. Who has none at all can still be spoken for."""
    if credential_id == BY_GATEWAY:
        return not device.credentials or not all(c.is_revoked for c in device.credentials)
    return any(c.id == credential_id and not c.is_revoked for c in device.credentials)


def _obstacle(rule: Rule, request: Request) -> str:
    """Say which limit of an allow rule stands in the way, "" when none does."""
    if request.operation is Operation.PUBLISH:
        if request.qos not in rule.qos:
            if request.qos > rule.max_qos:
                return f"QoS {request.qos} is above the rule's {rule.max_qos}"
            return f"the rule allows it {levels_in_words(rule.qos)}"
        if request.retain and not rule.retain:
            return "the rule allows no retain"
    if rule.max_payload_bytes is not None and request.payload_bytes > rule.max_payload_bytes:
        return f"the rule allows payloads of up to {rule.max_payload_bytes} bytes"
    return ""


def _breadth(rule: Rule) -> tuple[float, int, int, int, bool]:
    """Order rules by how much they allow: of those that allow a message, the widest is the one that counts."""
    rate = float("inf") if rule.messages_per_second is None else rule.messages_per_second
    size = UNLIMITED_BYTES if rule.max_payload_bytes is None else rule.max_payload_bytes
    return rate, rule.max_qos, size, len(rule.qos), rule.retain


def _grant(request: Request, rule: Rule, holder: str, matching: list[Rule]) -> Grant:
    return Grant(
        Decision(True, request.principal, request.operation, request.topic, "a rule allows it", rule),
        rule.max_qos,
        rule.retain,
        sum(1 << level for level in rule.qos),
        UNLIMITED_BYTES if rule.max_payload_bytes is None else rule.max_payload_bytes,
        rule.messages_per_second or 0.0,
        holder,
        len(matching) == 1 or all(each.messages_per_second is None for each in matching),
        rule.qos != QOS_LEVELS
        or not rule.retain
        or rule.max_payload_bytes is not None
        or rule.messages_per_second is not None,
    )


def _refuse(request: Request, reason: str, rule: Rule | None, fix: str, from_bytes: int = 0) -> Denied:
    decision = Decision(False, request.principal, request.operation, request.topic, reason, rule, fix)
    return Denied(decision, from_bytes)


def _no(request: Request, holder: str, matching: list[Rule], other: str) -> Denied:
    """Refuse what no rule allows; name the widest of those that nearly do, and what it lacks."""
    nearly = max(matching, key=_breadth, default=None)
    if nearly is not None:
        empty = msgspec.structs.replace(request, payload_bytes=0)
        is_for_size = any(not _obstacle(rule, empty) for rule in matching)
        fix = "publish within the rule, or add a wider one"
        return _refuse(request, _obstacle(nearly, request), nearly, fix, request.payload_bytes if is_for_size else 0)
    option = shlex.quote(f"--{request.operation}={request.topic}")
    fix = f"lockgate policy allow --device {holder} {option}"
    if other:
        fix = f"lockgate gateway bind {holder} {other}, if {holder} speaks for {other}; else {fix}"
    return _refuse(request, "no rule allows it", None, fix)


def _standing_fix(device: str, reason: str) -> str:
    if reason.startswith("the group "):
        return f"lockgate group unblock {reason.split()[2]}"
    if "blocked" in reason:
        return f"lockgate device unblock {device}"
    if "revoked" in reason:
        return f"lockgate device rotate {device} --out DIR gives it a new key"
    return f"lockgate device add {device} --auth KIND --out DIR"
