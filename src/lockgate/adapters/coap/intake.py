"""How fast a CoAP device may ask: on the same account as all that it does by other doors.

Datagrams cannot be held back as a stream can: what comes beyond the rate is answered with 4.29, and does nothing.

Source: RFC 8516 (4.29 Too Many Requests).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from lockgate.errors import PayloadTooLarge, RateExceeded
from lockgate.hub import Meter, Rates
from lockgate.model.principal import Principal

RATE_FIX = "make the device send less, or raise hub.max_messages_per_second or hub.max_bytes_per_second"


@final
class Intake:
    """What one connection sends, counted.

    Args:
        rates: the meters of all devices.
        clock: gives monotonic seconds.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float]) -> None:
        self._rates = rates
        self._clock = clock
        self._meter: Meter | None = None
        self._device: str = ""

    def admit(self, principal: Principal) -> None:
        """Begin to count."""
        self._device = principal.device
        self._meter = self._rates.join(principal.device)

    def end(self) -> None:
        """The connection is gone."""
        meter, self._meter = self._meter, None
        if meter is not None:
            self._rates.leave(meter, self._clock())

    def count(self, size: int, now: float) -> float:
        """Count a message of `size` bytes; give for how many seconds no other should come, 0 for none."""
        meter = self._meter
        return 0.0 if meter is None else meter.take(1, size, now)

    def excess(self, now: float) -> tuple[RateExceeded, bool]:
        """Give the error for a rate that is exceeded, and whether this flood is a new one, to be told about."""
        meter = self._meter
        if meter is None:
            return RateExceeded(), False
        return meter.error(RATE_FIX, self._device), meter.is_new_flood(now)


def too_long(size: int, most: int) -> PayloadTooLarge:
    """Give the error for a message of `size` bytes where `most` are taken (RFC 7252 section 4.6)."""
    return PayloadTooLarge(
        f"a message of {size} bytes came; {most} are taken",
        fix="send long bodies in blocks (RFC 7959), or raise coap.max_datagram_bytes",
    )
