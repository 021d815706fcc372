"""The office's clerk: one worker thread that writes registry.db and signs, so that the loop never waits for either.

One thread and no more: SQLite has one writer at a time anyway, and two uses of a claim then come one by one. What is
asked on the loop is awaited; what is due by itself (a revocation list, a stapled answer, the server's certificate) is
done when the clerk has time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lockgate.api.revocation import ISSUING
from lockgate.ca.current import CurrentDesk
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.home import Home
from lockgate.identity import Authenticator, Credentials
from lockgate.identity.lockout import Lockout
from lockgate.pki.authority import Authority
from lockgate.provision.enrolment import Enrolment
from lockgate.registry.registrar import Registrar
from lockgate.registry.registry import Registry
from lockgate.settings import Settings

log = structlog.get_logger()

_T = TypeVar("_T")
ACTOR = "office"


class Clerk:
    """Does what blocks.

    Args:
        home: the hub's folder.
        settings: lockgate.toml.
        registry: the registry in memory.
        on_written: called on the loop when something was written that the next request shall see.

    Raises:
        InvalidSettings: the CA's key cannot be read.
    """

    def __init__(self, home: Home, settings: Settings, registry: Registry, on_written: Callable[[], None]) -> None:
        self.database = home.registry()
        self._home = home
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lockgate-clerk")
        self._authenticator = Authenticator(registry, settings.identity)
        self._on_written = on_written
        self._is_refreshing = False
        try:
            self._ca = CurrentDesk(home, self.database, ACTOR)
        except BaseException:
            self.database.close()
            raise
        self._enrolment = Enrolment(
            self.database,
            self._ca,
            Lockout(registry, settings.identity),
            lambda actor: Registrar(self.database, actor, limits=settings.registry),
        )

    def close(self) -> None:
        """Do what is begun, and end."""
        self._thread.shutdown(wait=True)
        self.database.close()

    def do(self, work: Callable[[], None]) -> None:
        """Do something when there is time; nobody waits for it."""
        self._thread.submit(work)

    def refresh_soon(self) -> None:
        """Do what is due, unless that is on its way already."""
        if not self._is_refreshing:
            self._is_refreshing = True
            self.do(self._refresh)

    # Enrolment

    async def by_claim(
        self, name: str, token: str, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        """Give the certificate of a device that a claim token makes."""
        leaf = await self._run(lambda: self._enrolment.by_claim(name, token, request, host, time.time()))
        log.info(Event.DEVICE_ENROLLED, device=name, by="claim", address=host)
        self._on_written()  # the next request of this device may come at once
        return leaf

    async def by_certificate(
        self, shown: x509.Certificate, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        """Give the next certificate of the device that `shown` proves."""
        now = time.time()
        principal = self._authenticator.authenticate(Credentials("", certificate=shown, host=host), now)
        leaf = await self._run(lambda: self._enrolment.by_certificate(principal.device, shown, request, now))
        log.info(Event.DEVICE_ENROLLED, device=principal.device, by="certificate", address=host)
        self._on_written()
        return leaf

    # What is told of certificates

    async def ocsp(self, request_der: bytes) -> bytes:
        """Answer an OCSP request."""
        return await self._run(lambda: self._ca().answer_ocsp(request_der, time.time()))

    async def crl(self, issuer: str) -> bytes | None:
        """Give an authority's revocation list in DER, None when there is none."""

        def find() -> bytes | None:
            found = self._authority(issuer)
            return None if found is None else self._ca().crl_der(found.thumbprint)

        return await self._run(find)

    async def certificate(self, issuer: str) -> bytes | None:
        """Give an authority's certificate in DER, None when there is no such authority."""

        def find() -> bytes | None:
            found = self._authority(issuer)
            return None if found is None else found.certificate.public_bytes(Encoding.DER)

        return await self._run(find)

    async def root(self) -> bytes:
        """Give the root's certificate in PEM."""
        return self._home.root_pem()

    def _authority(self, issuer: str) -> Authority | None:
        desk = self._ca()
        if issuer == ISSUING:
            return desk.issuing
        return next((each for each in desk.all if each.thumbprint == issuer), None)

    def _refresh(self) -> None:
        self._is_refreshing = False  # what comes from now on is for the next time
        try:
            for what in self._ca().refresh(time.time()):
                log.info(Event.CERTIFICATES_REFRESHED, what=what)
        except LockgateError as error:
            log.error(Event.UNEXPECTED_ERROR, error=str(error), fix=error.fix)
        except Exception:
            log.exception(Event.UNEXPECTED_ERROR, action="refresh")

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
