"""DTLS as doors and offices know it: whose keys, which modes, why somebody was turned away.

Source: DTLS 1.2 RFC 6347, pre-shared keys RFC 4279, raw public keys RFC 7250, all three in CoAP: RFC 7252 section 9.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509

from lockgate.errors import Step


class DtlsKeys(Protocol):
    """Whose keys are good: what the registry knows. Asked during handshakes, on the event loop: it answers at once."""

    def psk(self, identity: bytes) -> bytes | bytearray | None:
        """Give the key of an identity, None when nobody has it or it is good no longer; a bytearray is wiped after."""
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
    NO_CERTIFICATE = "no client certificate"
    MODE_NOT_OFFERED = "mode not offered"
    CERTIFICATE_EXPIRED = "certificate expired"
    CERTIFICATE_REVOKED = "certificate revoked"
    CERTIFICATE_NOT_YET_VALID = "certificate not yet valid"
    UNKNOWN_ISSUER = "unknown issuer"
    SELF_SIGNED = "self-signed certificate"
    WRONG_PURPOSE = "wrong purpose"
    BAD_SIGNATURE = "bad signature"
    KEY_TOO_WEAK = "key too weak"
    CERTIFICATE_REFUSED = "certificate refused"
    VERSION_NOT_OFFERED = "DTLS version not offered"
    NO_SHARED_CIPHER = "no shared cipher suite"
    CLIENT_GAVE_UP = "client gave up"
    CLIENT_CLOCK_WRONG = "client's clock is wrong"
    SERVER_CERTIFICATE_EXPIRED = "server certificate expired"
    SERVER_CERTIFICATE_NOT_YET_VALID = "server certificate not yet valid"
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

    `certificate` is a chain, the server's own first; `crl` need not be there. `raw_key` is the key that clients of raw
    public keys know the hub by; without it, it is the certificate's.
    """

    certificate: Path
    key: Path
    authorities: Path
    crl: Path | None = None
    raw_key: Path | None = None


class DtlsRefused(Exception):
    """The handshake cannot go on; `failure` says why. It goes from a session to its listener, and no further."""

    def __init__(self, failure: DtlsFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure
