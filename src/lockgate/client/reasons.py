"""The hub's answers and the network's troubles in our own words: reason codes and exceptions -> errors.

Source: MQTT 5.0 section 2.4 (reason codes) and section 3.2.2.3.9 (reason string).
"""

from __future__ import annotations

import re
import ssl

from lockgate.adapters.mqtt.packets import ReasonCode
from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    PayloadTooLarge,
    QuotaExceeded,
    RateExceeded,
    SessionTakenOver,
    Step,
    TopicFilterInvalid,
    TopicNameInvalid,
    Unavailable,
)

_ERRORS: dict[int, type[LockgateError]] = {
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: NotAuthorized,
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: AuthenticationFailed,
    ReasonCode.BAD_AUTHENTICATION_METHOD: AuthenticationFailed,
    ReasonCode.NOT_AUTHORIZED: NotAuthorized,
    ReasonCode.BANNED: NotAuthorized,
    ReasonCode.ADMINISTRATIVE_ACTION: NotAuthorized,
    ReasonCode.MAXIMUM_CONNECT_TIME: AuthenticationFailed,
    ReasonCode.SERVER_UNAVAILABLE: Unavailable,
    ReasonCode.SERVER_BUSY: Unavailable,
    ReasonCode.SERVER_SHUTTING_DOWN: Unavailable,
    ReasonCode.SESSION_TAKEN_OVER: SessionTakenOver,
    ReasonCode.TOPIC_FILTER_INVALID: TopicFilterInvalid,
    ReasonCode.TOPIC_NAME_INVALID: TopicNameInvalid,
    ReasonCode.PACKET_TOO_LARGE: PayloadTooLarge,
    ReasonCode.MESSAGE_RATE_TOO_HIGH: RateExceeded,
    ReasonCode.CONNECTION_RATE_EXCEEDED: RateExceeded,
    ReasonCode.QUOTA_EXCEEDED: QuotaExceeded,
}
_ALERT = re.compile(r"\[SSL: \w*ALERT_(\w+)\]")


def refusal(code: int, reason_string: str, what: str) -> LockgateError:
    """Give the error for a reason code of 0x80 and above; the hub's reason string, where it sent one, is its reason.

    Args:
        code: the reason code.
        reason_string: what the hub said beside it, "" for nothing.
        what: what was refused, for the sentence: "the connection", "the message on a/b".
    """
    reason = reason_string or _words(code)
    kind = _ERRORS.get(code, LockgateError)
    return kind(f"the hub refused {what}: {reason}", reason=reason, evidence={"reason code": f"0x{code:02x}"})


def refused_message(code: int, reason_string: str) -> LockgateError:
    """Give the error for a PUBLISH that the hub refused, from the reason code of its PUBACK or PUBCOMP.

    At QoS 2 the hub refuses in PUBREC; paho answers that with PUBREL all the same and tells the code of the PUBCOMP
    alone, which then is "packet identifier not found" (MQTT 5.0 section 3.7.2.1).
    """
    if code == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND:
        return LockgateError(
            "the hub refused the message; at QoS 2 the reason is not passed on",
            reason="refused at QoS 2",
            fix="publish it at QoS 1 to see the reason, or ask `lockgate why` on the hub",
        )
    return refusal(code, reason_string, "the message")


def unreachable(error: OSError, host: str, port: int) -> LockgateError:
    """Give the error for a connection that did not come about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationFailed(
            f"the hub at {host} port {port} does not prove that it is yours: {error.verify_message}",
            reason="hub certificate refused",
            fix=f"check that this is your hub, that its certificate is valid for {host}, and this machine's clock",
            step=Step.TLS,
        )
    if isinstance(error, ssl.SSLError):
        words = getattr(error, "reason", None) or error
        return Unavailable(f"no TLS with the hub at {host} port {port}: {words}", step=Step.TLS)
    return Unavailable(
        f"the hub at {host} port {port} cannot be reached: {error.strerror or str(error) or type(error).__name__}",
        fix="check the address, that the hub runs, and that no firewall stands between",
        step=Step.TCP,
    )


def lost(trouble: str) -> LockgateError:
    """Give the error for a connection that ended without an answer.

    With TLS 1.3 a refused client certificate looks like this: the alert comes after the handshake (RFC 8446 section
    4.4.2.4).

    Args:
        trouble: what the network said last, "" for nothing.
    """
    alert = _ALERT.search(trouble)
    if alert:
        words = alert[1].lower().replace("_", " ")
        return AuthenticationFailed(
            f"the hub refused the TLS connection: {words}",
            reason=words,
            fix="`lockgate why` on the hub says what was wrong with the certificate",
            step=Step.TLS,
        )
    return Unavailable(
        "the hub closed the connection without an answer" + (f": {trouble}" if trouble else ""),
        reason="connection lost",
        fix="`lockgate why` on the hub says whether it refused this device",
    )


def _words(code: int) -> str:
    try:
        return ReasonCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"reason code 0x{code:02x}"
