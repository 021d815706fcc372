"""The running hub: each wrong answer of a door is seen by one check.

interop/test_scan.py has real doors that give such answers.
"""

from __future__ import annotations

import time
from ssl import TLSVersion
from typing import Any

import msgspec
import pytest

from lockgate.errors import Unavailable
from lockgate.fitness import gather
from lockgate.net.probe import Handshake, Offer, Served
from lockgate.scan.checks.running import CHECKS
from lockgate.scan.finding import Report, Severity
from lockgate.scan.runner import scan
from lockgate.scan.subject import Door, Identity, Login
from tests.support.scan import Examined

DOORS = (
    Door("mqtt", "0.0.0.0", 8883, True),
    Door("mqtt", "::", 8883, True),
    Door("mqtt", "::", 8884, True, "websocket"),
)
REFUSED = Login(5, "refused")
OLD = {
    "LG-TLS-001": (TLSVersion.TLSv1, "ALL"),
    "LG-TLS-002": (TLSVersion.TLSv1_2, "ECDHE+AES"),
    "LG-TLS-003": (TLSVersion.TLSv1_2, "kRSA"),
    "LG-TLS-004": (TLSVersion.TLSv1_2, "kDHE"),
    "LG-TLS-005": (TLSVersion.TLSv1_2, "aNULL"),
}


class FakeProber:
    """Answers as a good hub, but for what a test changes."""

    def __init__(self, server: Identity, **faults: Any) -> None:
        self.server = server
        self.faults = faults
        self.asked: list[Door] = []

    def handshake(self, door: Door, offer: Offer) -> Handshake:
        self.asked.append(door)
        fault = self.faults.get("handshake")
        if fault is not None and offer.least == fault[0] and offer.suites.startswith(fault[1]):
            return Handshake(True, "TLSv1.2", "SUITE")
        if offer.greatest == TLSVersion.TLSv1_3:
            answer: Handshake = self.faults.get("good", Handshake(True, "TLSv1.3"))
            return answer
        return Handshake(False, problem="handshake failure")

    def served(self, door: Door) -> Served:
        shown: Served = self.faults.get("served", Served(self.server.chain, early_data_bytes=0))
        return shown

    def renegotiates(self, door: Door) -> bool:
        return "renegotiates" in self.faults

    def connect(self, door: Door, user: str | None, password: str | None, self_signed: bool = False) -> Login:
        assert door.is_mqtt
        who = "self-signed" if self_signed else user
        return (
            Login(0)
            if who in self.faults.get("in", ()) or (user or "").startswith(self.faults.get("all", "?"))
            else REFUSED
        )

    def hears_sys(self, door: Door) -> bool:
        return "hears_sys" in self.faults

    def plain(self, door: Door, sent: bytes) -> bytes:
        answer: bytes = self.faults.get("plain", b"\x15\x03\x03")
        return answer


def report(home: Examined, *, doors: tuple[Door, ...] = DOORS, office_user: int | None = None, **faults: Any) -> Report:
    subject = gather(home.home, time.time())
    assert subject.server is not None
    prober = FakeProber(subject.server, **faults)
    subject = msgspec.structs.replace(subject, doors=doors, prober=prober, hub_user=1, office_user=office_user)
    return scan(subject, CHECKS)


def sees_only(home: Examined, check: str, **faults: Any) -> Report:
    found = report(home, **faults)
    assert {f.check for f in found.findings} == {check}, found
    assert not found.unchecked
    assert all(f.fix and f.text for f in found.findings)
    return found


def test_a_good_hub_has_no_finding(home: Examined) -> None:
    found = report(home)
    assert (found.findings, found.unchecked) == ((), ())
    assert len(found.passed) == len(CHECKS)


def test_doors_without_tls_are_severe(home: Examined) -> None:
    lab = sees_only(home, "LG-HUB-001", doors=(*DOORS, Door("mqtt", "127.0.0.1", 1883, False)))
    assert lab.findings[0].severity is Severity.SEVERE
    assert "without --lab-port" in lab.findings[0].fix
    wide = sees_only(home, "LG-HUB-002", doors=(*DOORS, Door("mqtt", "10.0.0.1", 1883, False)))
    assert wide.findings[0].severity is Severity.SEVERE


