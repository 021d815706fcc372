"""Identity by password: argon2id, bound to the client id.

The user name is the device's name. An unknown device costs as much time as a wrong password, and gets the same answer.
Wrong passwords are counted per address and device together, so that an attacker locks out nobody but himself.
Source: RFC 9106 (argon2).
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from lockgate.errors import AuthenticationFailed, RateExceeded, Step
from lockgate.identity.credentials import Credentials, DeviceSource, shown_name
from lockgate.model.device import Credential, CredentialKind
from lockgate.net.link import network_of
from lockgate.settings import IdentitySettings

MAX_PASSWORD_BYTES = 1024
MAX_WATCHED = 10_000
MAX_NAME = 64
"""One more than a device's name can have: the rest of a longer user name names nobody, and is not remembered."""


class PasswordVerifier:
    """Checks passwords against the hashes that the registry holds."""

    def __init__(self, devices: DeviceSource, settings: IdentitySettings) -> None:
        self._devices = devices
        self._settings = settings
        self._hasher = PasswordHasher()
        self._nobody: str | None = None
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, credentials: Credentials, now: float) -> Credential:
        """Give the credential whose password was shown. Takes tens of milliseconds.

        Raises:
            AuthenticationFailed: wrong password, or unknown device.
            RateExceeded: too many wrong passwords from this address for this device.
        """
        name = (credentials.user_name or "")[:MAX_NAME]
        secret = credentials.secret or b""
        host = network_of(credentials.host)
        self._check_lockout(host, name, now)
        device = self._devices.device(name)
        known = [c for c in device.credentials if c.kind is CredentialKind.PASSWORD] if device is not None else []
        nobodys = self._nobodys_hash()  # made by the first of all checks, whoever it is about
        if len(secret) <= MAX_PASSWORD_BYTES:
            # A live password is tried before a revoked one; somebody unknown is checked against nobody's.
            for credential in sorted(known, key=lambda c: c.is_revoked):
                if self._matches(credential.public, secret):
                    with self._lock:
                        self._wrong.pop((host, name), None)
                    return credential
            if not known:
                self._matches(nobodys, secret)
        self._count_wrong(host, name, now)
        shown = shown_name(name, self._devices)
        raise AuthenticationFailed(
            f"wrong password for {shown!r}" if known else f"no device {shown!r} with a password is registered",
            reason="bad user name or password",
            fix="the user name is the device's name, the password stands in the file `password` of its folder",
            evidence={"user_name": shown},
        )

    def _matches(self, phc: str, secret: bytes) -> bool:
        try:
            return self._hasher.verify(phc, secret)
        except (Argon2Error, InvalidHashError):
            return False

    def _nobodys_hash(self) -> str:
        if self._nobody is None:
            self._nobody = self._hasher.hash(b"nobody")
        return self._nobody

    def _check_lockout(self, host: str, name: str, now: float) -> None:
        with self._lock:
            count, since = self._wrong.get((host, name), (0, now))
        if count >= self._settings.wrong_passwords_before_lockout and now < since + self._settings.lockout_seconds:
            shown = shown_name(name, self._devices)
            raise RateExceeded(
                f"{count} wrong passwords for {shown!r} from {host}",
                reason="too many wrong passwords",
                fix=f"wait {self._settings.lockout_seconds:g} s, then use the password in the device's folder",
                step=Step.CREDENTIAL,
                evidence={"user_name": shown, "count": str(count)},
            )

    def _count_wrong(self, host: str, name: str, now: float) -> None:
        with self._lock:
            count, since = self._wrong.pop((host, name), (0, now))
            if now >= since + self._settings.lockout_seconds:
                count = 0
            self._wrong[(host, name)] = (count + 1, now)
            if len(self._wrong) > MAX_WATCHED:
                self._wrong.popitem(last=False)
