"""What everybody may ask: is the office there, and what time is it.

`/health` answers "ok" and nothing about the hub: a stranger learns no version and no number. `/time` is for devices
that wake up in 1970: a certificate cannot be checked before the time is known, so what a device learns here is a hint,
good enough to go on, and as true as the network on the way.
"""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def routes() -> list[Route]:
    """Give the routes."""
    return [Route("/health", _health), Route("/time", _time)]


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _time(_request: Request) -> Response:
    return PlainTextResponse(f"{time.time():.0f}\n")
