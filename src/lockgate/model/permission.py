"""Permissions: rules as people write them, before policy compiles them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

EVERYONE = "everyone"
QOS_LEVELS = (0, 1, 2)


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

    `subject` is "device:NAME", "group:NAME", "role:NAME" or "everyone"; `filter` a topic filter that may hold
    ${device}, ${group} (once for each group of the device) and ${client_id}. The rest limits an allow rule, and a deny
    rule ignores it: `qos` are the levels that a message may be published with, and the highest of them bounds a
    delivery; `retain` says whether a published message may be retained; `max_payload_bytes` bounds the payload of what
    is published or received; `messages_per_second` how fast each device may publish under the rule, after a burst
    (`hub.rate_burst_seconds`). None is no limit.
    """

    subject: str
    operation: Operation
    filter: str
    effect: Effect = Effect.ALLOW
    qos: tuple[int, ...] = QOS_LEVELS
    retain: bool = True
    id: int = 0
    max_payload_bytes: int | None = None
    messages_per_second: float | None = None

    @property
    def max_qos(self) -> int:
        """The highest of its QoS levels."""
        return max(self.qos, default=0)

    @property
    def content(self) -> Rule:
        """The rule without its number: what it says, and nothing else."""
        return msgspec.structs.replace(self, id=0)

    def __str__(self) -> str:
        """Read the rule as a sentence, as `lockgate policy explain` prints it."""
        number = f" (rule {self.id})" if self.id else " (built in)"
        return f"{self.sentence}{number}"

    @property
    def sentence(self) -> str:
        """What the rule says, without its number."""
        return " ".join((f"{self.subject}: {self.effect} {self.operation} {self.filter}", *self._limits()))

    def _limits(self) -> list[str]:
        if self.effect is Effect.DENY:
            return []
        said = [] if self.qos == QOS_LEVELS else [levels_in_words(self.qos)]
        if self.operation is Operation.PUBLISH and not self.retain:
            said.append("without retain")
        if self.max_payload_bytes is not None:
            said.append(f"up to {self.max_payload_bytes} bytes")
        if self.messages_per_second is not None:
            said.append(f"at {self.messages_per_second:g} messages per second")
        return said


def levels_in_words(levels: tuple[int, ...]) -> str:
    """Name QoS levels: "up to QoS 1" for 0 and 1, else each of them."""
    if levels == QOS_LEVELS[: len(levels)]:
        return f"up to QoS {levels[-1]}" if levels else "at no QoS"
    return f"at QoS {' and '.join(map(str, levels))}"
