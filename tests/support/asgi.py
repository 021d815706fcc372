"""An ASGI application called without a socket, as the office's routes are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from lockgate.api import answers
from lockgate.errors import LockgateError
from lockgate.net.link import Link
from tests.support.fakes import FakeLink, FakeLoop


class Answered(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Caller:
    """Calls the routes of one room; `refused` holds the errors that were noted."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self.refused: list[LockgateError] = []
        self.link = FakeLink(FakeLoop(0.0), cast(Any, None))
        self._app = Starlette(routes=list(routes), exception_handlers=answers.handlers(self._note))

    def _note(self, link: Link, error: LockgateError) -> str:
        assert link is self.link
        self.refused.append(error)
        return "K7Q2-9XMD"

    def get(self, path: str, **headers: str) -> Answered:
        return self("GET", path, b"", headers)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answered:
        return self("POST", path, body, headers)

    def __call__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answered:
        return asyncio.run(call(self._app, self.link, method, path, body, headers))


async def call(
    app: Callable[..., Awaitable[None]],
    link: Link,
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answered:
    """Make one request; header names are written with _ for -."""
    sent: list[dict[str, Any]] = []
    given = {"host": "hub", **{name.replace("_", "-"): value for name, value in (headers or {}).items()}}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(n.lower().encode(), v.encode()) for n, v in given.items()],
        "client": ("127.0.0.1", 1), "server": None, "state": {"link": link},
    }  # fmt: skip
    try:
        await app(scope, receive, send)
    except Exception:
        if not sent:  # Starlette answers, and then raises anew
            raise
    return Answered(
        sent[0]["status"],
        {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )
