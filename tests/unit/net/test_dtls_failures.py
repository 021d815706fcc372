"""What is said of peers that DTLS turned away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lockgate.errors import Step
from lockgate.net import dtls_failures as failures
from lockgate.net.dtls import DtlsModes, DtlsReason, DtlsRefused
from lockgate.net.failures import CertificateVerdict, Shown, TlsFailure, TlsReason
from lockgate.net.hellos import Hello
from tests.support.certificates import Authority
from tests.support.dtls import ECDSA_CCM_8, PSK_CCM_8

NOW = datetime.now(UTC)
SHOWN = Shown(True, NOW - timedelta(1), NOW + timedelta(1))


def _hello(suites: list[int], types: list[int] | None = None, is_dtls_1_2: bool = True) -> Hello:
    return Hello(bytes(32), is_dtls_1_2, suites, types or [])


def test_identity_is_shown_in_safe_characters_and_cut() -> None:
    assert failures.shown_identity(b"sensor-1") == "sensor-1"
    assert failures.shown_identity(b"a\x1b[31m\n\xff") == "a\ufffd[31m\ufffd\ufffd"
    assert failures.shown_identity(b"x" * 65) == "x" * 64 + "..."


def test_wrong_key_and_unknown_identity_name_the_identity() -> None:
    for failure in (failures.wrong_key(b"sensor"), failures.unknown_identity(b"sensor")):
        assert failure.identity == "sensor"
        assert failure.evidence == {"PSK identity": "sensor"}
        assert failure.step is Step.CREDENTIAL
        assert failure.fix


def test_every_tls_reason_that_a_dtls_peer_can_meet_has_its_word() -> None:
    only_tcp = {TlsReason.NOT_TLS, TlsReason.NO_SHARED_GROUP, TlsReason.TOO_MANY_CONNECTIONS}
    other_words = {TlsReason.VERSION_NOT_OFFERED: DtlsReason.VERSION_NOT_OFFERED}
    for reason in TlsReason:
        if reason not in only_tcp and reason not in other_words:
            assert DtlsReason(reason.value).value == reason.value


def test_refused_certificate_is_told_with_its_facts() -> None:
    verdict = CertificateVerdict()
    verdict.error_number, verdict.certificate = 10, Authority().issue("sensor").certificate
    failure = failures.refused_certificate(verdict)
    assert failure.reason is DtlsReason.CERTIFICATE_EXPIRED
    assert failure.certificate == verdict.certificate
    assert "certificate SHA-256" in failure.evidence


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (48, DtlsReason.CLIENT_GAVE_UP),
        (45, DtlsReason.CLIENT_CLOCK_WRONG),
        (40, DtlsReason.CLIENT_GAVE_UP),
        (200, DtlsReason.CLIENT_GAVE_UP),
    ],
)
def test_clients_alert_is_put_into_words(alert: int, reason: DtlsReason) -> None:
    assert failures.client_alert(alert, SHOWN).reason is reason


@pytest.mark.parametrize(
    ("hello", "modes", "reason"),
    [
        (_hello([PSK_CCM_8]), DtlsModes(psk=False), DtlsReason.MODE_NOT_OFFERED),
        (_hello([ECDSA_CCM_8]), DtlsModes(x509=False), DtlsReason.MODE_NOT_OFFERED),
        (_hello([ECDSA_CCM_8], [2, 0]), DtlsModes(rpk=False), DtlsReason.MODE_NOT_OFFERED),
        (_hello([0x008C]), DtlsModes(), DtlsReason.NO_SHARED_CIPHER),
        (_hello([0x00FF]), DtlsModes(), DtlsReason.NO_SHARED_CIPHER),
        (_hello([PSK_CCM_8], is_dtls_1_2=False), DtlsModes(), DtlsReason.VERSION_NOT_OFFERED),
    ],
)
def test_why_nothing_was_agreed(hello: Hello, modes: DtlsModes, reason: DtlsReason) -> None:
    failure = failures.not_agreed(hello, modes)
    assert failure.reason is reason
    assert failure.fix


def test_raw_key_is_shown_by_its_fingerprint() -> None:
    failure = failures.unknown_raw_key(b"spki")
    assert failure.fingerprint in failure.message
    assert failures.alert_for(failure.reason) == 46


def test_limit_of_handshakes_is_told_in_the_words_of_this_door() -> None:
    told = failures.too_many(
        TlsFailure(TlsReason.TOO_MANY_HANDSHAKES, "10 TLS handshakes", "raise net.max_handshakes.")
    )
    assert (told.message, told.fix) == ("10 DTLS handshakes", "raise coap.max_handshakes.")


def test_refusal_carries_the_failure_and_its_words() -> None:
    failure = failures.timed_out(2.0)
    refused = DtlsRefused(failure)
    assert refused.failure is failure
    assert str(refused) == failure.message


def test_others_have_a_reason_each() -> None:
    assert failures.no_certificate().reason is DtlsReason.NO_CERTIFICATE
    assert failures.broken("x").reason is DtlsReason.HANDSHAKE_BROKEN
    assert failures.unproven().reason is DtlsReason.BAD_SIGNATURE
