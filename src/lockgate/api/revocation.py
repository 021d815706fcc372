"""What tells others that a certificate is no longer good, for everybody: OCSP, revocation lists, the CAs' certificates.

    POST /pki/ocsp          an OCSP request in the body                  RFC 6960 appendix A.1
    GET  /pki/ocsp/BASE64   the same in the address
    GET  /pki/ID.crl        the revocation list of an authority, DER     RFC 5280 section 4.2.1.13
    GET  /pki/ID.crt        its certificate, DER                         RFC 5280 section 4.2.2.1
    GET  /pki/root.crt      the root's, PEM

ID is the SHA-256 of the authority's public key, as the addresses in its certificates say; "issuing" is the one that
issues now.
"""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lockgate.pki.authority import CRL_PATH, ISSUER_PATH, OCSP_PATH

REQUEST_TYPE, RESPONSE_TYPE = "application/ocsp-request", "application/ocsp-response"
CRL_TYPE, CERTIFICATE_TYPE, PEM_TYPE = "application/pkix-crl", "application/pkix-cert", "application/x-pem-file"
ISSUING = "issuing"
_BRIEFLY = {"Cache-Control": "max-age=60"}
_LONG = {"Cache-Control": "max-age=3600"}


class Desk(Protocol):
    """What signs and knows, off the loop. An issuer is a thumbprint, or "issuing"."""

    async def ocsp(self, request_der: bytes) -> bytes:
        """Answer an OCSP request; whatever came, there is an answer."""
        ...

    async def crl(self, issuer: str) -> bytes | None:
        """Give an authority's revocation list in DER, None when there is none."""
        ...

    async def certificate(self, issuer: str) -> bytes | None:
        """Give an authority's certificate in DER, None when there is no such authority."""
        ...

    async def root(self) -> bytes:
        """Give the root's certificate in PEM."""
        ...


def routes(desk: Desk) -> list[Route]:
    """Give the routes."""

    async def post_ocsp(request: Request) -> Response:
        return Response(await desk.ocsp(await request.body()), media_type=RESPONSE_TYPE)

    async def get_ocsp(request: Request) -> Response:
        text = "".join(request.path_params["request"].split())
        try:
            der = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            der = b""  # which is answered as malformed
        return Response(await desk.ocsp(der), headers=_BRIEFLY, media_type=RESPONSE_TYPE)

    async def crl(request: Request) -> Response:
        found = await desk.crl(request.path_params["issuer"])
        return _found(found, CRL_TYPE, _BRIEFLY)

    async def certificate(request: Request) -> Response:
        found = await desk.certificate(request.path_params["issuer"])
        return _found(found, CERTIFICATE_TYPE, _LONG)

    async def root(_request: Request) -> Response:
        return _found(await desk.root(), PEM_TYPE, _LONG)

    return [
        Route(OCSP_PATH, post_ocsp, methods=["POST"]),
        Route(OCSP_PATH + "/{request:path}", get_ocsp),
        Route("/pki/root.crt", root),
        Route(CRL_PATH.format("{issuer}"), crl),
        Route(ISSUER_PATH.format("{issuer}"), certificate),
    ]


def _found(content: bytes | None, kind: str, headers: dict[str, str]) -> Response:
    if content is None:
        raise HTTPException(404, "there is no such authority")
    return Response(content, headers=headers, media_type=kind)
