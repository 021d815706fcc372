"""What one link sends confirmably: in flight until it is acknowledged, or waiting for its turn.

Source: RFC 7252 sections 4.2 (sending again), 4.4 (message ids) and 4.7 (NSTART); RFC 7641 section 4.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.exchange import NO_KEY, NOTIFICATION, REQUEST, GaveUp, Outgoing
from lockgate.settings import CoapSettings

NEVER: Final = 1e300

_CON: Final = 0


@final
class Flight:
    """The confirmable messages of our own on one link, and all datagrams that are to go.

    Args:
        settings: the door's.
        message_id: the first of our own.
        random: gives a number from 0 up to 1.
    """

    def __init__(self, settings: CoapSettings, message_id: int, random: Callable[[], float]) -> None:
        self.out: list[bytes] = []
        """The datagrams to send now."""
        self.retry_at: float = NEVER
        """When something is to be sent again, or given up."""
        self._random: Callable[[], float] = random
        self._timeout: float = settings.ack_timeout_seconds
        self._spread: float = settings.ack_random_factor - 1.0
        self._retransmit: int = settings.max_retransmit
        self._nstart: int = settings.nstart
        self._max_answers: int = settings.max_exchanges
        self._max_waiting: int = settings.max_waiting_notifications
        self._message_id: int = message_id & 0xFFFF
        self._in_flight: dict[int, Outgoing] = {}
        self._answers: list[Outgoing] = []
        self._waiting: list[Outgoing] = []

    def next_id(self) -> int:
        """Give a message id of our own; none that is in flight still (section 4.4)."""
        message_id = self._message_id
        while message_id in self._in_flight:
            message_id = (message_id + 1) & 0xFFFF
        self._message_id = (message_id + 1) & 0xFFFF
        return message_id

    def find(self, message_id: int) -> Outgoing | None:
        """Give what is in flight under a message id."""
        return self._in_flight.get(message_id)

    def answer(self, outgoing: Outgoing, now: float) -> None:
        """Send a response, or a request of our own, before all notifications; drop it where too many wait already."""
        if len(self._answers) < self._max_answers:
            self._answers.append(outgoing)
            self.start_next(now)

    def notify(self, outgoing: Outgoing, now: float) -> int:
        """Send a notification; give the key of one that will not be sent for it (perhaps this one), else NO_KEY."""
        gave_way = NO_KEY
        if len(self._waiting) >= self._max_waiting:
            at = self._oldest_waiting(outgoing.token)
            if at < 0:
                return outgoing.key
            gave_way = self._waiting.pop(at).key
        self._waiting.append(outgoing)
        self.start_next(now)
        return gave_way

    def _oldest_waiting(self, token: bytes) -> int:
        for at, outgoing in enumerate(self._waiting):
            if outgoing.token == token:
                return at
        return -1

    def start_next(self, now: float) -> None:
        """Send what waits, as far as NSTART allows (section 4.7)."""
        while len(self._in_flight) < self._nstart and (self._answers or self._waiting):
            outgoing = self._answers.pop(0) if self._answers else self._waiting.pop(0)
            message_id = outgoing.message_id = self.next_id()
            outgoing.data = wire.encode_parts(
                _CON, outgoing.code, message_id, outgoing.token, outgoing.options, outgoing.payload
            )
            outgoing.timeout = self._timeout * (1.0 + self._spread * self._random())
            outgoing.due_at = now + outgoing.timeout
            self._in_flight[message_id] = outgoing
            self.retry_at = min(self.retry_at, outgoing.due_at)
            self.out.append(outgoing.data)

    def retry(self, now: float) -> list[Outgoing]:
        """Send again what is not acknowledged, each time after twice the time (section 4.2); give what is given up."""
        over: list[Outgoing] = []
        for outgoing in list(self._in_flight.values()):
            if outgoing.due_at > now:
                continue
            if outgoing.tries >= self._retransmit:
                over.append(outgoing)
                continue
            outgoing.tries += 1
            outgoing.timeout *= 2.0
            outgoing.due_at = now + outgoing.timeout
            self.out.append(outgoing.data)
        for outgoing in over:
            self.land(outgoing)
        self._set_retry()
        return over

    def land(self, outgoing: Outgoing) -> None:
        """Take a message out of flight; `start_next` is to follow."""
        del self._in_flight[outgoing.message_id]
        self._set_retry()

    def end_request(self, token: bytes, now: float) -> None:
        """A request of our own is answered, or nobody waits for that any more: it is not sent (again)."""
        for outgoing in list(self._in_flight.values()):
            if outgoing.role == REQUEST and outgoing.token == token:
                self.land(outgoing)
        if self._answers:
            self._answers = [one for one in self._answers if one.role != REQUEST or one.token != token]
        self.start_next(now)

    def abandon(self, token: bytes) -> list[GaveUp]:
        """Drop what waits for an observation that is over (RFC 7641 section 4.5)."""
        if not self._waiting:
            return []
        events = [GaveUp(outgoing.key, token) for outgoing in self._waiting if outgoing.token == token]
        if events:
            self._waiting = [outgoing for outgoing in self._waiting if outgoing.token != token]
        return events

    def forget(self, token: bytes, now: float) -> list[int]:
        """Drop what waits for an observation, and what of it is in flight; give the keys."""
        keys = []
        for outgoing in list(self._in_flight.values()):
            if outgoing.role == NOTIFICATION and outgoing.token == token:
                keys.append(outgoing.key)
                self.land(outgoing)
        keys += [event.key for event in self.abandon(token)]
        self.start_next(now)
        return keys

    def _set_retry(self) -> None:
        at = NEVER
        for outgoing in self._in_flight.values():
            at = min(at, outgoing.due_at)
        self.retry_at = at
