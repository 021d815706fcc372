"""Wrong passwords, counted per address and device together, so that an attacker locks out nobody but himself."""

from __future__ import annotations

import threading
from collections import OrderedDict

from lockgate.errors import RateExceeded, Step
from lockgate.identity.credentials import DeviceSource, shown_name
from lockgate.net.link import network_of
from lockgate.settings import IdentitySettings

MAX_WATCHED = 10_000
MAX_NAME = 64
"""One more than a device's name can have: the rest of a longer user name names nobody, and is not remembered."""


class Lockout:
    """Counts wrong passwords, however they were shown, and says when it is enough. May be called from several threads.

    A `host` may be any address; those of one IPv6 network count as one. A `name` is what was said, known or not.
    """

    def __init__(self, devices: DeviceSource, settings: IdentitySettings) -> None:
        self._devices = devices
        self._settings = settings
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, host: str, name: str, now: float) -> None:
        """Come back unless too many wrong passwords came from this address for this device.

        Raises:
            RateExceeded: they did.
        """
        key = _key(host, name)
        with self._lock:
            count, since = self._wrong.get(key, (0, now))
        if count >= self._settings.wrong_passwords_before_lockout and now < since + self._settings.lockout_seconds:
            shown = shown_name(name[:MAX_NAME], self._devices)
            raise RateExceeded(
                f"{count} wrong passwords for {shown!r} from {key[0]}",
                reason="too many wrong passwords",
                fix=f"wait {self._settings.lockout_seconds:g} s, then use the password in the device's folder",
                step=Step.CREDENTIAL,
                evidence={"user_name": shown, "count": str(count)},
            )

    def count_wrong(self, host: str, name: str, now: float) -> None:
        """Note one wrong password; a lock-out that has ended begins anew."""
        key = _key(host, name)
        with self._lock:
            count, since = self._wrong.pop(key, (0, now))
            if now >= since + self._settings.lockout_seconds:
                count = 0
            self._wrong[key] = (count + 1, now)
            if len(self._wrong) > MAX_WATCHED:
                self._wrong.popitem(last=False)

    def forget(self, host: str, name: str) -> None:
        """The right password was shown: what was wrong before is forgiven."""
        with self._lock:
            self._wrong.pop(_key(host, name), None)


def _key(host: str, name: str) -> tuple[str, str]:
    return network_of(host), name[:MAX_NAME]
