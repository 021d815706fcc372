"""Why a peer did not get through TCP or TLS, said so that a person can mend it.

A `TlsFailure` carries a reason of a few stable words, one sentence with what came, one with what to do, and the
certificate that was refused: it proves nothing, but it says whom to ask.

Source: alerts from RFC 8446 section 6; certificate errors from RFC 5280 section 6 under OpenSSL's numbers.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from lockgate.errors import LockgateError, Step


class TlsReason(StrEnum):
    """The stable words: logged, counted and shown by `lockgate why`."""

    CERTIFICATE_EXPIRED = "certificate expired"
    CERTIFICATE_REVOKED = "certificate revoked"
    CERTIFICATE_NOT_YET_VALID = "certificate not yet valid"
    UNKNOWN_ISSUER = "unknown issuer"
    SELF_SIGNED = "self-signed certificate"
    WRONG_PURPOSE = "wrong purpose"
    BAD_SIGNATURE = "bad signature"
    KEY_TOO_WEAK = "key too weak"
    CERTIFICATE_REFUSED = "certificate refused"
    NOT_TLS = "not TLS"
    VERSION_NOT_OFFERED = "TLS version not offered"
    NO_SHARED_CIPHER = "no shared cipher suite"
    NO_SHARED_GROUP = "no shared key exchange group"
    CLIENT_GAVE_UP = "client gave up"
    CLIENT_CLOCK_WRONG = "client's clock is wrong"
    SERVER_CERTIFICATE_EXPIRED = "server certificate expired"
    SERVER_CERTIFICATE_NOT_YET_VALID = "server certificate not yet valid"
    HANDSHAKE_TIMEOUT = "handshake timeout"
    HANDSHAKE_BROKEN = "handshake broken"
    TOO_MANY_CONNECTIONS = "too many connections"
    TOO_MANY_HANDSHAKES = "too many handshakes"


class TlsFailure(msgspec.Struct, frozen=True):
    """One peer turned away, or gone, before the door spoke with it.

    `certificate` is the one that was refused, unverified: what it says about itself is a claim. `server_name` is the
    name that the client asked for (SNI), None when it asked for none.
    """

    reason: TlsReason
    message: str
    fix: str = ""
    certificate: x509.Certificate | None = None
    server_name: str | None = None
    step: Step = Step.TLS
    evidence: dict[str, str] = {}


class Shown(msgspec.Struct, frozen=True):
    """What of the hub's own certificate matters to why a client leaves.

    `is_name_covered` says whether the certificate holds the name that the client asked for; `valid_from` and
    `valid_until` bound the time in which the whole chain is valid.
    """

    is_name_covered: bool
    valid_from: datetime
    valid_until: datetime


class TlsRefused(LockgateError):
    """The TLS connection cannot go on; `failure` says why. What is left to send (an alert) must still be sent."""

    default_reason = "TLS refused"
    default_step = Step.TLS

    def __init__(self, failure: TlsFailure) -> None:
        super().__init__(
            failure.message, reason=failure.reason, fix=failure.fix, step=failure.step, evidence=failure.evidence
        )
        self.failure = failure


class CertificateVerdict:
    """What verification found wrong with a client's certificate chain: filled in by the engine's callback."""

    __slots__ = ("certificate", "depth", "error_number")

    def __init__(self) -> None:
        self.error_number = 0
        self.depth = 0
        self.certificate: x509.Certificate | None = None


# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h): part of its stable interface.
EXPIRED = 10
REVOKED = 23
_CERTIFICATE_REASONS = {
    2: TlsReason.UNKNOWN_ISSUER,  # unable to get issuer certificate
    7: TlsReason.BAD_SIGNATURE,
    9: TlsReason.CERTIFICATE_NOT_YET_VALID,
    EXPIRED: TlsReason.CERTIFICATE_EXPIRED,
    18: TlsReason.SELF_SIGNED,
    19: TlsReason.UNKNOWN_ISSUER,  # the chain ends in a root that is not ours
    20: TlsReason.UNKNOWN_ISSUER,
    21: TlsReason.UNKNOWN_ISSUER,
    REVOKED: TlsReason.CERTIFICATE_REVOKED,
    24: TlsReason.WRONG_PURPOSE,  # issued by a certificate that is no CA
    26: TlsReason.WRONG_PURPOSE,
    66: TlsReason.KEY_TOO_WEAK,
    67: TlsReason.KEY_TOO_WEAK,
    68: TlsReason.KEY_TOO_WEAK,
    79: TlsReason.WRONG_PURPOSE,
}

_ISSUE_ANOTHER = "Give the device a certificate from this hub: lockgate device add NAME --auth x509."
_TRUST = "If that CA is yours: lockgate ca trust CA.pem, then lockgate device add NAME --auth x509 --certificate FILE."

_HANDSHAKE_ERRORS = {
    "unsupported protocol": TlsReason.VERSION_NOT_OFFERED,
    "version too low": TlsReason.VERSION_NOT_OFFERED,
    "unknown protocol": TlsReason.VERSION_NOT_OFFERED,
    "wrong version number": TlsReason.VERSION_NOT_OFFERED,
    "no shared cipher": TlsReason.NO_SHARED_CIPHER,
    "no ciphers specified": TlsReason.NO_SHARED_CIPHER,
    "no suitable signature algorithm": TlsReason.NO_SHARED_CIPHER,
    "no shared signature algorithms": TlsReason.NO_SHARED_CIPHER,
    "no suitable key share": TlsReason.NO_SHARED_GROUP,
    "no suitable groups": TlsReason.NO_SHARED_GROUP,
    "bad signature": TlsReason.BAD_SIGNATURE,
}

_HANDSHAKE_ADVICE = {
    TlsReason.VERSION_NOT_OFFERED: (
        "the client offered {version}; this hub speaks TLS 1.2 and TLS 1.3",
        "Update the client's TLS library, or allow TLS 1.2 in its settings.",
    ),
    TlsReason.NO_SHARED_CIPHER: (
        "the client offered none of this hub's cipher suites: ECDHE with AES-GCM, AES-CCM or ChaCha20-Poly1305",
        "Allow an ECDHE suite with AES-GCM or ChaCha20-Poly1305 in the client.",
    ),
    TlsReason.NO_SHARED_GROUP: (
        "the client offered no key exchange group that this hub knows",
        "Allow X25519 or secp256r1 (P-256) in the client.",
    ),
    TlsReason.BAD_SIGNATURE: (
        "the client's signature does not fit the certificate that it showed: it does not hold that certificate's key",
        "Check that the client uses the key that belongs to its certificate.",
    ),
}

# RFC 8446 section 6.2, in OpenSSL's spelling: what each alert tells us about the client, and what mends it.
_CLIENT_ALERTS = {
    "unknown ca": ("it does not trust our CA", "Give the client this hub's ca.pem as its CA file."),
    "bad certificate": (
        "it refuses our certificate, mostly because the name or address it used is not in it",
        "Connect by a name that the server certificate holds, or add the name to it.",
    ),
    "certificate unknown": (
        "it refuses our certificate: it does not trust our CA, or the name it used is not in the certificate",
        "Give the client this hub's ca.pem, and connect by a name that the server certificate holds.",
    ),
    "certificate expired": (
        "it takes our certificate for expired",
        "Check the client's clock and the end of the server certificate's validity.",
    ),
    "certificate revoked": ("it takes our certificate for revoked", "Issue a new server certificate."),
    "unsupported certificate": (
        "our certificate does not suit it (kind of key, or purpose)",
        "Issue a server certificate of a kind that the client supports.",
    ),
    "handshake failure": (
        "it found no common parameters",
        "Compare the client's cipher suites, groups and signature algorithms with this hub's.",
    ),
    "protocol version": ("it does not speak TLS 1.2 or TLS 1.3", "Update the client's TLS library."),
    "insufficient security": (
        "our parameters are too weak for it",
        "Compare the client's TLS settings with this hub's.",
    ),
    "decrypt error": (
        "it could not verify our signature or the handshake",
        "Look for something between client and hub that changes bytes.",
    ),
    "internal error": (
        "it refuses our certificate (mosquitto's clients say this for a wrong name), or it failed itself",
        "Connect by a name that the server certificate holds, or add the name to it.",
    ),
    "unrecognized name": ("it asked for a name that is not served", "Add the name to the server certificate."),
    "user cancelled": ("its user or program stopped it", ""),
}

_SET_CLOCK = "Set the client's clock: have it ask a time server (NTP) before it connects."
_CLOCK_ALERTS = ("certificate expired", "bad certificate", "certificate unknown")
_NAME_ALERTS = ("bad certificate", "certificate unknown", "internal error", "unrecognized name")


def certificate_failure(verdict: CertificateVerdict, server_name: str | None) -> TlsFailure:
    """Say why a client's certificate was refused, with its name, and for clock trouble by how much."""
    reason = _CERTIFICATE_REASONS.get(verdict.error_number, TlsReason.CERTIFICATE_REFUSED)
    whose = f"the client's certificate for {describe(verdict.certificate)}"
    if verdict.depth:
        whose = f"the CA certificate {describe(verdict.certificate)} in the client's chain"
    message, fix = _certificate_advice(reason, whose, verdict)
    return TlsFailure(reason, message, fix, verdict.certificate, server_name)


