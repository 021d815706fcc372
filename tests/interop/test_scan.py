"""The scanner and real doors: nothing bad is found at a hub of ours, everything at one that does all wrong."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from lockgate.fitness import gather
from lockgate.home import Home
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Finding, Report, Severity
from lockgate.scan.prober import DoorProber
from lockgate.scan.runner import chosen, scan
from lockgate.scan.subject import Door, Identity, Subject
from tests.support.bad_hub import BadHub, Signed, sign
from tests.support.hub import RunningHub, eventually
from tests.support.scan import FRESH

pytestmark = pytest.mark.process


def look(hub: RunningHub) -> Report:
    return scan(gather(Home(hub.home), time.time()), ALL_CHECKS)


def settled(hub: RunningHub) -> Report | None:
    """Look once all doors show the new certificate with its stapled answer."""
    report = look(hub)
    return None if {"LG-TLS-009", "LG-TLS-012"} & {f.check for f in report.findings} else report


@pytest.mark.requirement("O3", "T5", "T8", "T10", "T17")
def test_a_fresh_hub_that_runs_has_no_severe_and_no_high_finding(tmp_path: Path) -> None:
    with RunningHub(tmp_path, office=True) as hub:
        home = Home(hub.home)
        eventually(home.running_office, 20, "the office")
        hub.lockgate("server-cert", "renew")  # which makes an answer to staple as well
        report = eventually(lambda: settled(hub), 30, "the stapled answer at the doors")
        assert not report.unchecked
        assert {f.check for f in report.findings} <= FRESH | {"LG-CA-002", "LG-CERT-004"}
        assert {f.check for f in report.standing(Severity.HIGH)} <= {"LG-HOST-001"}  # tests may run as root
        hub.wait_for_refusal("no credentials", client_id="lockgate-scan")
        hub.wait_for_refusal("self-signed certificate")
        assert not hub.events("error.caught")


def test_the_lab_door_is_severe(tmp_path: Path) -> None:
    with RunningHub(tmp_path, lab=True) as hub:
        done = hub.lockgate("scan", check=False)
        assert done.returncode == 1
        assert "LG-HUB-001  The lab door is open" in done.stdout


@pytest.fixture(scope="module")
def signed() -> Signed:
    return sign(time.time())


def bad_subject(hub: BadHub, *, name: str = "localhost", shown: x509.Certificate | None = None) -> Subject:
    signed = hub.signed
    return Subject(
        now=time.time(),
        target="a bad hub",
        server=Identity("server.crt", (shown or signed.leaf,), signed.key.public_key()),
        doors=(Door("mqtt", "127.0.0.1", hub.port, True),),
        prober=DoorProber(signed.root_pem, name),
    )


def sees(subject: Subject, check: str) -> list[Finding]:
    report = scan(subject, chosen(ALL_CHECKS, [check]))
    assert not report.unchecked, report.unchecked
    return list(report.findings)


ALL_WRONG = (
    "LG-TLS-001", "LG-TLS-002", "LG-TLS-003", "LG-TLS-004", "LG-TLS-005", "LG-TLS-006", "LG-TLS-008", "LG-HUB-003",
    "LG-HUB-004", "LG-HUB-005", "LG-HUB-006", "LG-HUB-007", "LG-HUB-008",
)  # fmt: skip


@pytest.mark.parametrize("check", ALL_WRONG)
@pytest.mark.requirement("T8", "T10", "T12", "T17")
def test_a_hub_that_does_all_wrong_is_found_out(tmp_path: Path, signed: Signed, check: str) -> None:
    with BadHub(tmp_path, signed) as hub:
        found = sees(bad_subject(hub), check)
    assert found
    assert all(str(hub.port) in finding.text or finding.place for finding in found)


def test_a_hub_that_does_all_wrong_shows_what_it_should(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed) as hub:
        for check in ("LG-TLS-007", "LG-TLS-009", "LG-TLS-010", "LG-TLS-011"):
            assert sees(bad_subject(hub), check) == []


def test_early_data_is_found_out(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed, early_data=True) as hub:
        assert len(sees(bad_subject(hub), "LG-TLS-007")) == 1


def test_another_certificate_at_the_door_is_found_out(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed) as hub:
        assert len(sees(bad_subject(hub, shown=signed.root), "LG-TLS-009")) == 1


def test_a_certificate_for_another_name_is_found_out(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed) as hub:
        (found,) = sees(bad_subject(hub, name="other.example"), "LG-TLS-010")
    assert "other.example" in found.text


def test_a_door_without_tls_1_3_is_found_out(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed, ssl.TLSVersion.TLSv1_2) as hub:
        assert len(sees(bad_subject(hub), "LG-TLS-011")) == 1
        assert sees(bad_subject(hub), "LG-TLS-008") == []


def test_a_door_that_nobody_answers_at_is_no_pass(tmp_path: Path, signed: Signed) -> None:
    with BadHub(tmp_path, signed) as hub:
        subject = bad_subject(hub)
    report = scan(subject, chosen(ALL_CHECKS, ["LG-TLS-006", "LG-TLS-009", "LG-HUB-003", "LG-HUB-007"]))
    assert (report.passed, report.findings) == ((), ())
    assert all("nobody answers" in unchecked.reason for unchecked in report.unchecked)
