"""EST's routes: what everybody may fetch, and what is not offered."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509

from lockgate.api import est as room
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import generate_key
from lockgate.provision import est
from lockgate.provision.est import make_request
from tests.support.asgi import Caller

NOW = 1_800_000_000.0
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing("issuing", now=NOW)
KEY = generate_key("ec")
LEAF = ISSUING.issue_device("sensor", KEY.public_key(), now=NOW)
REQUEST = make_request("sensor", KEY)
BODY = est.encode_request(REQUEST)
ENROLL, REENROLL = "/.well-known/est/simpleenroll", "/.well-known/est/simplereenroll"


class FakeDesk:
    """Notes what it is asked, and gives a certificate."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def by_claim(
        self, name: str, token: str, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        self.asked.append((name, token, request, host))
        return LEAF

    async def by_certificate(
        self, shown: x509.Certificate, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        self.asked.append((shown, request, host))
        return LEAF


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def caller(desk: FakeDesk) -> Caller:
    return Caller(room.routes(lambda: (ROOT.certificate, ISSUING.certificate), desk))


def test_cacerts_are_the_root_and_the_issuing_ca(caller: Caller) -> None:
    answered = caller.get("/.well-known/est/cacerts")
    assert answered.status == 200
    assert answered.headers["content-type"] == "application/pkcs7-mime"
    assert answered.headers["content-transfer-encoding"] == "base64"
    assert set(est.decode_certificates(answered.body)) == {ROOT.certificate, ISSUING.certificate}


def test_csrattrs_ask_for_a_key_on_p256(caller: Caller) -> None:
    answered = caller.get("/.well-known/est/csrattrs")
    assert (answered.status, answered.headers["content-type"]) == (200, "application/csrattrs")


@pytest.mark.parametrize("path", ["serverkeygen", "fullcmc"])
def test_what_is_not_offered_says_what_to_use_instead(caller: Caller, path: str) -> None:
    answered = caller.post(f"/.well-known/est/{path}")
    assert answered.status == 501
    assert "use simpleenroll" in answered.text


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_who_shows_a_claim_token_by_basic_authentication_gets_a_certificate(caller: Caller, desk: FakeDesk) -> None:
    answered = caller.post(ENROLL, BODY, authorization=basic("sensor:lgc_1_2:3"))
    assert answered.status == 200
    assert answered.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert est.decode_certificates(answered.body) == [LEAF]
    assert desk.asked == [("sensor", "lgc_1_2:3", REQUEST, "192.0.2.7")]


@pytest.mark.parametrize("path", [ENROLL, REENROLL])
def test_who_shows_a_certificate_gets_the_next_one(caller: Caller, desk: FakeDesk, path: str) -> None:
    caller.link.peer_certificate = LEAF
    answered = caller.post(path, BODY, authorization=basic("other:token"))
    assert est.decode_certificates(answered.body) == [LEAF]
    assert desk.asked == [(LEAF, REQUEST, "192.0.2.7")], "the certificate says who it is, and nothing else"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "no credentials"),
        ("Bearer x", "no credentials"),
        ("Basic !", "credentials cannot be read"),
        ("Basic /w==", "credentials cannot be read"),
    ],
)
def test_who_shows_nothing_is_asked_for_basic_authentication(
    caller: Caller, desk: FakeDesk, header: str, reason: str
) -> None:
    answered = caller.post(ENROLL, BODY, authorization=header)
    assert (answered.status, caller.refused[0].reason) == (401, reason)
    assert answered.headers["www-authenticate"].startswith("Basic realm=")
    assert desk.asked == []


def test_nobody_renews_without_a_certificate(caller: Caller, desk: FakeDesk) -> None:
    answered = caller.post(REENROLL, BODY, authorization=basic("sensor:token"))
    assert (answered.status, caller.refused[0].reason) == (401, "no client certificate")


def test_what_is_no_request_is_refused_before_anybody_is_asked(caller: Caller, desk: FakeDesk) -> None:
    answered = caller.post(ENROLL, b"x", authorization=basic("sensor:token"))
    assert answered.status == 400
    assert "not a certificate request: make it with: openssl req" in answered.text
    assert desk.asked == []


def test_only_who_enrols_learns_the_port_of_mqtt(desk: FakeDesk) -> None:
    caller = Caller(room.routes(lambda: (ROOT.certificate,), desk, lambda: 8883))
    assert caller.post(ENROLL, BODY, authorization=basic("sensor:token")).headers["lockgate-mqtt-port"] == "8883"
    assert "lockgate-mqtt-port" not in caller.get("/.well-known/est/cacerts").headers
    assert "lockgate-mqtt-port" not in caller.post(ENROLL, BODY).headers


def test_enrolling_is_a_post(caller: Caller) -> None:
    assert caller.get(ENROLL).status == 405
