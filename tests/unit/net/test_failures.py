"""Failures in words: each alert and each certificate error reads as a sentence that helps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lockgate.errors import Step
from lockgate.net.failures import (
    CertificateVerdict,
    Shown,
    TlsFailure,
    TlsReason,
    TlsRefused,
    certificate_failure,
    handshake_failure,
    left_failure,
    spell_duration,
    timeout_failure,
)

DAY = timedelta(days=1)


def shown(begins: timedelta = -DAY, ends: timedelta = DAY, is_name_covered: bool = True) -> Shown:
    """Give what a client saw of a server certificate, valid from and until so far from now."""
    now = datetime.now(UTC)
    return Shown(is_name_covered, now + begins, now + ends)


def alert(name: str, seen: Shown, server_name: str | None = "hub.example") -> TlsFailure:
    """Give what an alert of the client's is taken for."""
    return handshake_failure([("SSL routines", "", f"tlsv1 alert {name}")], "", server_name, seen)


def test_who_takes_a_valid_certificate_for_expired_has_a_clock_that_is_ahead() -> None:
    failure = alert("certificate expired", shown(ends=timedelta(hours=3, minutes=1)))
    assert failure.reason is TlsReason.CLIENT_CLOCK_WRONG
    assert "ahead, or this hub's as much behind" in failure.message
    assert "NTP" in failure.fix
    assert set(failure.evidence) == {"server certificate", "this hub's clock"}


@pytest.mark.parametrize("name", ["certificate expired", "bad certificate", "certificate unknown"])
def test_who_refuses_a_certificate_outside_its_time_is_right(name: str) -> None:
    late = alert(name, shown(begins=-2 * DAY, ends=-DAY))
    assert (late.reason, late.fix) == (TlsReason.SERVER_CERTIFICATE_EXPIRED, "lockgate server-cert rotate")
    early = alert(name, shown(begins=DAY, ends=2 * DAY))
    assert early.reason is TlsReason.SERVER_CERTIFICATE_NOT_YET_VALID
    assert "clock" in early.fix


def test_who_refuses_a_good_certificate_by_the_right_name_has_no_clock_mostly() -> None:
    failure = alert("bad certificate", shown())
    assert failure.reason is TlsReason.CLIENT_CLOCK_WRONG
    assert "hub.example" in failure.message
    assert alert("bad certificate", shown(), None).reason is TlsReason.CLIENT_GAVE_UP
    unknown = alert("certificate unknown", shown())
    assert unknown.reason is TlsReason.CLIENT_GAVE_UP
    assert "or its clock is before" in unknown.message


def test_a_name_that_is_not_covered_comes_before_all_clocks() -> None:
    failure = alert("bad certificate", shown(is_name_covered=False))
    assert failure.reason is TlsReason.CLIENT_GAVE_UP
    assert failure.fix == "lockgate server-cert add-name hub.example"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (61, "1 minute 1 second"), (7200, "2 hours"), (90_061, "1 day 1 hour")],
)
def test_durations_are_spelled_with_their_two_largest_units(seconds: int, words: str) -> None:
    assert spell_duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("spelling", ["tlsv1 alert unknown ca", "ssl/tls alert unknown ca", "sslv3 alert unknown ca"])
def test_alerts_are_known_in_each_of_the_engines_spellings(spelling: str) -> None:
    failure = handshake_failure([("SSL routines", "", spelling)], "TLS 1.2 or later", "localhost", shown())
    assert failure.reason is TlsReason.CLIENT_GAVE_UP
    assert "does not trust our CA" in failure.message


def test_unknown_alert_is_told_as_it_came() -> None:
    failure = handshake_failure([("SSL routines", "", "tlsv1 alert moon phase")], "", None, shown())
    assert "'moon phase'" in failure.message


def test_error_without_a_reason_is_still_a_failure() -> None:
    assert handshake_failure([], "", None, shown()).reason is TlsReason.HANDSHAKE_BROKEN


def test_certificate_error_that_we_have_no_word_for_keeps_its_number() -> None:
    verdict = CertificateVerdict()
    verdict.error_number = 50
    failure = certificate_failure(verdict, None)
    assert failure.reason is TlsReason.CERTIFICATE_REFUSED
    assert "50" in failure.message


def test_leaving_without_a_byte_looks_like_a_port_check() -> None:
    assert "port check" in left_failure(0, None, True).message


def test_leaving_with_a_name_that_is_not_covered_tells_the_name() -> None:
    assert "pi.local" in left_failure(500, "pi.local", False).fix


def test_timeout_tells_deadline_and_what_came() -> None:
    failure = timeout_failure(10.0, 17, None)
    assert failure.reason is TlsReason.HANDSHAKE_TIMEOUT
    assert "10 s (17 bytes came)" in failure.message


def test_refused_is_an_error_of_the_tls_step() -> None:
    refused = TlsRefused(timeout_failure(10.0, 0, None))
    assert (refused.step, refused.reason) == (Step.TLS, "handshake timeout")
    assert refused.fix
