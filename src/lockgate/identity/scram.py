"""Identity by SCRAM-SHA-256: the device proves that it knows its password without saying it, and so does the hub.

The registry holds a verifier (`model.scram`), never the password. The user name is the device's name. A device that is
not registered gets the same answers in the same steps: its salt is made up, and is the same one each time. The
messages, their nonces and all cryptography are the library's. There is no channel binding: what MQTT calls
SCRAM-SHA-256 has none, and TLS has proven the hub before the first byte.

Source: RFC 5802 (SCRAM), RFC 7677 (SHA-256).
"""

from __future__ import annotations

import hmac
import secrets
from functools import cache
from typing import TYPE_CHECKING

from lockgate.errors import AuthenticationFailed
from lockgate.identity.credentials import Credentials, DeviceSource, Proof, shown_name
from lockgate.identity.lockout import Lockout
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.scram import SCRAM_SHA_256, ScramVerifier

if TYPE_CHECKING:
    from scramp import ScramException, ScramMechanism

ITERATIONS = 15_000
"""What RFC 7677 section 4 names as its rule of thumb. They slow down who guesses a password that leaked with the
registry; ours are 192 random bits, so that more would only cost each device time at each connection (the hub does not
iterate at all). One number for all: another would tell a registered device from one that is not."""
MAX_MESSAGE_BYTES = 1024


@cache
def _mechanism() -> ScramMechanism:
    from scramp import ScramMechanism  # with the first exchange: a start need not wait 10 ms for it

    return ScramMechanism(SCRAM_SHA_256)


def make_verifier(password: str) -> ScramVerifier:
    """Give what the registry is to keep of a password, under a fresh salt. Takes milliseconds."""
    salt, stored_key, server_key, iterations = _mechanism().make_auth_info(password, iteration_count=ITERATIONS)
    return ScramVerifier(salt, iterations, stored_key, server_key)


class ScramProvers:
    """Makes the provers, one for each exchange, and knows what they share."""

    def __init__(self, devices: DeviceSource, lockout: Lockout) -> None:
        self.devices = devices
        self.lockout = lockout
        self._secret = secrets.token_bytes(32)

    def prover(self, credentials: Credentials) -> ScramProver:
        """Give the prover of one exchange."""
        return ScramProver(self, credentials.host)

    def find(self, name: str) -> tuple[Credential | None, ScramVerifier]:
        """Give the credential of a name with its verifier; without one, a verifier that no password fits."""
        nobodys = ScramVerifier(self._made_up("salt", name), ITERATIONS, self._made_up("key", name), self._secret)
        device = self.devices.device(name)
        known = [c for c in device.credentials if c.kind is CredentialKind.SCRAM_SHA_256] if device is not None else []
        if not known:
            return None, nobodys
        # There is one salt to send: of the newest that is live, else of the newest (who proves a revoked one is told).
        newest = max(known, key=lambda c: (not c.is_revoked, c.id))
        return newest, ScramVerifier.from_text(newest.public)

    def _made_up(self, what: str, name: str) -> bytes:
        return hmac.digest(self._secret, f"{what} of {name}".encode(), "sha256")


class ScramProver:
    """The hub's side of one exchange: server-first answers client-first, server-final and the proof client-final."""

    def __init__(self, shared: ScramProvers, host: str) -> None:
        self.user_name = ""
        self._shared = shared
        self._host = host
        self._credential: Credential | None = None
        self._is_begun = False
        self._server = _mechanism().make_server(self._auth_info)

    def respond(self, data: bytes, now: float) -> tuple[bytes, Proof | None]:
        """Give the answer to a message of the client, and the proof once it is there.

        Raises:
            AuthenticationFailed: wrong password, unknown device, or a message that breaks RFC 5802.
            RateExceeded: too many wrong passwords from this address for this device.
        """
        text = _text(data)
        if not self._is_begun:
            self._is_begun = True
            return self._begin(text, now), None
        return self._finish(text, now)

    def _begin(self, text: str, now: float) -> bytes:
        from scramp import ScramException

        try:
            self._server.set_client_first(text)
        except ScramException as error:
            raise _malformed("first", error) from error
        self._shared.lockout.check(self._host, self.user_name, now)
        return str(self._server.get_server_first()).encode()

    def _finish(self, text: str, now: float) -> tuple[bytes, Proof | None]:
        from scramp import ScramException

        lockout, name = self._shared.lockout, self.user_name
        lockout.check(self._host, name, now)  # again: many exchanges may have been begun before the first was finished
        try:
            self._server.set_client_final(text)
        except ScramException as error:
            lockout.count_wrong(self._host, name, now)
            if error.server_error is None or error.server_error.value != "invalid-proof":
                raise _malformed("final", error) from error
            raise self._wrong() from error
        if self._credential is None:  # a proof that fits what was made up: it cannot be, and would prove nobody
            raise self._wrong()
        lockout.forget(self._host, name)
        return str(self._server.get_server_final()).encode(), (self._credential, None)

    def _auth_info(self, name: str) -> tuple[bytes, bytes, bytes, int]:
        self.user_name = name
        self._credential, verifier = self._shared.find(name)
        return verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations

    def _wrong(self) -> AuthenticationFailed:
        shown = shown_name(self.user_name, self._shared.devices)
        known = self._credential is not None
        return AuthenticationFailed(
            f"wrong password for {shown!r}" if known else f"no device {shown!r} with a SCRAM password is registered",
            reason="bad user name or password",
            fix="the user name is the device's name, the password stands in the file `password` of its folder",
            evidence={"user_name": shown},
        )


def _text(data: bytes) -> str:
    if len(data) > MAX_MESSAGE_BYTES:
        raise AuthenticationFailed(
            f"a SCRAM message has at most {MAX_MESSAGE_BYTES} bytes, this one {len(data)}",
            reason="authentication data malformed",
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise AuthenticationFailed(
            "a SCRAM message is no UTF-8", reason="authentication data malformed", fix="send SCRAM messages as UTF-8"
        ) from error


def _malformed(which: str, error: ScramException) -> AuthenticationFailed:
    # The library's words may repeat the message: the kind of its error says enough.
    kind = error.server_error.value if error.server_error is not None else "other-error"
    return AuthenticationFailed(
        f"the client-{which} message of SCRAM cannot be used: {kind}",
        reason="authentication data malformed",
        fix="use SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677), with the device's name as user name",
        evidence={"error": kind},
    )
