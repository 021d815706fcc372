"""From a CONNECT to the verdict over it: who the client is, or why it stays outside.

An `Admissions` serves the whole door: it knows how many slow checks wait, and from where. An `Admission` is one
client's way through it; it begins with the CONNECT and ends with one call of `on_verdict`, at once or later:

    begin --known at once---------------------> on_verdict(Principal | error)
      |                                            ^
      +--password: a worker thread checks----------+

When the connection is lost in between, the verdict still comes and is the connection's to throw away.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeAlias

from lockgate.adapters.mqtt.packets import Connect
from lockgate.errors import LockgateError, Unavailable
from lockgate.identity import Authenticator, Credentials
from lockgate.model.principal import Principal
from lockgate.net.link import Link, network_of
from lockgate.policy import LAB_DEVICE

SHARES_OF_CHECKS = 4
"""No address takes more than one of so many shares of the waiting password checks."""
MAX_LAB_NAME = 250

Verdict: TypeAlias = Principal | Exception
"""Who the client is, or why it is refused: a `LockgateError`, or what went wrong unexpectedly."""


class Admissions:
    """What the admissions of one door have in common: who decides, and how many slow checks may wait.

    Args:
        authenticator: says who a client is.
        workers: where slow checks go.
        loop: the door's.
        wall_clock: gives unix seconds.
        max_waiting_checks: how many slow checks may wait for a worker.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        workers: Executor,
        loop: asyncio.AbstractEventLoop,
        wall_clock: Callable[[], float],
        max_waiting_checks: int,
    ) -> None:
        self.authenticator = authenticator
        self.workers = workers
        self.loop = loop
        self.wall_clock = wall_clock
        self.waiting_checks = 0
        self.checks_by_host: Counter[str] = Counter()
        self._limit = max_waiting_checks

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
        is_lab: it came through the lab port, where nobody has to prove anything.
        on_verdict: called once, on the loop; not at all when the hub stops during a slow check.
    """

    def __init__(self, admissions: Admissions, link: Link, is_lab: bool, on_verdict: Callable[[Verdict], None]) -> None:
        self._admissions = admissions
        self._link = link
        self._is_lab = is_lab
        self._on_verdict = on_verdict

    def begin(self, connect: Connect) -> None:
        """Judge a CONNECT."""
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
