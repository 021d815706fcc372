"""Retained messages for those who subscribe: looked up and delivered one subscription at a time.

To find them can take long, and many can be asked for with few bytes. So each subscription is a turn of its own, the
sessions take turns, and what it costs goes on the account of the device.

Source: MQTT 5.0 section 3.3.1.3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from lockgate.hub.retained import Retained
from lockgate.hub.session import Session
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.policy import Grant, PolicyEngine

Charge = Callable[[Principal, int], None]
"""Hears on whose account the hub has done work, which is as much as so many messages sent."""

LEVELS_PER_MESSAGE = 32
RETAINED_PER_MESSAGE = 8
"""To look at so many levels of topics, or to deliver so many retained messages, is as much work as a message sent."""


class Replays:
    """The subscriptions that still wait for their retained messages.

    Args:
        policy: decides over each delivery.
        retained: where the messages are.
        charge: hears what it cost.
    """

    def __init__(self, policy: PolicyEngine, retained: Retained, charge: Charge) -> None:
        self._policy = policy
        self._retained = retained
        self._charge = charge
        self._waiting: OrderedDict[Session, dict[str, Subscription]] = OrderedDict()

    def ask(self, session: Session, subscription: Subscription) -> None:
        """Have the retained messages of a subscription delivered when its turn comes."""
        self._waiting.setdefault(session, {})[subscription.filter] = subscription

    def forget(self, session: Session) -> None:
        """The session is over."""
        self._waiting.pop(session, None)

    def deliver_next(self, now: float) -> bool:
        """Deliver what one subscription waits for, in unix seconds `now`; say whether others wait."""
        if self._waiting:
            session, wanted = self._waiting.popitem(last=False)
            subscription = wanted.pop(next(iter(wanted)))
            if wanted:
                self._waiting[session] = wanted
            if session.subscriptions.get(subscription.filter) is subscription:
                self.replay(session, subscription, now)
        return bool(self._waiting)

    def replay(self, session: Session, subscription: Subscription, now: float) -> None:
        """Deliver the retained messages that a subscription takes in, as far as there is room for them."""
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        count = 0
        for message in self._retained.match(subscription.filter, now):
            grant = self._policy.authorize(
                session.principal, Operation.RECEIVE, message.topic, payload_bytes=message.payload_bytes
            )
            count += 1
            if isinstance(grant, Grant):
                qos = min(message.qos, subscription.qos, grant.max_qos)
                if session.deliver(message, qos, True, identifiers) < 0 and session.is_full:
                    break  # neither is there room for the rest
        work = self._retained.looked // LEVELS_PER_MESSAGE + count // RETAINED_PER_MESSAGE
        if work:
            self._charge(session.principal, work)
