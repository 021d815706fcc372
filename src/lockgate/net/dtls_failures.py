"""Why a peer did not get through DTLS, said so that a person can mend it.

Where TLS over TCP fails in the same way, the words are the same (`failures`).

Source: alerts from RFC 5246 section 7.2, PSK RFC 4279 section 2, raw keys RFC 7250 section 4.2.
"""

from __future__ import annotations

import hashlib

from lockgate.errors import Step
from lockgate.net.dtls import DtlsFailure, DtlsModes, DtlsReason
from lockgate.net.failures import (
    CertificateVerdict,
    Shown,
    TlsFailure,
    certificate_facts,
    certificate_failure,
    handshake_failure,
)
from lockgate.net.hellos import CertificateType, Hello

MAX_SHOWN_CHARACTERS = 64

# RFC 5246 section 7.2 by number, in the words that `failures` knows.
_ALERTS = {
    20: "bad record mac",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown ca",
    51: "decrypt error",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    90: "user cancelled",
    112: "unrecognized name",
    115: "unknown psk identity",
}
_CREDENTIALS = {
    DtlsReason.CERTIFICATE_EXPIRED: 45,
    DtlsReason.CERTIFICATE_REVOKED: 44,
    DtlsReason.UNKNOWN_ISSUER: 48,
    DtlsReason.SELF_SIGNED: 48,
    DtlsReason.UNKNOWN_RAW_KEY: 46,
}
_BAD_CERTIFICATE = 42
_ADD = "Register the device: lockgate device add NAME --auth {kind} --out DIR."


def alert_for(reason: DtlsReason) -> int:
    """Give the alert that tells a peer why its certificate or raw key was refused."""
    return _CREDENTIALS.get(reason, _BAD_CERTIFICATE)


def shown_identity(identity: bytes) -> str:
    """Give an identity in characters that are safe to show: whoever sent it may have written anything into it."""
    text = identity[: MAX_SHOWN_CHARACTERS + 1].decode("utf-8", "replace")
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


def unknown_identity(identity: bytes) -> DtlsFailure:
    """Say that nobody has this PSK identity, or not any more."""
    name = shown_identity(identity)
    return DtlsFailure(
        DtlsReason.UNKNOWN_IDENTITY,
        f"no device has the PSK identity {name!r}, or its key is good no longer",
        f"The identity is the device's name: correct it in the client. {_ADD.format(kind='psk')}",
        identity=name,
        step=Step.CREDENTIAL,
        evidence={"PSK identity": name},
    )


def wrong_key(identity: bytes) -> DtlsFailure:
    """Say that the device's key is another than the registered one."""
    name = shown_identity(identity)
    return DtlsFailure(
        DtlsReason.WRONG_KEY,
        f"the client named the PSK identity {name!r}, but what it sent was not made with that device's key",
        f"Give the device the key of its bundle again, or a new one: lockgate device rotate {name} --out DIR.",
        identity=name,
        step=Step.CREDENTIAL,
        evidence={"PSK identity": name},
    )


def unknown_raw_key(spki: bytes) -> DtlsFailure:
    """Say that a raw public key is nobody's, or not any more."""
    fingerprint = hashlib.sha256(spki).hexdigest()
    return DtlsFailure(
        DtlsReason.UNKNOWN_RAW_KEY,
        f"the client's raw public key (SHA-256 {fingerprint}) is no device's, or is good no longer",
        _ADD.format(kind="rpk"),
        fingerprint=fingerprint,
        step=Step.CREDENTIAL,
        evidence={"raw public key SHA-256": fingerprint},
    )


def refused_certificate(verdict: CertificateVerdict) -> DtlsFailure:
    """Say why a client's certificate was refused, as the TLS doors say it."""
    return _as_dtls(certificate_failure(verdict, None))


def client_alert(alert: int, shown: Shown) -> DtlsFailure:
    """Say what a client's alert means.

    Args:
        alert: its number.
        shown: what the client saw of the hub's certificate.
    """
    name = _ALERTS.get(alert, f"number {alert}")
    return _as_dtls(handshake_failure([("", "", f"alert {name}")], "", None, shown))