def _certificate_advice(reason: TlsReason, whose: str, verdict: CertificateVerdict) -> tuple[str, str]:
    certificate = verdict.certificate
    issuer = _common_name(certificate.issuer) if certificate else "unknown"
    if reason is TlsReason.CERTIFICATE_EXPIRED and certificate:
        return _clock_advice(whose, "expired", "ago", certificate.not_valid_after_utc)
    if reason is TlsReason.CERTIFICATE_NOT_YET_VALID and certificate:
        return _clock_advice(whose, "becomes valid", "from now", certificate.not_valid_before_utc)
    sentences = {
        TlsReason.UNKNOWN_ISSUER: (
            f"{whose} was issued by {issuer}, which this hub does not trust",
            f"{_ISSUE_ANOTHER} {_TRUST}",
        ),
        TlsReason.SELF_SIGNED: (f"{whose} is signed by itself, not by a CA that this hub trusts", _ISSUE_ANOTHER),
        TlsReason.WRONG_PURPOSE: (
            f"{whose} is not meant for clients (extended key usage without clientAuth, or an issuer that is no CA)",
            _ISSUE_ANOTHER,
        ),
        TlsReason.BAD_SIGNATURE: (f"{whose} names {issuer} as its issuer, but that CA did not sign it", _ISSUE_ANOTHER),
        TlsReason.CERTIFICATE_REVOKED: (
            f"{whose} was revoked: the revocation list of {issuer} names it, or its key is registered to nobody",
            "Give the device a new key: lockgate device rotate NAME --out DIR; if it was removed, add it again.",
        ),
        TlsReason.KEY_TOO_WEAK: (f"{whose} has a key or signature that is too weak", _ISSUE_ANOTHER),
    }
    return sentences.get(
        reason, (f"{whose} failed verification (OpenSSL error {verdict.error_number})", _ISSUE_ANOTHER)
    )


