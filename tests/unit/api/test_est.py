"""EST's routes: what everybody may fetch, and what is not offered."""

from __future__ import annotations

import pytest

from lockgate.api import est as room
from lockgate.pki.authority import Authority
from lockgate.provision import est
from tests.support.asgi import Caller

NOW = 1_800_000_000.0
ROOT = Authority.create_root(now=NOW)
ISSUING = ROOT.create_issuing("issuing", now=NOW)


@pytest.fixture
def caller() -> Caller:
    return Caller(room.routes(lambda: (ROOT.certificate, ISSUING.certificate)))


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
