"""What a session remembers between connections: subscriptions, deliveries and the will."""

from __future__ import annotations

from typing import final

import msgspec
from mypy_extensions import mypyc_attr

from lockgate.model.message import Message
from lockgate.model.principal import Principal
from lockgate.model.topic import SHARE_PREFIX, TopicFilter


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


@final
@mypyc_attr(acyclic=True)
class Delivery:
    """One message on its way to one session; it does not change.

    `tag` names it until it is settled (1 to 65,535; 0 for QoS 0, which nobody settles); `qos` is what this
    subscriber gets; `is_retained` the RETAIN flag as the subscriber shall see it; `commit` the number of the store's
    commit that holds it, 0 when it is not stored; `is_repeated` when it may have been sent before, `was_sent` when it
    surely was; `share` the text of the shared subscription by which it came, "" when it came by none.
    """

    __slots__ = (
        "commit", "identifiers", "is_repeated", "is_retained", "message", "qos", "share", "tag", "was_sent"
    )  # fmt: skip

    def __init__(
        self,
        message: Message,
        qos: int = 0,
        is_retained: bool = False,
        identifiers: tuple[int, ...] = (),
        tag: int = 0,
        commit: int = 0,
        is_repeated: bool = False,
        share: str = "",
        was_sent: bool = False,
    ) -> None:
        self.message: Message = message
        self.qos: int = qos
        self.is_retained: bool = is_retained
        self.identifiers: tuple[int, ...] = identifiers
        self.tag: int = tag
        self.commit: int = commit
        self.is_repeated: bool = is_repeated
        self.share: str = share
        self.was_sent: bool = was_sent

    def again(self, was_sent: bool = False) -> Delivery:
        """Give the same delivery as one that its receiver may have had before; surely, if it `was_sent`."""
        return Delivery(
            self.message, self.qos, self.is_retained, self.identifiers, self.tag, self.commit, True, self.share,
            was_sent or self.was_sent,
        )  # fmt: skip

    def _key(self) -> tuple[object, ...]:
        return (
            self.message, self.qos, self.is_retained, self.identifiers, self.tag, self.commit, self.is_repeated,
            self.share, self.was_sent,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Delivery) and self._key() == other._key()

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Show everything."""
        return f"Delivery{self._key()!r}"


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
