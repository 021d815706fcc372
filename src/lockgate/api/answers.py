"""How the office says no: our errors as HTTP's status codes, in plain text with a reason, a fix and a reference.

Source: RFC 9110 section 15; RFC 7617 (Basic authentication).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from lockgate.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidSettings,
    LockgateError,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RateExceeded,
    SessionTakenOver,
    Step,
    TopicFilterInvalid,
    TopicNameInvalid,
    Unavailable,
)
from lockgate.events import Event
from lockgate.net.http import LINK, refusal_text
from lockgate.net.link import Link

log = structlog.get_logger()

MAX_SHOWN_PATH = 100
REALM = 'Basic realm="lockgate", charset="UTF-8"'
_STATUS: Mapping[type[LockgateError], int] = {
    AuthenticationFailed: 401,
    NotAuthorized: 403,
    TopicNameInvalid: 400,
    TopicFilterInvalid: 400,
    InvalidSettings: 400,  # of what the peer sent: our own settings were read at the start
    NotFound: 404,
    Conflict: 409,
    SessionTakenOver: 409,
    PayloadTooLarge: 413,
    QuotaExceeded: 429,
    RateExceeded: 429,
    Unavailable: 503,
}

Noted = Callable[[Link, LockgateError], str]
"""Keeps a refusal for `lockgate why`, and gives its reference."""


def status_of(error: LockgateError) -> int:
    """Give the HTTP status that an error is told by; 500 for what is our own fault."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def handlers(noted: Noted) -> dict[type[Exception] | int, Callable[[Request, Exception], Response]]:
    """Give what Starlette shall do with each kind of exception that a route raises."""

    def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, LockgateError)
        return refusal(error, noted(request.scope["state"][LINK], error))

    def pass_over(request: Request, error: Exception) -> Response:
        # Who knocks where no door is may be looking for one: it is on record like every other refusal.
        assert isinstance(error, HTTPException)
        found = _not_offered(request, error)
        text = f"{error.detail}\nreference: {noted(request.scope['state'][LINK], found)}\n"
        return PlainTextResponse(text, error.status_code, error.headers)

    return {
        LockgateError: refuse,
        HTTPException: pass_over,
        ClientDisconnect: lambda _request, _error: Response(status_code=400),  # nobody is there to read it
        Exception: _unexpected,
    }


def refusal(error: LockgateError, reference: str) -> Response:
    """Give the answer that tells of a refusal."""
    status = status_of(error)
    headers = {"WWW-Authenticate": REALM} if status == 401 else {}
    if status in (429, 503):
        headers["Retry-After"] = "60" if status == 429 else "5"
    return Response(refusal_text(error, reference), status, headers, "text/plain; charset=utf-8")


def _not_offered(request: Request, error: HTTPException) -> LockgateError:
    asked = f"{request.method} {request.url.path[:MAX_SHOWN_PATH]}"
    return LockgateError(
        f"somebody asked for {asked!r}, to which the office has no answer ({error.status_code})",
        reason="not offered by the office",
        fix="check the address; the guides of enrolment, revocation and CoAP name all that the office answers",
        step=Step.PROTOCOL,
        evidence={"asked for": asked},
    )


def _unexpected(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(4)
    peer = str(request.scope["state"][LINK].peer)
    log.error(
        Event.UNEXPECTED_ERROR, reference=reference, address=peer, path=request.url.path, error=repr(error),
        exc_info=error,
    )  # fmt: skip
    return PlainTextResponse(f"unspecified error\nreference: {reference}\n", 500)
