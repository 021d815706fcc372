"""What a session remembers between connections: subscriptions, deliveries and the will."""

from __future__ import annotations

import msgspec

from lockgate.model.delivery import Delivery
from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.topic import SHARE_PREFIX, TopicFilter

__all__ = ["Delivery", "SessionRecord", "StoredSession", "Subscription", "Will"]


class Subscription(msgspec.Struct, frozen=True):
    """One topic filter of a session with its options (MQTT 5.0 section 3.8.3.1).

    `retain_handling`: 0 send retained messages, 1 only if the subscription is new, 2 never.
    `identifier`: the subscriber's own number for it, 0 for none.
    `share`: the name under which it is shared with other sessions (section 4.8.2), "" when it is not.
    """

    filter: TopicFilter
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    share: str = ""

    @property
    def text(self) -> str:
        """Give what the subscriber asked for, and names it by: the filter, with its share in front."""
        return f"{SHARE_PREFIX}{self.share}/{self.filter}" if self.share else self.filter


class Will(msgspec.Struct, frozen=True):
    """The message that goes out when its owner is lost, `delay_seconds` after the connection ended.

    `expiry_seconds` is how long the message lives from then on, None for ever.
    """

    message: Message
    delay_seconds: float = 0.0
    expiry_seconds: float | None = None


class SessionRecord(msgspec.Struct, frozen=True):
    """What the store keeps of a session itself.

    `expiry_seconds` counts from `disconnected_at` (unix seconds; None while connected); infinity never expires.
    """

    principal: Principal
    expiry_seconds: float
    disconnected_at: float | None = None
    will: Will | None = None


class StoredSession(msgspec.Struct, frozen=True):
    """A session as it comes back from the store after a restart.

    `deliveries` in their order, each with its tag; `released` the tags of QoS 2 deliveries whose receiver has
    answered "received" (PUBREC); `incoming` the tags of QoS 2 messages received from the client and not yet released.
    """

    record: SessionRecord
    subscriptions: tuple[Subscription, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    released: frozenset[int] = frozenset()
    incoming: frozenset[int] = frozenset()