def test_a_coap_door_is_severe_where_it_takes_what_nobody_protects(home: Examined) -> None:
    dtls = (Door("coap", "0.0.0.0", 5684, False, "udp", True), Door("coap", "127.0.0.1", 5684, False, "udp", True))
    plain = Door("coap", "0.0.0.0", 5683, False, "udp")
    assert report(home, doors=(*DOORS, *dtls)).findings == ()
    home.sets("\n[coap]\noscore_enabled = true\n")
    assert report(home, doors=(*DOORS, *dtls, plain)).findings == ()
    home.sets("nosec_enabled = true\n")
    wide = sees_only(home, "LG-HUB-002", doors=(*DOORS, *dtls, plain))
    assert "coap.nosec_enabled" in wide.findings[0].fix


@pytest.mark.parametrize("check", OLD)
@pytest.mark.requirement("T8", "T10")
def test_an_offer_that_should_be_refused_is_seen_at_each_port(home: Examined, check: str) -> None:
    assert len(sees_only(home, check, handshake=OLD[check]).findings) == 2


@pytest.mark.parametrize(
    ("check", "faults"),
    [
        ("LG-TLS-006", {"renegotiates": True}),
        ("LG-HUB-003", {"in": {None}}),
        ("LG-HUB-004", {"all": "lockgate-scan-nobody"}),
        ("LG-HUB-005", {"in": {"guest"}}),
        ("LG-HUB-006", {"in": {"self-signed"}}),
        ("LG-HUB-007", {"plain": b"\x20\x02\x00\x00"}),
        ("LG-HUB-008", {"hears_sys": True}),
    ],
)
def test_what_a_door_lets_through_is_seen(home: Examined, check: str, faults: dict[str, Any]) -> None:
    sees_only(home, check, **faults)


def test_what_a_door_shows_is_compared_with_the_home(home: Examined) -> None:
    server = gather(home.home, time.time()).server
    assert server is not None
    chain = server.chain
    sees_only(home, "LG-TLS-007", served=Served(chain, early_data_bytes=16_384))
    sees_only(home, "LG-TLS-008", served=Served(chain, early_data_bytes=0, takes_fallback=True))
    sees_only(home, "LG-TLS-009", served=Served(chain[1:], early_data_bytes=0))
    sees_only(home, "LG-TLS-009", served=Served(chain[:1], early_data_bytes=0))


def test_an_office_without_a_staple_is_noted(home: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(report(home, office_user=2).findings) == 2
    server = gather(home.home, time.time()).server
    assert server is not None
    stapled = Served(server.chain, has_staple=True, early_data_bytes=0)
    assert report(home, office_user=2, served=stapled).findings == ()
    assert {f.check for f in report(home, office_user=2).findings} == {"LG-TLS-012"}


def test_what_a_good_client_cannot_verify_is_seen(home: Examined) -> None:
    sees_only(home, "LG-TLS-010", good=Handshake(True, problem="certificate has expired"))
    refused = report(home, good=Handshake(False, problem="protocol version"))
    assert {f.check for f in refused.findings} == {"LG-TLS-010", "LG-TLS-011"}


def test_an_engine_that_cannot_tell_is_not_a_pass(home: Examined) -> None:
    server = gather(home.home, time.time()).server
    assert server is not None
    found = report(home, served=Served(server.chain))
    assert [u.check for u in found.unchecked] == ["LG-TLS-007"]


def test_a_door_that_does_not_answer_is_not_a_pass(home: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> bool:
        raise Unavailable("nobody answers")

    monkeypatch.setattr(FakeProber, "renegotiates", nobody)
    found = report(home)
    assert [(u.check, u.reason) for u in found.unchecked] == [("LG-TLS-006", "nobody answers")]