def _clock_advice(whose: str, verb: str, direction: str, at: datetime) -> tuple[str, str]:
    now = datetime.now(UTC)
    message = f"{whose} {verb} at {_clock(at)}, {spell_duration(abs(now - at))} {direction}"
    return (
        f"{message}, by the hub's clock ({_clock(now)})",
        "Check this hub's clock; if it is right, issue the device a new certificate.",
    )


def handshake_failure(
    errors: Iterable[tuple[str, str, str]], offered_version: str, server_name: str | None, shown: Shown
) -> TlsFailure:
    """Say why the engine ended a handshake or connection.

    Args:
        errors: the engine's error queue as (library, function, reason).
        offered_version: the version of the ClientHello, in words.
        shown: what the client saw of the hub's certificate.
    """
    reasons = [reason for _, _, reason in errors]
    for reason in reasons:
        if "alert " in reason:
            return _alert_failure(reason.rpartition("alert ")[2], server_name, shown)
        known = _HANDSHAKE_ERRORS.get(reason)
        if known:
            message, fix = _HANDSHAKE_ADVICE[known]
            return TlsFailure(known, message.format(version=offered_version), fix, None, server_name)
    told = ", ".join(reasons) or "no reason given"
    return TlsFailure(TlsReason.HANDSHAKE_BROKEN, f"the client broke the TLS protocol ({told})", "", None, server_name)


def _alert_failure(alert: str, server_name: str | None, shown: Shown) -> TlsFailure:
    reason = TlsReason.CLIENT_GAVE_UP
    meaning, fix = _CLIENT_ALERTS.get(alert, ("it ended the TLS connection", ""))
    if alert in _NAME_ALERTS and not shown.is_name_covered:
        meaning = f"the name it used, {server_name}, is not in the server certificate"
        fix = add_name_fix(server_name)
    elif alert in _CLOCK_ALERTS:
        reason, meaning, fix = _clock_alert(alert, meaning, fix, server_name, shown)
    message = f"the client sent the alert {alert!r}: {meaning}"
    return TlsFailure(reason, message, fix, None, server_name, evidence=_validity(shown))


def _clock_alert(
    alert: str, meaning: str, fix: str, server_name: str | None, shown: Shown
) -> tuple[TlsReason, str, str]:
    """Judge an alert that may be about time by the one clock at hand: this hub's."""
    now = datetime.now(UTC)
    if now >= shown.valid_until:
        ago = spell_duration(now - shown.valid_until)
        meaning = f"the server certificate expired {ago} ago, by this hub's clock ({_clock(now)})"
        return TlsReason.SERVER_CERTIFICATE_EXPIRED, meaning, "lockgate server-cert rotate"
    if now < shown.valid_from:
        ahead = spell_duration(shown.valid_from - now)
        meaning = f"the server certificate begins {ahead} from now, by this hub's clock ({_clock(now)})"
        return TlsReason.SERVER_CERTIFICATE_NOT_YET_VALID, meaning, "Set this hub's clock: have it ask a time server."
    if alert == "certificate expired":
        # No guess: by our clock it is valid, by the client's it is over.
        ahead = spell_duration(shown.valid_until - now)
        meaning = (
            f"it takes our certificate for expired, which is valid until {_clock(shown.valid_until)}: the client's "
            f"clock is at least {ahead} ahead, or this hub's as much behind ({_clock(now)})"
        )
        return TlsReason.CLIENT_CLOCK_WRONG, meaning, _SET_CLOCK
    if alert == "bad certificate" and server_name is not None:
        # The name is right. OpenSSL says this of a certificate that is not yet valid, too.
        meaning = (
            f"it refuses our certificate, though that holds the name {server_name}. Mostly its clock is wrong: the "
            f"certificate is valid from {_clock(shown.valid_from)}, and a device that was never told the time "
            "takes it for one of the future"
        )
        return TlsReason.CLIENT_CLOCK_WRONG, meaning, _SET_CLOCK
    return TlsReason.CLIENT_GAVE_UP, f"{meaning}; or its clock is before {_clock(shown.valid_from)}", fix


