"""What the hub asks of the rooms around it: a door's open connection, and a place where sessions rest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from mypy_extensions import mypyc_attr

from lockgate.errors import LockgateError
from lockgate.model.message import Message
from lockgate.model.session import SessionRecord, Subscription


@mypyc_attr(allow_interpreted_subclasses=True)
class Outlet:
    """The open connection of a session, in whichever door."""

    def __init__(self) -> None:
        self.is_taking: bool = False
        """Whether `send` may be called: the peer is let in, and reads."""

    def send(self, message: Message, qos: int, is_retained: bool, identifiers: tuple[int, ...], tag: int) -> bool:
        """Send one delivery, with others of this turn of the loop; say whether the peer takes one so large."""
        raise NotImplementedError

    def wake(self) -> None:
        """Deliveries wait in the session: take them when this turn of the loop ends."""
        raise NotImplementedError

    def drain(self) -> None:
        """Many deliveries wait: take them now, if the peer reads."""
        raise NotImplementedError

    def end(self, error: LockgateError) -> None:
        """The hub ends this connection; tell the peer why. The session is already detached from it."""
        raise NotImplementedError


class SessionStore(Protocol):
    """Where sessions that outlive their connection are kept.

    Each write returns the number of the commit that will hold it, 0 when there is nothing to wait for; `committed` is
    the highest number up to which all is durable, or need not be: a message that was settled for all sessions.
    """

    @property
    def committed(self) -> int:
        """Give the number of the last commit that nobody need wait for any more."""
        ...

    @property
    def is_full(self) -> bool:
        """Say whether so much waits for the disk that publishers of durable messages must wait as well."""
        ...

    def together(self) -> AbstractContextManager[object]:
        """Make the writes in a `with` block land in one commit: after a crash all of them are there, or none."""
        ...

    def save_session(self, record: SessionRecord, /) -> int:
        """Keep the session itself: who, how long, its will."""
        ...

    def forget_session(self, client_id: str, /) -> int:
        """Drop the session with all that belongs to it."""
        ...

    def save_subscription(self, client_id: str, subscription: Subscription, /) -> int:
        """Keep one subscription, replacing one with the same text."""
        ...

    def forget_subscription(self, client_id: str, text: str, /) -> int:
        """Drop one subscription."""
        ...

    def enqueue(
        self,
        client_id: str,
        tag: int,
        message: Message,
        qos: int,
        is_retained: bool,
        identifiers: tuple[int, ...],
        share: str = "",
        /,
    ) -> int:
        """Keep one delivery until it is settled, and the share by which it came."""
        ...

    def release(self, client_id: str, tag: int, /) -> int:
        """Note that the receiver of a QoS 2 delivery has it."""
        ...

    def settle(self, client_id: str, tag: int, /) -> int:
        """Drop one delivery: it arrived, or it was given up."""
        ...

    def remember_incoming(self, client_id: str, tag: int, /) -> int:
        """Note that a QoS 2 message with this tag was received, so that its repetition is not published again."""
        ...

    def forget_incoming(self, client_id: str, tag: int, /) -> int:
        """Note that the sender released the tag."""
        ...

    def keep_retained(self, message: Message, /) -> int:
        """Keep the retained message of its topic."""
        ...

    def clear_retained(self, topic: str, /) -> int:
        """Drop the retained message of a topic."""
        ...
