"""A delivery: one message on its way to one session."""

from __future__ import annotations

from typing import final

from mypy_extensions import mypyc_attr

from lockgate.model.message import Message


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
