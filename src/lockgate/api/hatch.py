"""The office's side of the hatch: a CoAP request on somebody's behalf goes to the gate, and the response comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from lockgate.adapters.coap.handed import MAX_BESIDE_BODY_BYTES, OnBehalf, Reply, decode_reply, framed
from lockgate.errors import Unavailable
from lockgate.net.local import connected, read_frame

CONNECT_SECONDS: Final = 2.0


class Hatch:
    """Asks the gate.

    Args:
        path: the gate's socket.
        max_body_bytes: the longest body that comes back.
        deadline_seconds: how long an answer may take.
    """

    def __init__(self, path: Path, max_body_bytes: int, deadline_seconds: float) -> None:
        self._path = path
        self._max_bytes = max_body_bytes + MAX_BESIDE_BODY_BYTES
        self._deadline = deadline_seconds

    async def ask(self, request: OnBehalf) -> Reply:
        """Give the response.

        Raises:
            Unavailable: the gate is not there, or does not answer.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await connected(self._path)
        except OSError as error:
            raise _away() from error
        try:
            async with asyncio.timeout(self._deadline):
                writer.write(framed(request))
                await writer.drain()
                return decode_reply(await read_frame(reader, self._max_bytes))
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:  # a timeout is an OSError
            raise _away() from error
        finally:
            writer.close()


def _away() -> Unavailable:
    return Unavailable(
        "the gate did not answer a request that came by HTTPS",
        reason="the hub does not answer",
        fix="see that the hub runs, with its CoAP door open (coap.enabled, coap.http_enabled)",
    )
