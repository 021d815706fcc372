"""From a CONNECT to the verdict over it: who the client is, or why it stays outside.

An `Admissions` serves the whole door: it knows how many slow checks wait, and from where. An `Admission` is one
client's way through it; it begins with the CONNECT and ends with one call of `on_verdict`, at once or later:

    begin --known at once---------------------> on_verdict(Principal | error)
      |                                            ^  ^
      +--password: a worker thread checks----------+  |
      |                                               |
      +--enhanced authentication----------------------+
            protocol.challenge <---> proceed(AUTH)

When the connection is lost in between, the verdict still comes and is the connection's to throw away.
A `Renewal` is what follows for a client that was let in: it proves itself anew, as often as it likes within bounds.

Source: MQTT 5.0 section 4.12 (enhanced authentication).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeAlias

from lockgate.adapters.mqtt.packets import Auth, Connect, MqttError, ReasonCode
from lockgate.adapters.mqtt.protocol import MqttProtocol
from lockgate.errors import LockgateError, RateExceeded, Step, Unavailable
from lockgate.identity import METHODS, Authenticator, Credentials, Exchange, Turn
from lockgate.model.principal import Principal
from lockgate.net.link import Link, network_of
from lockgate.policy import LAB_DEVICE
from lockgate.settings import IdentitySettings

SHARES_OF_CHECKS = 4
"""No address takes more than one of so many shares of the waiting password checks."""
MAX_LAB_NAME = 250
RENEWAL_SECONDS = 60.0

Verdict: TypeAlias = Principal | Exception
"""Who the client is, or why it is refused: a `LockgateError`, or what went wrong unexpectedly."""


class Admissions:
    """What the admissions of one door have in common: who decides, and how many slow checks may wait.

    Args:
        authenticator: says who a client is.
        workers: where slow checks go.
        loop: the door's.
        wall_clock: gives unix seconds.
        settings: how many slow checks may wait for a worker, and how often one client may prove itself anew.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        workers: Executor,
        loop: asyncio.AbstractEventLoop,
        wall_clock: Callable[[], float],
        settings: IdentitySettings,
    ) -> None:
        self.max_renewals_per_minute = settings.max_reauthentications_per_minute
        self.authenticator = authenticator
        self.workers = workers
        self.loop = loop
        self.wall_clock = wall_clock
        self.waiting_checks = 0
        self.checks_by_host: Counter[str] = Counter()
        self._limit = settings.max_waiting_password_checks

    def take_place(self, host: str) -> None:
        """Take a place among the waiting checks for an address; `give_back` ends it.

        Raises:
            Unavailable: all places are taken, or this address has its share of them.
        """
        if self.waiting_checks >= self._limit:
            raise Unavailable(
                f"{self._limit} password checks wait already", reason="server busy", fix="try again later"
            )
        network = network_of(host)
        share = max(1, self._limit // SHARES_OF_CHECKS)
        if self.checks_by_host[network] >= share:
            raise Unavailable(
                f"{share} password checks from {network} wait already",
                reason="server busy",
                fix="try again later, or raise identity.max_waiting_password_checks",
            )
        self.waiting_checks += 1
        self.checks_by_host[network] += 1

    def give_back(self, host: str) -> None:
        """Give back the place of one check."""
        self.waiting_checks -= 1
        network = network_of(host)
        self.checks_by_host[network] -= 1
        if not self.checks_by_host[network]:
            del self.checks_by_host[network]


class Admission:
    """One client on its way in.

    Args:
        admissions: the door's.
        link: the client's connection.
        protocol: its side of the protocol: it sends the challenges of an enhanced authentication.
        is_lab: it came through the lab port, where nobody has to prove anything.
        on_verdict: called once, on the loop; not at all when the hub stops during a slow check.
    """

    def __init__(
        self,
        admissions: Admissions,
        link: Link,
        protocol: MqttProtocol,
        is_lab: bool,
        on_verdict: Callable[[Verdict], None],
    ) -> None:
        self._admissions = admissions
        self._link = link
        self._is_lab = is_lab
        self._protocol = protocol
        self._on_verdict = on_verdict
        self._exchange: Exchange | None = None

    @property
    def user_name(self) -> str:
        """The device that the client said it is in an enhanced authentication, "" if it has not."""
        return self._exchange.user_name if self._exchange is not None else ""

    def begin(self, connect: Connect) -> None:
        """Judge a CONNECT."""
        method = connect.properties.authentication_method
        if method is not None:
            self._begin_exchange(connect, method)
            return
        if self._is_lab:
            # Lab sessions have names of their own: none can take over a device's.
            client_id = f"{LAB_DEVICE}/{connect.client_id[:MAX_LAB_NAME] or secrets.token_hex(8)}"
            self._on_verdict(Principal(LAB_DEVICE, client_id, "lab"))
            return
        link, admissions = self._link, self._admissions
        credentials = Credentials(
            client_id=connect.client_id,
            user_name=connect.user_name,
            secret=connect.password,
            certificate=link.peer_certificate,
            is_protected=link.protection is not None,
            host=link.peer.host,
        )
        try:
            if admissions.authenticator.is_slow(credentials):
                self._check_slowly(credentials)
                return
            verdict: Verdict = admissions.authenticator.authenticate(credentials, admissions.wall_clock())
        except LockgateError as error:
            verdict = error
        self._on_verdict(verdict)

    def proceed(self, auth: Auth) -> None:
        """Take the client's answer to a challenge."""
        self._respond(auth.properties.authentication_data)

    def _begin_exchange(self, connect: Connect, method: str) -> None:
        if method not in METHODS or self._is_lab:  # [MQTT-4.12.0-1]
            offered = "none on this port" if self._is_lab else " and ".join(sorted(METHODS))
            text = f"the authentication method is not offered; offered: {offered}"
            self._on_verdict(MqttError(ReasonCode.BAD_AUTHENTICATION_METHOD, text))
            return
        try:
            self._exchange = self._admissions.authenticator.begin(_credentials(connect.client_id, self._link), method)
        except LockgateError as error:
            self._on_verdict(error)
            return
        self._respond(connect.properties.authentication_data)

    def _respond(self, data: bytes | None) -> None:
        assert self._exchange is not None
        try:
            turn = self._exchange.respond(data, self._admissions.wall_clock())
        except LockgateError as error:
            self._on_verdict(error)
            return
        if turn.principal is None:
            self._protocol.challenge(turn.data)
        else:
            self._protocol.last_word = turn.data
            self._on_verdict(turn.principal)

    def _check_slowly(self, credentials: Credentials) -> None:
        admissions = self._admissions
        admissions.take_place(credentials.host)
        check = admissions.loop.run_in_executor(
            admissions.workers, admissions.authenticator.authenticate, credentials, admissions.wall_clock()
        )
        check.add_done_callback(self._checked)

    def _checked(self, done: asyncio.Future[Principal]) -> None:
        """The worker thread has checked the password."""
        admissions = self._admissions
        admissions.give_back(self._link.peer.host)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            # Somebody may have been blocked or revoked while the thread was at work.
            error = admissions.authenticator.verdict(done.result(), admissions.wall_clock())
        if error is None:
            self._on_verdict(done.result())
        elif isinstance(error, Exception):
            self._on_verdict(error)


class Renewal:
    """The proofs of one client after its first (section 4.12.1): the session goes on meanwhile under the old one.

    Args:
        admissions: the door's.
        link: the client's connection.
        method: the authentication method of its CONNECT.
    """

    def __init__(self, admissions: Admissions, link: Link, method: str | None) -> None:
        self._admissions = admissions
        self._link = link
        self._method = method
        self._exchange: Exchange | None = None
        self._count = 0
        self._since = 0.0

    def proceed(self, auth: Auth, principal: Principal) -> Turn:
        """Take an AUTH of a client that is `principal`; the turn that ends it brings the principal that it is now.

        Raises:
            AuthenticationFailed: it proved nothing.
            NotAuthorized: it proved somebody else, or somebody who is blocked.
            RateExceeded: it begins too often.
        """
        now = self._admissions.wall_clock()
        if auth.code == ReasonCode.REAUTHENTICATE and self._method is not None:
            self._check_rate(principal, now)
            shown = _credentials(principal.client_id, self._link)
            self._exchange = self._admissions.authenticator.begin(shown, self._method)
        assert self._exchange is not None, "the protocol lets no other AUTH through"
        return self._exchange.respond(auth.properties.authentication_data, now)

    def _check_rate(self, principal: Principal, now: float) -> None:
        if not self._since <= now < self._since + RENEWAL_SECONDS:
            self._since, self._count = now, 0
        self._count += 1
        limit = self._admissions.max_renewals_per_minute
        if self._count > limit:
            raise RateExceeded(
                f"{principal.client_id} began to prove itself anew more than {limit} times within a minute",
                reason="too many re-authentications",
                fix="prove it anew when the proof is about to end, or raise identity.max_reauthentications_per_minute",
                step=Step.CREDENTIAL,
            )


def _credentials(client_id: str, link: Link) -> Credentials:
    return Credentials(client_id, is_protected=link.protection is not None, host=link.peer.host)
