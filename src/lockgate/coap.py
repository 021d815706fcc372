"""The CoAP door as the gate runs it: its listeners, and what they need of the home.

Loaded only where the door is open, and after the MQTT doors: a start without CoAP does not wait for its rooms. Without
GnuTLS on the machine, the door stays closed, the log says what to install, and the hub serves MQTT.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import partial

import structlog

from lockgate.adapters.coap.hatch import Hatch
from lockgate.adapters.coap.server import CoapDoor
from lockgate.errors import LockgateError, Unavailable
from lockgate.events import Event
from lockgate.home import DoorFacts, Home, write_private
from lockgate.hub import Hub, Rates
from lockgate.identity import Authenticator
from lockgate.identity.keys import DtlsKeyring
from lockgate.identity.oscore import find_context
from lockgate.net.datagrams import DatagramLimits, DatagramListener
from lockgate.net.dtls import DtlsFiles, DtlsModes
from lockgate.net.dtls_listener import DtlsListener
from lockgate.net.listener import Traffic
from lockgate.registry.journal import Journal
from lockgate.registry.registry import Registry
from lockgate.registry.vault import Vault
from lockgate.settings import CoapSettings, Settings
from lockgate.store.messages_db import MessagesDb
from lockgate.store.numbers import Numbers

log = structlog.get_logger()

NO_GNUTLS = "no GnuTLS"
NOSEC_WARNING = "CoAP without DTLS: whoever is on the way reads and changes everything"


class CoapDoors:
    """The listeners of the CoAP door, and the door behind them.

    Args:
        home: the hub's folder.
        settings: lockgate.toml.
        registry: whose keys are good.
        hub, authenticator, journal, store: the gate's.
        rates: the meters of all devices, shared with the other doors.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        registry: Registry,
        hub: Hub,
        authenticator: Authenticator,
        journal: Journal,
        store: MessagesDb,
        rates: Rates,
    ) -> None:
        self._home = home
        self._settings = settings
        self._registry = registry
        self._journal = journal
        self.door = CoapDoor(hub, authenticator, journal, store, settings, rates)
        self._dtls: DtlsListener | None = None
        self._plain: DatagramListener | None = None
        self._hatch: Hatch | None = None

    async def open(self) -> list[DoorFacts]:
        """Open what the settings ask for; give what is open.

        Raises:
            LockgateError: a port is taken, a host is not ours, or a file of the home cannot be used.
        """
        coap, doors = self._settings.coap, []
        if coap.enabled:
            self._dtls = await self._open_dtls(coap)
            if self._dtls is not None:
                doors += [DoorFacts("coap", a.host, a.port, "dtls", "udp") for a in self._dtls.addresses]
        if coap.oscore_enabled:
            self._offer_oscore()
        if coap.nosec_enabled or coap.oscore_enabled:
            limits = datagram_limits(self._settings)
            handler = self.door.plain_handler
            self._plain = await DatagramListener.open(coap.hosts, coap.nosec_port, handler, limits)
            if coap.nosec_enabled and coap.multicast_enabled:
                self._plain.join(coap.multicast_groups)
            doors += [DoorFacts("coap", a.host, a.port, "none", "udp") for a in self._plain.addresses]
            if coap.nosec_enabled:
                log.warning(Event.NOSEC_DOOR_OPENED, port=self._plain.port, warning=NOSEC_WARNING)
        if coap.http_enabled:
            self._hatch = Hatch(self.door, self._home.hatch_path)
            await self._hatch.open()
        return doors

    @property
    def traffic(self) -> list[Traffic]:
        """What has come and gone since the start, by listener."""
        return [each.traffic for each in (self._dtls, self._plain) if each is not None]

    @property
    def connection_count(self) -> int:
        """How many links have a session."""
        return sum(connection.session is not None for connection in self.door.connections)

    def committed(self, number: int) -> None:
        """Let go what waited for commit `number`. Called on the loop."""
        self.door.committed(number)

    def handle_timers(self) -> None:
        """Do what it is time for. Called four times a second."""
        self.door.handle_timers()
        now = asyncio.get_running_loop().time()
        if self._dtls is not None:
            self._dtls.handle_timer(now)
        if self._plain is not None:
            self._plain.handle_timer(now)

    def reload(self) -> None:
        """Read certificate, key, CAs and revocation list again."""
        if self._dtls is not None:
            try:
                self._dtls.reload()
            except LockgateError as error:
                log.error(Event.TLS_FILE_REFUSED, error=str(error), fix=error.fix)

    def close(self) -> None:
        """Say goodbye to all, and take nothing more."""
        if self._hatch is not None:
            self._hatch.close()
        self.door.close()
        for each in (self._dtls, self._plain):
            if each is not None:
                each.close()

    def _offer_oscore(self) -> None:
        """Have the door take requests that are protected by themselves, on each of its listeners.

        Raises:
            InvalidSettings: the file with how far the hub's own numbers have come cannot be read.
        """
        # here: a hub without OSCORE does not load aiocoap
        from lockgate.adapters.coap.oscore import Contexts
        from lockgate.adapters.coap.protected import offer

        vault = Vault(self._home.secrets_path)
        numbers = Numbers(self._home.oscore_path, write_private, self.door.wall_clock)
        find = partial(find_context, self._registry, vault)
        offer(self.door, Contexts(find, numbers.take, secrets.token_bytes(32)))

    async def _open_dtls(self, coap: CoapSettings) -> DtlsListener | None:
        home = self._home
        try:
            return await DtlsListener.open(
                coap.hosts,
                coap.port,
                self.door.handler,
                datagram_limits(self._settings),
                DtlsFiles(
                    home.server_path,
                    home.server_key_path,
                    home.bundle_path,
                    home.crl_path,
                    home.raw_key() if coap.rpk_enabled else None,
                ),
                DtlsKeyring(self._registry, Vault(home.secrets_path)),
                DtlsModes(coap.psk_enabled, coap.rpk_enabled, coap.x509_enabled),
                partial(self._journal.dtls_refused, "coap"),
            )
        except Unavailable as error:
            if error.reason != NO_GNUTLS:
                raise
            log.warning(Event.COAP_DOOR_CLOSED, error=str(error), fix=error.fix)
            return None


def datagram_limits(settings: Settings) -> DatagramLimits:
    """Give what a listener of datagrams grants its peers."""
    coap, net = settings.coap, settings.net
    return DatagramLimits(
        max_links=coap.max_connections,
        max_links_per_address=coap.max_connections_per_address,
        idle_seconds=coap.idle_seconds,
        handshake_deadline_seconds=coap.handshake_deadline_seconds,
        max_handshakes=coap.max_handshakes,
        max_handshakes_per_second_per_address=net.max_handshakes_per_second_per_address,
        max_handshake_burst_per_address=net.max_handshake_burst_per_address,
    )