def _validity(shown: Shown) -> dict[str, str]:
    return {
        "server certificate": f"valid from {_clock(shown.valid_from)} until {_clock(shown.valid_until)}",
        "this hub's clock": _clock(datetime.now(UTC)),
    }


def left_failure(received_bytes: int, server_name: str | None, is_name_covered: bool) -> TlsFailure:
    """Say that the client closed the connection in the middle of the handshake."""
    if not received_bytes:
        return TlsFailure(
            TlsReason.CLIENT_GAVE_UP, "the client connected and closed without a single byte: a port check?"
        )
    message, fix = _CLIENT_ALERTS["certificate unknown"]
    message = f"the client closed the connection during the handshake without an alert; mostly {message}"
    if not is_name_covered:
        fix = add_name_fix(server_name)
    return TlsFailure(TlsReason.CLIENT_GAVE_UP, message, fix, None, server_name)


def add_name_fix(server_name: str | None) -> str:
    """Give the command that adds a name which a client asked for; none for one that the shell could take otherwise."""
    if server_name is not None and (server_name.startswith("-") or not server_name.isprintable()):
        return ""
    return f"lockgate server-cert add-name {shlex.quote(server_name or 'NAME')}"


def timeout_failure(deadline_seconds: float, received_bytes: int, server_name: str | None) -> TlsFailure:
    """Say that the handshake was not finished in time."""
    return TlsFailure(
        TlsReason.HANDSHAKE_TIMEOUT,
        f"the client did not finish the TLS handshake within {deadline_seconds:g} s ({received_bytes} bytes came)",
        "Check that the client speaks TLS, and how slow its network is.",
        None,
        server_name,
    )


def not_tls_failure(first_bytes: bytes) -> TlsFailure:
    """Say what came instead of a TLS record, judged by its first bytes."""
    if b"MQTT" in first_bytes[:16] or b"MQIsdp" in first_bytes[:16]:
        looks_like, fix = (
            "an MQTT CONNECT in plain text",
            "Turn on TLS in the client: a CA file, or mqtts:// in its URL.",
        )
    elif first_bytes.split(b" ", 1)[0] in (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"CONNECT", b"PRI"):
        looks_like, fix = (
            "an HTTP request in plain text",
            "This port speaks TLS, not HTTP: use the address of the right door.",
        )
    elif first_bytes.startswith(b"AMQP"):
        looks_like, fix = "an AMQP header in plain text", "Turn on TLS in the client: amqps:// in its URL."
    else:
        looks_like, fix = f"bytes that are no TLS record ({first_bytes[:4].hex(' ')} ...)", "Turn on TLS in the client."
    return TlsFailure(TlsReason.NOT_TLS, f"the client sent {looks_like} to a port that speaks TLS only", fix)


def describe(certificate: x509.Certificate | None) -> str:
    """Give back the name that a certificate claims: its subject's common name, or what there is."""
    return _common_name(certificate.subject) if certificate else "an unreadable name"


def certificate_facts(certificate: x509.Certificate) -> dict[str, str]:
    """Give what tells one certificate from another: whom it names, who issued it, when it is valid, its fingerprint."""
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return {
        "certificate": f"{describe(certificate)}, issued by {_common_name(certificate.issuer)}",
        "certificate valid": f"from {_clock(begins)} until {_clock(ends)}",
        "certificate SHA-256": fingerprint,
    }


def _common_name(name: x509.Name) -> str:
    for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME):
        return repr(str(attribute.value)[:64])
    return repr(name.rfc4514_string()[:64]) if name.rdns else "nobody (an empty name)"


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def spell_duration(duration: timedelta) -> str:
    """Spell a duration with its two largest units: "3 days 4 hours", "12 seconds"."""
    rest = max(int(duration.total_seconds()), 0)
    words = []
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, seconds)
        if count:
            words.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(words[:2]) or "0 seconds"
