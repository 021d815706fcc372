"""Whether a connection is read: every kind of back-pressure in one place.

A client is not read while it waits for a verdict, while too many of its answers wait for the disk or for itself to read
them, and while its device owes time for what it sent beyond its rate. Nothing is lost by that: what it sends on waits
in the network, and in the client.
"""

from __future__ import annotations

from collections.abc import Callable

from lockgate.adapters.mqtt.owner import Owner
from lockgate.adapters.mqtt.protocol import MqttProtocol, State
from lockgate.errors import LockgateError, RateExceeded
from lockgate.hub import Meter, Rates, SessionStore
from lockgate.model.principal import Principal
from lockgate.net.link import Link
from lockgate.net.partials import Partials
from lockgate.policy import LAB_DEVICE
from lockgate.settings import Settings

MAX_WAITING_ANSWERS = 4096
UNREAD_BUFFERS = 2
"""A client that does not read is not read either once this many times its write buffer waits for it: answers, too."""
RATE_FIX = "make the device send less, or raise hub.max_messages_per_second or hub.max_bytes_per_second"


class Intakes:
    """What the connections of the door have in common.

    Args:
        settings: the limits.
        store: when it is full, publishers wait.
        clock: gives monotonic seconds.
        partials: what is begun and not whole, of this door and of what lies before it.
    """

    def __init__(
        self, settings: Settings, store: SessionStore, clock: Callable[[], float], partials: Partials | None = None
    ) -> None:
        hub, mqtt = settings.hub, settings.mqtt
        self.store = store
        self.clock = clock
        self.rates = Rates(hub.max_messages_per_second, hub.max_bytes_per_second, hub.rate_burst_seconds)
        self.partials = partials or Partials(mqtt.max_partial_bytes, mqtt.packet_deadline_seconds, clock)
        self.max_unread_bytes: int = UNREAD_BUFFERS * settings.net.max_write_buffer_bytes
        self.max_debt_seconds: float = hub.rate_burst_seconds

    def charge(self, principal: Principal, messages: int) -> None:
        """Count on a device's account what the hub did because of it, as so many messages."""
        self.rates.charge(account_of(principal), messages, self.clock())


def account_of(principal: Principal) -> str:
    """Give on whose account it goes: a device's. Lab clients are all one device, and counted each for itself."""
    return principal.client_id if principal.device == LAB_DEVICE else principal.device


class Intake:
    """How much of one connection is taken in; its owner ends it, and tells the client why."""

    link: Link

    def __init__(self, shared: Intakes, protocol: MqttProtocol, owner: Owner) -> None:
        self.is_reading: bool = True
        self.is_unread: bool = False
        """Whether the client does not read what is sent to it."""
        self._shared = shared
        self._protocol = protocol
        self._owner = owner
        self._meter: Meter | None = None
        self._held_until: float = 0.0
        self._has_partial: bool = False
        self._partial_number: int = 0

    def admit(self, principal: Principal) -> None:
        """Begin to count what the client sends.

        Raises:
            RateExceeded: its device owes more time than a burst takes: connecting over and over has its cost, too.
        """
        meter = self._meter = self._shared.rates.join(account_of(principal))
        owed = 0.0 if meter is None else meter.owes(self._shared.clock())
        if owed > self._shared.max_debt_seconds:
            raise RateExceeded(
                f"{principal.device} owes {owed:.1f} s for what it sent or had moved", fix=RATE_FIX,
                evidence={"device": principal.device},
            )  # fmt: skip

    def end(self) -> None:
        """The connection is gone."""
        self._shared.partials.drop(self)
        meter, self._meter = self._meter, None
        if meter is not None:
            self._shared.rates.leave(meter, self._shared.clock())

    def count(self, packets: int, size: int, now: float) -> bool:
        """Count what came; say whether the device exceeds its rate by it."""
        protocol = self._protocol
        partial, number = protocol.partial_bytes, protocol.partial_number
        if partial or self._has_partial:
            self._shared.partials.hold(self, partial, number != self._partial_number)
            self._has_partial, self._partial_number = partial > 0, number
        meter = self._meter
        if meter is None:
            return False
        wait = meter.take(packets + protocol.pings, size, now)
        protocol.pings = 0
        if wait > 0.0:
            self._held_until = now + wait
            return True
        return False

    def excess(self, now: float, principal: Principal | None) -> LockgateError | None:
        """Give the error to tell about a rate that is exceeded; None when this flood was told about."""
        meter = self._meter
        if meter is None or principal is None or not meter.is_new_flood(now):
            return None
        return meter.error(RATE_FIX, principal.device)

    def pause(self) -> None:
        """Stop reading."""
        self.is_reading = False
        self.link.pause_reading()

    def pause_if_ahead(self, now: float) -> bool:
        """Stop reading a client that is too far ahead; say whether it was stopped now."""
        may_be = self._protocol.waiting_answers or self.is_unread or self._held_until > now
        if may_be and self.is_reading and self.is_too_far_ahead(now):
            self.pause()
            return True
        return False

    def read_on(self) -> None:
        """Read again, if nothing speaks against it."""
        now = self._shared.clock()
        if not self.is_reading and not self.is_too_far_ahead(now):
            self.is_reading = True
            self._protocol.heard(now)
            self.link.resume_reading()

    def break_off(self, error: LockgateError) -> None:
        """End the connection for what the client did."""
        self._owner.break_off(error)

    def is_held(self) -> bool:
        """Say whether it is the hub's will alone that a client which was let in is not heard."""
        return not self.is_reading and not self.is_unread and self._protocol.state is State.CONNECTED

    def is_too_far_ahead(self, now: float) -> bool:
        """Say whether the client must wait before more of it is read."""
        protocol, shared = self._protocol, self._shared
        if protocol.state is State.AWAITING_VERDICT:
            return True  # what a stranger sends must not pile up
        if self._held_until > now:
            return True
        if protocol.waiting_answers > MAX_WAITING_ANSWERS or shared.store.is_full:
            return True
        # Deliveries stop when the client does not read; answers do not, and it may ask for them without end.
        return self.is_unread and self.link.write_buffer_bytes() > shared.max_unread_bytes
