"""OCSP, revocation lists and CA certificates, as they are asked for by HTTP."""

from __future__ import annotations

import base64
from urllib.parse import quote, unquote

import pytest

from lockgate.api import revocation
from tests.support.asgi import Caller


class FakeDesk:
    """Knows one authority, "abc", and echoes OCSP requests."""

    async def ocsp(self, request_der: bytes) -> bytes:
        return b"answer to " + request_der

    async def crl(self, issuer: str) -> bytes | None:
        return b"crl" if issuer == "abc" else None

    async def certificate(self, issuer: str) -> bytes | None:
        return b"crt" if issuer == "abc" else None

    async def root(self) -> bytes:
        return b"root"


@pytest.fixture
def caller() -> Caller:
    return Caller(revocation.routes(FakeDesk()))


def test_ocsp_by_post(caller: Caller) -> None:
    answered = caller.post("/pki/ocsp", b"der", content_type="application/ocsp-request")
    assert (answered.status, answered.body) == (200, b"answer to der")
    assert answered.headers["content-type"] == "application/ocsp-response"


@pytest.mark.parametrize("der", [b"der", b"\xff\xef\xbe\xfb" * 3, b"x"])
def test_ocsp_by_get_in_every_dress_that_clients_use(caller: Caller, der: bytes) -> None:
    text = base64.b64encode(der).decode()
    for dress in (text, text.rstrip("="), unquote(quote(text, safe=""))):
        answered = caller.get(f"/pki/ocsp/{dress}")
        assert answered.body == b"answer to " + der
        assert answered.headers["cache-control"] == "max-age=60"


def test_what_is_no_base64_is_answered_as_ocsp_answers(caller: Caller) -> None:
    assert caller.get("/pki/ocsp/!!!").body == b"answer to "


def test_lists_and_certificates_are_found_by_the_issuers_thumbprint(caller: Caller) -> None:
    for path, body, kind in (
        ("/pki/abc.crl", b"crl", "application/pkix-crl"),
        ("/pki/abc.crt", b"crt", "application/pkix-cert"),
        ("/pki/root.crt", b"root", "application/x-pem-file"),
    ):
        answered = caller.get(path)
        assert (answered.status, answered.body, answered.headers["content-type"]) == (200, body, kind)
        assert "cache-control" in answered.headers


@pytest.mark.parametrize("path", ["/pki/xyz.crl", "/pki/xyz.crt", "/pki/", "/pki/abc"])
def test_another_authoritys_are_not_there(caller: Caller, path: str) -> None:
    assert caller.get(path).status == 404
