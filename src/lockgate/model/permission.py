"""Permissions: rules as people write them, before policy compiles them."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Operation(StrEnum):
    """What a rule speaks about: sending into the topic space, or hearing from it."""

    PUBLISH = "publish"
    RECEIVE = "receive"


class Effect(StrEnum):
    """What a rule says. Deny wins over allow."""

    ALLOW = "allow"
    DENY = "deny"


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    `subject` is "device:NAME", "group:NAME" or "everyone"; `filter` a topic filter that may hold ${device} and
    ${client_id}; `max_qos` the highest QoS it allows (a deny rule ignores it); `retain` whether a published message may
    be retained.
    """

    subject: str
    operation: Operation
    filter: str
    effect: Effect = Effect.ALLOW
    max_qos: int = 2
    retain: bool = True
    id: int = 0

    def __str__(self) -> str:
        """Read the rule as a sentence, as `lockgate policy explain` prints it."""
        limits = "" if self.max_qos == 2 else f" up to QoS {self.max_qos}"
        if self.operation is Operation.PUBLISH and not self.retain:
            limits += " without retain"
        number = f" (rule {self.id})" if self.id else " (built in)"
        return f"{self.subject}: {self.effect} {self.operation} {self.filter}{limits}{number}"