def no_certificate() -> DtlsFailure:
    """Say that the client had nothing to show."""
    return DtlsFailure(
        DtlsReason.NO_CERTIFICATE,
        "the client offered certificates, but showed none of its own",
        f"Give the client its certificate and key. {_ADD.format(kind='x509')}",
    )


def not_agreed(hello: Hello, modes: DtlsModes) -> DtlsFailure:
    """Say why nothing that a client offered is offered here."""
    wanted = wanted_mode(hello)
    if not hello.is_dtls_1_2:
        return DtlsFailure(
            DtlsReason.VERSION_NOT_OFFERED,
            "the client offered DTLS 1.0; this hub speaks DTLS 1.2",
            "Update the client's DTLS library, or allow DTLS 1.2 in its settings.",
        )
    if wanted and not getattr(modes, wanted):
        return DtlsFailure(
            DtlsReason.MODE_NOT_OFFERED,
            f"the client came by {_MODES[wanted]}, which this door does not offer",
            f"Switch it on (coap.{wanted}_enabled = true in lockgate.toml), or give the device other credentials.",
        )
    suites = ", ".join(f"{each:04x}" for each in hello.suites[:16])
    return DtlsFailure(
        DtlsReason.NO_SHARED_CIPHER,
        "the client offered none of this hub's cipher suites: PSK or ECDHE with AES-CCM, AES-GCM or ChaCha20-Poly1305",
        "Allow TLS_PSK_WITH_AES_128_CCM_8 or TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 in the client, and the curve P-256.",
        evidence={"cipher suites offered": suites},
    )


_MODES = {"psk": "pre-shared key", "rpk": "raw public key", "x509": "certificate"}


def wanted_mode(hello: Hello) -> str:
    """Say by which mode a client came: "psk", "rpk" or "x509"; "" when by none."""
    if hello.has_psk:
        return "psk"
    if not hello.has_certificates:
        return ""
    is_raw = hello.certificate_types[:1] == [CertificateType.RAW_PUBLIC_KEY]
    return "rpk" if is_raw else "x509"


def timed_out(seconds: float) -> DtlsFailure:
    """Say that the handshake was not finished in time."""
    return DtlsFailure(
        DtlsReason.HANDSHAKE_TIMEOUT,
        f"the client did not finish the DTLS handshake within {seconds:g} s",
        "Check how slow or lossy the client's network is, and that it waits long enough for answers.",
    )


def broken(told: str) -> DtlsFailure:
    """Say that the client broke the protocol, in the library's words."""
    return DtlsFailure(DtlsReason.HANDSHAKE_BROKEN, f"the client broke the DTLS protocol ({told})")


def unproven() -> DtlsFailure:
    """Say that the client does not hold the key of what it showed."""
    return DtlsFailure(
        DtlsReason.BAD_SIGNATURE,
        "the client's signature does not fit the certificate or raw key that it showed",
        "Check that the client uses the key that belongs to its certificate.",
    )


def too_many(failure: TlsFailure) -> DtlsFailure:
    """Say which limit of handshakes was reached."""
    message, fix = (
        failure.message.replace("TLS", "DTLS"),
        failure.fix.replace("net.max_handshakes.", "coap.max_handshakes."),
    )
    return DtlsFailure(DtlsReason.TOO_MANY_HANDSHAKES, message, fix, step=failure.step)


def _as_dtls(failure: TlsFailure) -> DtlsFailure:
    evidence = dict(failure.evidence)
    if failure.certificate is not None:
        evidence = {**certificate_facts(failure.certificate), **evidence}
    return DtlsFailure(
        DtlsReason(failure.reason.value),
        failure.message.replace(" TLS ", " DTLS "),
        failure.fix,
        certificate=failure.certificate,
        step=failure.step,
        evidence=evidence,
    )
