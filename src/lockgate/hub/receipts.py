"""What the hub answers: what became of a message, and of a connection that wants its session."""

from __future__ import annotations

from typing import final

from lockgate.hub.session import Session
from lockgate.model.session import Delivery


@final
class Receipt:
    """What became of a message: in how many queues it went, and the commit (0: none) after which it is stored."""

    __slots__ = ("commit", "heard_by")

    def __init__(self, heard_by: int = 0, commit: int = 0) -> None:
        self.heard_by: int = heard_by
        self.commit: int = commit

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Receipt) and self.heard_by == other.heard_by and self.commit == other.commit

    def __hash__(self) -> int:
        """Go with `__eq__`."""
        return hash((self.heard_by, self.commit))

    def __repr__(self) -> str:
        """Show both."""
        return f"Receipt(heard_by={self.heard_by}, commit={self.commit})"


@final
class Opened:
    """A session joined to a connection; `resend` was unsettled.

    After `commit` (0: none) a crash undoes nothing of it: the session is stored, one that it replaced is forgotten.
    """

    __slots__ = ("commit", "is_present", "resend", "session")

    def __init__(self, session: Session, is_present: bool, resend: tuple[Delivery, ...] = (), commit: int = 0) -> None:
        self.session = session
        self.is_present: bool = is_present
        self.resend: tuple[Delivery, ...] = resend
        self.commit: int = commit
