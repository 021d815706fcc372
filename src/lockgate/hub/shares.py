"""A shared subscription: sessions that ask for one filter under one name, and take turns (MQTT 5.0 section 4.8.2).

Who takes a message is the first, in turn, of the best that there are:

    connected, its window open -> connected, its queue not full -> connected
        -> waiting for its client and kept, its queue not full -> waiting for its client and kept
"""

from __future__ import annotations

from lockgate.hub.session import Session
from lockgate.model.session import Subscription

READY = 0
ROOMY = 1
CONNECTED = 2
ABSENT = 3
ABSENT_AND_FULL = 4
UNABLE = 5


class Share:
    """The members of one share, by the text that all of them subscribed to; `turn` is the place of the next."""

    __slots__ = ("members", "text", "turn")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.members: dict[Session, Subscription] = {}
        self.turn: int = 0


def rank(session: Session, qos: int) -> int:
    """Say how fit a member is to take a delivery at `qos`: READY is best, UNABLE not at all."""
    if session.outlet is not None:
        if session.is_full:
            return CONNECTED
        return READY if len(session.queue) + len(session.unsettled) < session.window else ROOMY
    if qos == 0 or not session.is_durable:
        return UNABLE
    return ABSENT_AND_FULL if session.is_full else ABSENT
