"""The client's role on a link: requests to the device at its other end, and what becomes of them. No socket, no clock.

The device is the client of DTLS and serves resources over the same session (RFC 7252 section 1.2: an endpoint is both).
Each request ends in exactly one call of its `done`: with the response, or with the error that stands for it:

    no acknowledgement, or no answer in time    5.04
    a Reset, nonsense, or the link is gone      5.02
    too many requests to this device at once    4.29

Of bodies, both ways, a link holds as many as `max_partial_bodies` of the longest.

Source: RFC 7252 sections 5.2 and 5.7.1; RFC 7959.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, final

from lockgate.adapters.coap.exchange import NO_KEY
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, Options
from lockgate.adapters.coap.protocol import CoapProtocol
from lockgate.adapters.coap.transfer import Transfer
from lockgate.errors import LockgateError, QuotaExceeded
from lockgate.settings import CoapSettings

Done: TypeAlias = Callable[[Answer | LockgateError], None]
FIRST_KEY: Final = NO_KEY - 1
"""Notifications count their keys up; requests count down from here, so that nobody takes one for the other."""


class _Pending:
    """A request that has no response yet."""

    __slots__ = ("done", "expires_at", "transfer")

    def __init__(self, transfer: Transfer, done: Done, expires_at: float) -> None:
        self.transfer = transfer
        self.done = done
        self.expires_at = expires_at


@final
class Asking:
    """The requests to one device.

    Args:
        settings: the door's.
        protocol: the link's.
    """

    def __init__(self, settings: CoapSettings, protocol: CoapProtocol) -> None:
        self._settings = settings
        self._protocol = protocol
        self._max_held: int = settings.max_partial_bodies * settings.max_body_bytes
        self._pending: dict[int, _Pending] = {}
        self._next_key: int = FIRST_KEY

    def ask(self, code: int, options: Options, payload: bytes, done: Done, now: float) -> None:
        """Send a request; `done` hears what becomes of it, not before this method is over.

        Raises:
            QuotaExceeded: too many wait for this device.
        """
        if len(self._pending) >= self._settings.max_exchanges:
            raise QuotaExceeded(
                f"{self._settings.max_exchanges} requests to the device are not answered yet",
                reason="too many requests to the device",
                fix="ask again later, or raise coap.max_exchanges",
            )
        if payload and self._held_bytes() + len(payload) > self._max_held:
            raise QuotaExceeded(
                f"requests with {self._held_bytes()} bytes wait for the device",
                reason="too much for the device",
                fix="ask again later, or raise coap.max_partial_bodies",
            )
        transfer = Transfer(self._settings, code, options, payload, _tag(self._next_key))
        self._send(_Pending(transfer, done, now + self._settings.device_answer_seconds), now)

    def heard(self, response: CoapMessage, key: int, now: float) -> None:
        """Take a response of the device."""
        pending = self._pending.pop(key, None)
        if pending is None:  # it comes too late
            return
        try:
            whole = pending.transfer.receive(response)
            if whole is None:
                if self._held_bytes() + pending.transfer.held_bytes > self._max_held:
                    raise _too_much()
                self._send(pending, now)
                return
        except LockgateError as error:
            pending.done(error)
            return
        pending.done(Answer(whole.code, whole.options, whole.payload))

    def lost(self, key: int, is_reset: bool) -> None:
        """The device has reset a request, or has not acknowledged it however often it was sent."""
        pending = self._pending.pop(key, None)
        if pending is not None:
            pending.done(_reset() if is_reset else _silent())

    def next_timer(self) -> float | None:
        """Give the monotonic second at which `handle_timer` wants to be called, None for never."""
        return min((pending.expires_at for pending in self._pending.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Give up what has waited too long."""
        for key in [key for key, pending in self._pending.items() if pending.expires_at <= now]:
            self._pending.pop(key).done(_silent())

    def close(self) -> None:
        """The link is gone, and no answer will come."""
        pending, self._pending = self._pending, {}
        for each in pending.values():
            each.done(CoapError(Code.BAD_GATEWAY, "the device's link has ended", reason="the device is gone"))

    def _held_bytes(self) -> int:
        return sum([pending.transfer.held_bytes for pending in self._pending.values()])

    def _send(self, pending: _Pending, now: float) -> None:
        """Send what is next of a request; each part has a key of its own, and all one deadline."""
        key, self._next_key = self._next_key, self._next_key - 1
        part = pending.transfer.next_request()
        self._protocol.request(part.code, part.options, part.payload, key, now)
        self._pending[key] = pending


def _tag(key: int) -> bytes:
    return (-key & 0xFFFF).to_bytes(2, "big")


def _too_much() -> CoapError:
    text = "the device sends too many long responses at once"
    return CoapError(Code.BAD_GATEWAY, text, reason=text, fix="ask for one after the other")


def _silent() -> CoapError:
    fix = "see that the device listens on its link; coap.device_answer_seconds is how long it may take"
    return CoapError(Code.GATEWAY_TIMEOUT, "the device did not answer", reason="the device did not answer", fix=fix)


def _reset() -> CoapError:
    text = "the device does not take requests on its link"
    return CoapError(Code.BAD_GATEWAY, text, reason=text, fix="have it serve CoAP resources over the session it opened")
