"""Reading: the last word on a topic, for whoever asks for it and does not wait for the next.

A subscriber hears retained messages as deliveries; a reader asks, is answered, and leaves nothing behind. The policy
decides the same: a filter needs a rule that covers it, and each message is authorized by itself. What was decided about
one topic is remembered as long as the policy stands as it is for that device.
"""

from __future__ import annotations

from typing import Final, final

from lockgate.errors import TopicFilterInvalid
from lockgate.hub.rates import RuleRates
from lockgate.hub.replays import LEVELS_PER_MESSAGE, RETAINED_PER_MESSAGE, Charge
from lockgate.hub.retained import Retained
from lockgate.model.message import Message
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import Grant, PolicyEngine

# Not Final, which would build the bounds into the compiled room: tests lower them.
MAX_READERS = 100_000
MAX_TOPICS_PER_READER = 100
_MAX_TOPIC_CHARACTERS: Final = 256
NO_LIMIT: Final = 1 << 60


@final
class Reader:
    """What one principal may read, by topic: the largest payload that it may have."""

    __slots__ = ("allowed", "checked_at", "principal")

    def __init__(self, principal: Principal, now: int) -> None:
        self.principal = principal
        self.checked_at: int = now
        self.allowed: dict[str, int] = {}


@final
class Reading:
    """Answers who asks for retained messages.

    Args:
        policy: decides over each of them.
        retained: where they are.
        charge: hears what it cost.
        max_levels: how many levels a topic filter may have.
        rule_rates: the rates that rules set, counted together with what is published.
    """

    def __init__(
        self, policy: PolicyEngine, retained: Retained, charge: Charge, max_levels: int, rule_rates: RuleRates
    ) -> None:
        self._policy = policy
        self._clock = policy.clock
        self._retained = retained
        self._charge = charge
        self._max_levels: int = max_levels
        self._rule_rates = rule_rates
        self._readers: dict[str, Reader] = {}

    def read(self, principal: Principal, topic: TopicName, now: float) -> Message | None:
        """Give the retained message of a topic, None when there is none at `now` (unix seconds).

        Raises:
            NotAuthorized: the principal may not receive from the topic, or not a message so large.
        """
        message = self._retained.find(topic, now)
        size = 0 if message is None else message.payload_bytes
        if size > self._allowed(principal, topic):
            self._ask(principal, topic, size)
        return message

    def search(
        self, principal: Principal, topic_filter: TopicFilter, now: float, limit: int = NO_LIMIT
    ) -> list[Message]:
        """Give the retained messages that a filter takes in and the principal may receive, at most `limit`.

        Raises:
            TopicFilterInvalid: the filter has too many levels.
            NotAuthorized: no rule covers the filter.
        """
        if topic_filter.count("/") >= self._max_levels:
            raise TopicFilterInvalid(
                f"a topic filter of {topic_filter.count('/') + 1} levels is longer than this hub takes",
                fix="use fewer levels, or raise hub.max_topic_levels",
            )
        decision = self._policy.authorize_filter(principal, topic_filter)
        if not isinstance(decision, Grant):
            raise decision
        return self._search(principal, topic_filter, now, limit)

    def all_of(self, principal: Principal, now: float, limit: int) -> list[Message]:
        """Give the retained messages that a principal may receive, at most `limit`, whichever rules let it."""
        ready = self._policy.rules_of(principal)
        found: dict[str, Message] = {}
        if isinstance(ready, str):
            return []
        for rule in ready.allowing(Operation.RECEIVE):
            for message in self._search(principal, TopicFilter("/".join(rule.levels)), now, limit):
                found[message.topic] = message
                if len(found) >= limit:
                    return list(found.values())
        return list(found.values())

    def check_publish(self, principal: Principal, message: Message) -> Grant:
        """Make sure that a principal may publish a message, before it learns what stands there.

        Raises:
            NotAuthorized: it may not.
        """
        answer = self._policy.authorize(
            principal, Operation.PUBLISH, message.topic, message.qos, message.retain, message.payload_bytes
        )
        if not isinstance(answer, Grant):
            raise answer
        return answer

    def take_publish(self, principal: Principal, message: Message, now: float) -> None:
        """Make sure that a principal may publish, for what is not published here; it counts as if it were.

        Raises:
            NotAuthorized: it may not.
            RateExceeded: its rule allows no more at `now` (unix seconds).
        """
        grant = self.check_publish(principal, message)
        excess = self._rule_rates.take(grant, now) if grant.messages_per_second else None
        if excess is not None:
            raise excess

    def check_receive(self, principal: Principal, topic: TopicName, payload_bytes: int = 0) -> None:
        """Make sure that a principal may receive so many bytes from a topic.

        Raises:
            NotAuthorized: it may not.
        """
        answer = self._policy.authorize(principal, Operation.RECEIVE, topic, payload_bytes=payload_bytes)
        if not isinstance(answer, Grant):
            raise answer

    def forget(self, client_id: str) -> None:
        """Let go of what was decided for a client that is gone."""
        self._readers.pop(client_id, None)

    def _search(self, principal: Principal, topic_filter: TopicFilter, now: float, limit: int) -> list[Message]:
        matched = self._retained.match(topic_filter, now)
        found: list[Message] = []
        for message in matched:
            if len(found) >= limit:
                break
            if self._may_receive(principal, message):
                found.append(message)
        work = self._retained.looked // LEVELS_PER_MESSAGE + len(matched) // RETAINED_PER_MESSAGE
        if work:
            self._charge(principal, work)
        return found

    def _may_receive(self, principal: Principal, message: Message) -> bool:
        answer = self._policy.authorize(
            principal, Operation.RECEIVE, message.topic, payload_bytes=message.payload_bytes
        )
        return isinstance(answer, Grant)

    def _allowed(self, principal: Principal, topic: str) -> int:
        """Give the largest payload that was allowed before, -1 when it must be asked for."""
        reader = self._readers.get(principal.client_id)
        if reader is None or reader.principal is not principal:
            return -1
        now = self._clock.number
        if reader.checked_at != now:
            if self._clock.moved_at(principal.device) > reader.checked_at:
                del self._readers[principal.client_id]
                return -1
            reader.checked_at = now
        return reader.allowed.get(topic, -1)

    def _ask(self, principal: Principal, topic: TopicName, size: int) -> None:
        answer = self._policy.authorize(principal, Operation.RECEIVE, topic, payload_bytes=size)
        if not isinstance(answer, Grant):
            raise answer
        if len(topic) > _MAX_TOPIC_CHARACTERS:
            return
        reader = self._readers.get(principal.client_id)
        if reader is None or reader.principal is not principal:
            if len(self._readers) >= MAX_READERS:
                self._readers.clear()
            reader = self._readers[principal.client_id] = Reader(principal, self._clock.number)
        if len(reader.allowed) >= MAX_TOPICS_PER_READER:
            reader.allowed.clear()
        reader.allowed[topic] = answer.max_payload_bytes
