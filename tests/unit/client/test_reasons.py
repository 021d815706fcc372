"""Reason codes and exceptions become our errors, with the hub's own words where it sent some."""

from __future__ import annotations

import socket
import ssl

import pytest

from lockgate.adapters.mqtt.packets import ReasonCode
from lockgate.client.reasons import lost, refusal, refused_message, unreachable
from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    PayloadTooLarge,
    QuotaExceeded,
    SessionTakenOver,
    Step,
    Unavailable,
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x86, AuthenticationFailed),
        (0x8C, AuthenticationFailed),
        (0x85, NotAuthorized),
        (0x87, NotAuthorized),
        (0x89, Unavailable),
        (0x8E, SessionTakenOver),
        (0x95, PayloadTooLarge),
        (0x97, QuotaExceeded),
    ],
)
def test_a_reason_code_becomes_its_error(code: int, kind: type[LockgateError]) -> None:
    error = refusal(code, "", "the connection")
    assert type(error) is kind
    assert error.reason == ReasonCode(code).name.lower().replace("_", " ")
    assert str(error) == f"the hub refused the connection: {error.reason}"
    assert error.evidence == {"reason code": f"0x{code:02x}"}


def test_the_hubs_own_words_come_first() -> None:
    error = refusal(0x87, "rule 4 says no (ref A1B2)", "the message")
    assert error.reason == "rule 4 says no (ref A1B2)"
    assert "rule 4 says no (ref A1B2)" in str(error)


@pytest.mark.parametrize("code", range(0x80, 0x100))
def test_every_failure_code_has_an_error_even_an_unknown_one(code: int) -> None:
    assert refusal(code, "", "the connection").reason


def test_a_refusal_at_qos_2_says_how_to_learn_the_reason() -> None:
    error = refused_message(0x92, "")
    assert error.reason == "refused at QoS 2"
    assert "QoS 1" in error.fix
    assert isinstance(refused_message(0x87, ""), NotAuthorized)


def test_a_hub_that_does_not_prove_itself_is_an_authentication_failure() -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "certificate has expired"
    error = unreachable(cause, "hub.local", 8883)
    assert isinstance(error, AuthenticationFailed)
    assert error.step is Step.TLS
    assert str(error) == "the hub at hub.local port 8883 does not prove that it is yours: certificate has expired"


@pytest.mark.parametrize(
    ("cause", "words", "step"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached: Connection refused", Step.TCP),
        (socket.gaierror(-2, "Name or service not known"), "cannot be reached: Name or service not known", Step.TCP),
        (TimeoutError("timed out"), "cannot be reached: timed out", Step.TCP),
        (TimeoutError(), "cannot be reached: TimeoutError", Step.TCP),
        (ssl.SSLError(1, "wrong version number"), "no TLS with the hub", Step.TLS),
    ],
)
def test_a_hub_that_is_not_there_is_unavailable(cause: OSError, words: str, step: Step) -> None:
    error = unreachable(cause, "hub.local", 8883)
    assert isinstance(error, Unavailable)
    assert words in str(error)
    assert error.step is step


def test_an_alert_after_the_handshake_is_the_hubs_refusal() -> None:
    error = lost("failed to receive on socket: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)")
    assert isinstance(error, AuthenticationFailed)
    assert error.reason == "unknown ca"


def test_a_connection_lost_in_silence_points_to_the_hub() -> None:
    for trouble in ("", "failed to receive on socket: [Errno 104] Connection reset by peer"):
        error = lost(trouble)
        assert isinstance(error, Unavailable)
        assert trouble in str(error)
        assert "lockgate why" in error.fix
