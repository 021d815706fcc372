"""EST, Enrolment over Secure Transport: how a device fetches the CA's certificates and gets one of its own.

    GET  /.well-known/est/cacerts          the root and the issuing CA, for everybody
    GET  /.well-known/est/csrattrs         what a request should hold, for everybody
    POST /.well-known/est/simpleenroll     a first certificate: by claim token (HTTP Basic) or a certificate of ours
    POST /.well-known/est/simplereenroll   the next one, by the one that it follows

Source: RFC 7030 section 3.2.2 (the paths), 4.1 to 4.2 (these four), 4.4 (serverkeygen, which is not offered: a private
key is made on the device, and never travels).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography import x509
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lockgate.errors import AuthenticationFailed
from lockgate.net.http import LINK
from lockgate.net.link import Link
from lockgate.provision import est

PREFIX = "/.well-known/est"
MQTT_PORT = "Lockgate-Mqtt-Port"
"""A header of ours beside EST: who enrols learns where to go next."""


class Desk(Protocol):
    """What enrols, off the loop."""

    async def by_claim(
        self, name: str, token: str, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        """Give the certificate of a device that a claim token makes."""
        ...

    async def by_certificate(
        self, shown: x509.Certificate, request: x509.CertificateSigningRequest, host: str
    ) -> x509.Certificate:
        """Give the next certificate of the device that `shown` proves."""
        ...


def routes(
    authorities: Callable[[], Sequence[x509.Certificate]],
    desk: Desk,
    mqtt_port: Callable[[], int | None] = lambda: None,
) -> list[Route]:
    """Give the routes.

    Args:
        authorities: gives the certificates by which devices check the hub and each other's.
        desk: enrols.
        mqtt_port: where the hub speaks MQTT over TLS; told to devices that enrol, and to nobody else.
    """

    async def cacerts(_request: Request) -> Response:
        return _certificates(est.encode_certificates(authorities()), est.CERTIFICATES_TYPE)

    async def csrattrs(_request: Request) -> Response:
        return _certificates(est.attributes(), est.ATTRIBUTES_TYPE)

    def issued(leaf: x509.Certificate) -> Response:
        answer = _certificates(est.encode_certificates([leaf]), est.CERTS_ONLY_TYPE)
        port = mqtt_port()
        if port is not None:
            answer.headers[MQTT_PORT] = str(port)
        return answer

    async def enroll(request: Request) -> Response:
        link: Link = request.scope["state"][LINK]
        shown = link.peer_certificate
        login = None if shown is not None else _login(request)
        asked = est.decode_request(await request.body())
        if shown is not None:
            return issued(await desk.by_certificate(shown, asked, link.peer.host))
        assert login is not None
        return issued(await desk.by_claim(*login, asked, link.peer.host))

    async def reenroll(request: Request) -> Response:
        link: Link = request.scope["state"][LINK]
        if link.peer_certificate is None:
            raise AuthenticationFailed(
                "a certificate was to be renewed, and none was shown",
                reason="no client certificate",
                fix="show the device's certificate in the TLS handshake, or enrol anew with a claim token",
            )
        asked = est.decode_request(await request.body())
        return issued(await desk.by_certificate(link.peer_certificate, asked, link.peer.host))

    return [
        Route(f"{PREFIX}/cacerts", cacerts),
        Route(f"{PREFIX}/csrattrs", csrattrs),
        Route(f"{PREFIX}/simpleenroll", enroll, methods=["POST"]),
        Route(f"{PREFIX}/simplereenroll", reenroll, methods=["POST"]),
        Route(f"{PREFIX}/serverkeygen", _no_keys, methods=["GET", "POST"]),
        Route(f"{PREFIX}/fullcmc", _no_cmc, methods=["GET", "POST"]),
    ]


def _login(request: Request) -> tuple[str, str]:
    """Give the name and the token of HTTP's Basic authentication (RFC 7617)."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        raise AuthenticationFailed(
            "somebody asked for a certificate and showed neither a certificate nor a claim token",
            reason="no credentials",
            fix="show the device's name and a claim token by HTTP Basic: curl --user NAME:TOKEN",
        )
    try:
        name, _, token = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError as error:
        raise AuthenticationFailed(
            "the Authorization header holds no Basic credentials", reason="credentials cannot be read",
            fix="write them as RFC 7617 says: base64 of NAME:TOKEN",
        ) from error  # fmt: skip
    return name, token


async def _no_keys(_request: Request) -> Response:
    text = "keys are made on the device, and never travel: use simpleenroll\n"
    return PlainTextResponse(text, 501)


async def _no_cmc(_request: Request) -> Response:
    return PlainTextResponse("full CMC is not offered: use simpleenroll\n", 501)


def _certificates(body: bytes, kind: str) -> Response:
    # RFC 8951 section 3.1: the header means nothing, but clients of RFC 7030 ask for it.
    return Response(body, headers={"Content-Type": kind, "Content-Transfer-Encoding": "base64"})
