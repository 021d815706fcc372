"""The facts about one hub that checks look at: plain values, gathered before.

What could not be learnt is None, and `reasons` says why under the field's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from cryptography import x509

from lockgate.errors import LockgateError
from lockgate.model.device import Credential, Device
from lockgate.model.permission import Rule
from lockgate.net.probe import Handshake, Offer, Served
from lockgate.pki.certificates import PublicKey
from lockgate.settings import Settings

_T = TypeVar("_T")

LOOPBACK = ("127.", "::1", "localhost")


class NotKnown(LockgateError):
    """A check needs a fact that nobody could give."""

    default_reason = "not known"


class FileFacts(msgspec.Struct, frozen=True):
    """One file or folder: its permission bits, the user ids of its owner and what kind it is."""

    path: str
    mode: int
    owner: int
    is_folder: bool = False
    is_link: bool = False


class Identity(msgspec.Struct, frozen=True):
    """A certificate file of the hub: its chain, leaf first, and the public half of the key that lies beside it."""

    path: str
    chain: tuple[x509.Certificate, ...]
    key: PublicKey | None = None


class Seen(msgspec.Struct, frozen=True):
    """When a device last connected, None for never."""

    connected_at: float | None = None


class Door(msgspec.Struct, frozen=True):
    """An open door: where it listens, under which protocol, with TLS or without; `is_dtls` says so of one on UDP."""

    name: str
    address: str
    port: int
    is_tls: bool
    transport: str = "tcp"
    is_dtls: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.address.startswith(LOOPBACK)

    @property
    def is_mqtt(self) -> bool:
        """Whether it speaks MQTT right on TCP, as the probes can."""
        return self.name == "mqtt" and self.transport == "tcp"

    def __str__(self) -> str:
        """Give it as people write it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} {host}:{self.port}"


class Machine(msgspec.Struct, frozen=True):
    """The machine: its names and addresses, who the scan runs as, its disk, clock, Python and libraries.

    `clock_synchronised` is None where the kernel does not say; `packages` are the versions of the Python packages that
    lockgate needs, `openssl` the versions of the OpenSSL libraries that it runs on.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    user: int = 1000
    free_bytes: int | None = None
    disk_bytes: int | None = None
    clock_synchronised: bool | None = None
    python: tuple[int, int] = (3, 11)
    python_program: str = "python3"
    packages: Mapping[str, str] = {}
    openssl: tuple[str, ...] = ()
    is_compiled: bool = True


class Login(msgspec.Struct, frozen=True):
    """How an MQTT CONNECT ended: the code of the CONNACK, None where the door closed without one."""

    code: int | None
    problem: str = ""

    @property
    def is_in(self) -> bool:
        """Whether the hub let them in."""
        return self.code == 0


class Prober(Protocol):
    """Speaks to the open doors as a client would."""

    def handshake(self, door: Door, offer: Offer) -> Handshake:
        """Try a TLS handshake with exactly this offer."""
        ...

    def served(self, door: Door) -> Served:
        """Give what the door shows in a handshake."""
        ...

    def renegotiates(self, door: Door) -> bool:
        """Say whether the door lets a client begin a new handshake inside the old one."""
        ...

    def connect(self, door: Door, user: str | None, password: str | None, self_signed: bool = False) -> Login:
        """Try an MQTT CONNECT; `self_signed` shows a certificate that no CA has signed."""
        ...

    def hears_sys(self, door: Door) -> bool:
        """Say whether somebody without credentials may subscribe to $SYS/#."""
        ...

    def plain(self, door: Door, sent: bytes) -> bytes:
        """Send bytes without TLS; give the first of what comes back, b"" when the door closes."""
        ...


class Subject(msgspec.Struct, frozen=True):
    """All facts about one hub. `now` is in unix seconds; `hub_user` and `office_user` are user ids of processes;
    `parents` are the folders above the home; `roles` are names with who holds each; `foreign` are authorities of others
    that are trusted; `backed_up_at` is 0.0 for never; `examine_secrets` opens what some credentials hold sealed,
    and gives what is wrong with it, by device; `verify_audit` reads the whole audit trail and does likewise.
    """

    now: float
    target: str
    files: tuple[FileFacts, ...] | None = None
    parents: tuple[FileFacts, ...] | None = None
    server: Identity | None = None
    issuing: Identity | None = None
    root: Identity | None = None
    settings: Settings | None = None
    settings_path: str = "lockgate.toml"
    devices: tuple[Device, ...] | None = None
    rules: tuple[Rule, ...] | None = None
    seen: Mapping[str, Seen] | None = None
    machine: Machine | None = None
    roles: Mapping[str, tuple[str, ...]] | None = None
    revocation_lists: tuple[x509.CertificateRevocationList, ...] | None = None
    foreign: tuple[Identity, ...] | None = None
    backed_up_at: float | None = None
    examine_secrets: Callable[[Sequence[Credential]], Sequence[tuple[str, str]]] | None = None
    verify_audit: Callable[[], Sequence[str]] | None = None
    doors: tuple[Door, ...] | None = None
    hub_user: int | None = None
    office_user: int | None = None
    prober: Prober | None = None
    reasons: Mapping[str, str] = {}

    def need(self, fact: _T | None, name: str) -> _T:
        """Give a fact that must be known.

        Raises:
            NotKnown: when it is not, with the reason.
        """
        if fact is None:
            raise NotKnown(self.reasons.get(name, f"{name} is not known"))
        return fact

    def tls_doors(self) -> tuple[Door, ...]:
        """Give the doors with TLS, one of each port."""
        doors = self.need(self.doors, "doors")
        return tuple({door.port: door for door in reversed(doors) if door.is_tls}.values())

    def mqtt_doors(self) -> tuple[Door, ...]:
        """Give the doors with TLS that speak MQTT on TCP, one of each port."""
        return tuple(door for door in self.tls_doors() if door.is_mqtt)

    def probe(self) -> Prober:
        """Give who speaks to the doors."""
        return self.need(self.prober, "doors")
