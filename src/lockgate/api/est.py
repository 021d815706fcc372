"""EST, Enrolment over Secure Transport: how a device fetches the CA's certificates and gets one of its own.

    GET  /.well-known/est/cacerts          the root and the issuing CA, for everybody
    GET  /.well-known/est/csrattrs         what a request should hold, for everybody
    POST /.well-known/est/simpleenroll     a first certificate: by claim token (HTTP Basic) or a certificate of ours
    POST /.well-known/est/simplereenroll   the next one, by the one that it follows

Source: RFC 7030 section 3.2.2 (the paths), 4.1 to 4.2 (these four), 4.4 (serverkeygen, which is not offered: a private
key is made on the device, and never travels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lockgate.provision import est

PREFIX = "/.well-known/est"


def routes(authorities: Callable[[], Sequence[x509.Certificate]]) -> list[Route]:
    """Give the routes.

    Args:
        authorities: gives the certificates by which devices check the hub and each other's.
    """

    async def cacerts(_request: Request) -> Response:
        return _certificates(est.encode_certificates(authorities()), est.CERTIFICATES_TYPE)

    async def csrattrs(_request: Request) -> Response:
        return _certificates(est.attributes(), est.ATTRIBUTES_TYPE)

    return [
        Route(f"{PREFIX}/cacerts", cacerts),
        Route(f"{PREFIX}/csrattrs", csrattrs),
        Route(f"{PREFIX}/serverkeygen", _no_keys, methods=["GET", "POST"]),
        Route(f"{PREFIX}/fullcmc", _no_cmc, methods=["GET", "POST"]),
    ]


async def _no_keys(_request: Request) -> Response:
    text = "keys are made on the device, and never travel: use simpleenroll\n"
    return PlainTextResponse(text, 501)


async def _no_cmc(_request: Request) -> Response:
    return PlainTextResponse("full CMC is not offered: use simpleenroll\n", 501)


def _certificates(body: bytes, kind: str) -> Response:
    # RFC 8951 section 3.1: the header means nothing, but clients of RFC 7030 ask for it.
    return Response(body, headers={"Content-Type": kind, "Content-Transfer-Encoding": "base64"})
