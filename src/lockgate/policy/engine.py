"""The policy engine: the only room that makes a Grant, the token which the topic space asks for.

Rules come from the registry (a device's own, its groups', everyone's); beside them stands the built-in rule that a
device may publish and receive under its own tree `devices/NAME/#`. What no rule allows is refused, and deny wins.
"""

from __future__ import annotations

import shlex
from typing import Protocol

import msgspec

from lockgate.errors import NotAuthorized
from lockgate.model.device import Device
from lockgate.model.permission import Operation, Rule
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


class RuleSource(Protocol):
    """What policy needs of the registry."""

    @property
    def epoch(self) -> int:
        """A number that moves whenever a device or a rule changed."""
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


class Grant(msgspec.Struct, frozen=True):
    """A permission in hand. Made here and nowhere else (a house test looks)."""

    decision: Decision
    max_qos: int
    may_retain: bool


class Denied(NotAuthorized):
    """The policy's no, with its decision."""

    def __init__(self, decision: Decision) -> None:
        rule = str(decision.rule) if decision.rule is not None else "no rule allows it"
        super().__init__(
            f"{decision.principal.device} may not {decision.operation} {decision.topic!r}: {decision.reason}",
            reason=f"not authorized: {decision.reason}",
            fix=decision.fix,
            evidence={"operation": decision.operation.value, "topic": decision.topic, "rule": rule},
        )
        self.decision = decision


class PolicyEngine:
    """Decides over publish, receive and subscribe, for every door alike."""

    def __init__(self, source: RuleSource) -> None:
        self._source = source
        self._epoch = source.epoch
        self._of_devices: dict[tuple[str, int], ReadyRules | str] = {}
        self._of_clients: dict[tuple[str, int, str], ReadyRules] = {}

    @property
    def epoch(self) -> int:
        """Move whenever an answer given before may no longer hold: who remembers grants compares it."""
        return self._source.epoch

    def authorize(
        self, principal: Principal, operation: Operation, topic: str, qos: int = 0, retain: bool = False
    ) -> Grant | Denied:
        """Decide whether `principal` may publish a message on the topic name, or receive one from it.

        For RECEIVE neither QoS nor retain is judged: the grant's `max_qos` bounds the delivery.
        """
        if operation is Operation.RECEIVE:
            qos, retain = 0, False
        return self._decide(principal, operation, topic, qos, retain, False)

    def authorize_filter(self, principal: Principal, topic_filter: str) -> Grant | Denied:
        """Decide whether `principal` may subscribe: one allow rule must cover all that the filter takes in.

        Each delivery is authorized again, so a deny rule inside the filter still silences its topics.
        """
        return self._decide(principal, Operation.RECEIVE, topic_filter, 0, False, True)

    def _decide(
        self, principal: Principal, operation: Operation, topic: str, qos: int, retain: bool, is_filter: bool
    ) -> Grant | Denied:
        ready = self._rules(principal)
        if isinstance(ready, str):
            return Denied(Decision(False, principal, operation, topic, ready, None, _standing_fix(principal, ready)))
        levels = topic.split("/")
        matches = covers if is_filter else takes_in
        for candidate in ready.denying(operation):
            if matches(candidate.levels, levels):
                rule = candidate.rule
                fix = f"lockgate policy remove {rule.id}" if rule.id else "only the hub publishes under $SYS"
                return Denied(Decision(False, principal, operation, topic, "a rule denies it", rule, fix))
        matching = [candidate.rule for candidate in ready.allowing(operation) if matches(candidate.levels, levels)]
        granting = [rule for rule in matching if qos <= rule.max_qos and (rule.retain or not retain)]
        if granting:
            rule = max(granting, key=_width)
            return Grant(
                Decision(True, principal, operation, topic, "a rule allows it", rule), rule.max_qos, rule.retain
            )
        return Denied(_refusal(principal, operation, topic, qos, max(matching, key=_width, default=None)))

    def _rules(self, principal: Principal) -> ReadyRules | str:
        """Give the principal's rules, or the reason why it has none (blocked, revoked, unknown)."""
        if self._epoch != self._source.epoch or len(self._of_devices) >= MAX_REMEMBERED_PRINCIPALS:
            self._of_devices.clear()
            self._of_clients.clear()
            self._epoch = self._source.epoch
        device, credential_id = principal.device, principal.credential_id
        ready = self._of_devices.get((device, credential_id))
        if ready is None:
            ready = self._of_clients.get((device, credential_id, principal.client_id))
        return self._make_rules(principal) if ready is None else ready

    def _make_rules(self, principal: Principal) -> ReadyRules | str:
        """Make the principal's rules ready, and remember them: for all clients of its device, if they are the same."""
        rules = self._rules_of(principal)
        device, credential_id = principal.device, principal.credential_id
        if isinstance(rules, str):
            self._of_devices[device, credential_id] = rules
            return rules
        ready = make_ready(rules, principal)
        if not any(CLIENT_ID in rule.filter for rule in rules):
            self._of_devices[device, credential_id] = ready
            return ready
        if len(self._of_clients) >= MAX_REMEMBERED_CLIENTS:
            self._of_clients.clear()
        self._of_clients[device, credential_id, principal.client_id] = ready
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
        if not any(c.id == principal.credential_id and not c.is_revoked for c in device.credentials):
            return "the credential is revoked"
        return NOBODY_ELSE + OWN_TREE + self._source.rules_for(principal.device)


def _width(rule: Rule) -> tuple[int, bool]:
    return rule.max_qos, rule.retain


def _refusal(principal: Principal, operation: Operation, topic: str, qos: int, nearly: Rule | None) -> Decision:
    if nearly is not None:
        above = qos > nearly.max_qos
        limit = f"QoS {qos} is above the rule's {nearly.max_qos}" if above else "the rule allows no retain"
        fix = "publish within the rule, or add a wider one"
        return Decision(False, principal, operation, topic, limit, nearly, fix)
    fix = f"lockgate policy allow --device {principal.device} --{operation} {shlex.quote(topic)}"
    return Decision(False, principal, operation, topic, "no rule allows it", None, fix)


def _standing_fix(principal: Principal, reason: str) -> str:
    if reason.startswith("the group "):
        return f"lockgate group unblock {reason.split()[2]}"
    if "blocked" in reason:
        return f"lockgate device unblock {principal.device}"
    if "revoked" in reason:
        return f"lockgate device rotate {principal.device} --out DIR gives it a new key"
    return f"lockgate device add {principal.device} --auth KIND --out DIR"
