"""DTLS as doors and offices know it: whose keys, which modes, why somebody was turned away.

Source: DTLS 1.2 RFC 6347, pre-shared keys RFC 4279, raw public keys RFC 7250, all three in CoAP: RFC 7252 section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509

from lockgate.errors import Step, Unavailable
from lockgate.net.datagrams import DatagramHandler, DatagramLimits
from lockgate.net.link import Address
from lockgate.net.listener import Traffic


class DtlsKeys(Protocol):
    """Whose keys are good: what the registry knows. Asked during handshakes, on the event loop: it answers at once."""

    def psk(self, identity: bytes) -> bytes | None:
        """Give the key of an identity, None when nobody has it or it is good no longer."""
        ...

    def is_known_key(self, spki: bytes) -> bool:
        """Say whether a raw public key (DER SubjectPublicKeyInfo) is that of a good credential."""
        ...

    def is_barred(self, certificate: x509.Certificate) -> bool:
        """Say whether a certificate that verified is good no longer: revoked, blocked, or nobody's by now."""
        ...


class DtlsModes(msgspec.Struct, frozen=True):
    """Which of the modes of RFC 7252 section 9 a listener offers."""

    psk: bool = True
    rpk: bool = True
    x509: bool = True


class DtlsReason(StrEnum):
    """The stable words: logged, counted and shown by `lockgate why`. Where TLS has the same, it is the same."""

    UNKNOWN_IDENTITY = "unknown PSK identity"
    WRONG_KEY = "wrong pre-shared key"
    UNKNOWN_RAW_KEY = "unknown raw public key"
    UNKNOWN_ISSUER = "unknown issuer"
    CERTIFICATE_EXPIRED = "certificate expired"
    CERTIFICATE_NOT_YET_VALID = "certificate not yet valid"
    CERTIFICATE_REVOKED = "certificate revoked"
    CERTIFICATE_REFUSED = "certificate refused"
    NO_CERTIFICATE = "no client certificate"
    MODE_NOT_OFFERED = "mode not offered"
    NO_SHARED_CIPHER = "no shared cipher suite"
    VERSION_NOT_OFFERED = "DTLS version not offered"
    CLIENT_GAVE_UP = "client gave up"
    HANDSHAKE_TIMEOUT = "handshake timeout"
    HANDSHAKE_BROKEN = "handshake broken"
    TOO_MANY_HANDSHAKES = "too many handshakes"


class DtlsFailure(msgspec.Struct, frozen=True):
    """One peer turned away before the door spoke with it.

    `message` says what came, `fix` what to do. `identity` is the PSK identity that was named, in characters that are
    safe to show; `certificate` the one that was refused; `fingerprint` the SHA-256 of a raw public key, in hex. None of
    them proves anything: they say whom to ask.
    """

    reason: DtlsReason
    message: str
    fix: str = ""
    identity: str = ""
    certificate: x509.Certificate | None = None
    fingerprint: str = ""
    step: Step = Step.TLS
    evidence: dict[str, str] = {}


class DtlsFiles(msgspec.Struct, frozen=True):
    """The PEM files that a listener takes its certificate and its CAs from: those of the TLS doors.

    `certificate` is a chain, the server's own first; `crl` need not be there.
    """

    certificate: Path
    key: Path
    authorities: Path
    crl: Path | None = None


class DtlsListener:
    """A door's sockets for DTLS, all on one port: a handler for each peer whose handshake is done.

    Call `handle_timer` once a second or so, and `reload` when files have changed.
    """

    addresses: tuple[Address, ...] = ()

    @classmethod
    async def open(
        cls,
        hosts: str | Sequence[str],
        port: int,
        handler_factory: Callable[[], DatagramHandler],
        limits: DatagramLimits,
        files: DtlsFiles,
        keys: DtlsKeys,
        modes: DtlsModes,
        on_refused: Callable[[Address, DtlsFailure], None],
    ) -> DtlsListener:
        """Listen on every one of `hosts` (names or addresses) at `port`; 0 picks one free port for all.

        Args:
            handler_factory: makes the handler of one peer, when its handshake is done.
            on_refused: told of each peer that did not get as far as a handler, once it has proven its address.

        Raises:
            Unavailable: when the port is taken, or the machine has no GnuTLS.
            InvalidSettings: when a host is not ours, the port may not be used, or a file cannot be used.
        """
        del hosts, port, handler_factory, limits, files, keys, modes, on_refused
        raise Unavailable("DTLS is not there yet")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        raise NotImplementedError

    @property
    def traffic(self) -> Traffic:
        """What has come and gone here since the start."""
        raise NotImplementedError

    @property
    def connection_count(self) -> int:
        """How many links there are, those in a handshake included."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read the files again; handshakes that have begun keep what they were begun with.

        Raises:
            InvalidSettings: when a file cannot be used; what was read before then stays in force.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Take no more datagrams, say goodbye to all; the handlers hear of it."""
        raise NotImplementedError

    def handle_timer(self, now: float) -> None:
        """End the links that were quiet for too long. `now` is the loop's time."""
        raise NotImplementedError
