"""CoAP by HTTP: `https://OFFICE/coap/TOPIC` for who speaks HTTP and not CoAP, with the same permissions.

    GET, PUT, POST, DELETE /coap/a/b              the topic a/b, as a CoAP request for /a/b
    GET                    /coap/?filter=a/%2B    the retained topics below a, as links
    GET, PUT, POST, DELETE /coap/$devices/N/path  what the device N serves at /path, over its live link

Nobody is served who has not proven who they are: by the certificate of the connection, a token (Bearer), or name and
password (Basic). The office says that to the gate, which looks it up again, and its policy decides. There is no other
place to go from here: the path names a topic of this hub or a device of its registry, and no address counts.

Source: RFC 8075; RFC 9110 section 11; RFC 6750 section 2.1 (Bearer); RFC 7617 (Basic).
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lockgate.adapters.coap.handed import OnBehalf, Reply
from lockgate.api import answers
from lockgate.api.conversion import HttpAnswer, NotConverted, to_answer, to_request
from lockgate.errors import AuthenticationFailed
from lockgate.identity import Authenticator, Credentials
from lockgate.identity.jwt import looks_like_token
from lockgate.model.principal import Principal
from lockgate.net.http import LINK, refusal_text
from lockgate.net.link import Link

CHALLENGE: Final = f'{answers.REALM}, Bearer realm="lockgate"'
SUFFIX: Final = "http"
_FIX: Final = "show the device's certificate in the TLS handshake, a token (Authorization: Bearer) or name and password"


class Gate(Protocol):
    """Who answers."""

    async def ask(self, request: OnBehalf, /) -> Reply:
        """Give the response to a request on somebody's behalf."""
        ...


class CoapByHttp:
    """Answers what is asked for below `/coap/`.

    Args:
        authenticator: says who somebody is.
        gate: answers in CoAP's words.
        workers: check passwords.
        noted: keeps a refusal, and gives its reference.
        clock: gives unix seconds.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        gate: Gate,
        workers: Executor,
        noted: answers.Noted,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._workers = workers
        self._noted = noted
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        request = Request(scope, receive)
        link: Link = scope["state"][LINK]
        try:
            response = await self._answer(request, link)
        except AuthenticationFailed as error:
            response = answers.refusal(error, self._noted(link, error))
            response.headers["WWW-Authenticate"] = CHALLENGE
        except NotConverted as error:
            text = refusal_text(error, self._noted(link, error))
            response = Response(text, error.status, error.headers, "text/plain; charset=utf-8")
        await response(scope, receive, send)

    async def _answer(self, request: Request, link: Link) -> Response:
        principal = await self._authenticate(request, link)
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name, []).append(value)
        body = await request.body()
        scope = request.scope
        asked = to_request(request.method, scope["raw_path"], scope["query_string"], headers, body)
        reply = await self._gate.ask(
            OnBehalf(
                principal.device, principal.auth, principal.credential_id, principal.expires_at,
                link.peer.host, link.peer.port, asked.code, asked.options, asked.payload,
            )
        )  # fmt: skip
        return _response(to_answer(reply.code, reply.options, reply.payload, asked))

    async def _authenticate(self, request: Request, link: Link) -> Principal:
        """Give who asks.

        Raises:
            LockgateError: they have not proven it, or are not let in.
        """
        credentials = _credentials(request.headers.getlist("authorization"), link)
        if self._authenticator.is_slow(credentials):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._workers, self._authenticator.authenticate, credentials, self._clock()
            )
        return self._authenticator.authenticate(credentials, self._clock())


def routes(conversion: CoapByHttp) -> list[Route]:
    """Give the routes: every method comes here, to be converted or refused."""
    return [Route("/coap/{path:path}", conversion)]


def _credentials(authorization: list[str], link: Link) -> Credentials:
    """Give what was shown; a certificate, which TLS has verified, comes before a header.

    Raises:
        AuthenticationFailed: nothing, or nothing that can be read.
    """
    host = link.peer.host
    if link.peer_certificate is not None:
        return Credentials("", certificate=link.peer_certificate, host=host, suffix=SUFFIX)
    if not authorization:
        raise AuthenticationFailed(
            "somebody asked for a topic and showed no credentials", reason="no credentials", fix=_FIX
        )
    kind, _, value = authorization[0].partition(" ")
    if len(authorization) == 1 and kind.lower() == "bearer" and looks_like_token(secret := value.strip().encode()):
        return Credentials("", secret=secret, host=host, suffix=SUFFIX)
    if len(authorization) == 1 and kind.lower() == "basic":
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except ValueError:
            name, colon, password = "", "", ""
        if colon:
            return Credentials("", user_name=name, secret=password.encode(), host=host, suffix=SUFFIX)
    raise AuthenticationFailed(
        "the Authorization header holds neither a token nor name and password",
        reason="credentials cannot be read",
        fix="write Bearer TOKEN, or Basic and base64 of NAME:PASSWORD",
    )


def _response(answer: HttpAnswer) -> Response:
    return Response(answer.body, answer.status, answer.headers)
