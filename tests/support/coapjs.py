"""npm's coap, driven by tests through `tests/interop/js/coap.mjs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.peers import Talker, program

SCRIPT = Path(__file__).parent.parent / "interop" / "js" / "coap.mjs"


class Heard(msgspec.Struct, frozen=True):
    """What came of a request."""

    id: int
    event: str
    code: str = ""
    body: str = ""
    message: str = ""


class CoapJs(Talker):
    """One client, from one port; `ask` waits for the answer, `observe` does not.

    Args:
        port: the hub's, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        if not (SCRIPT.parent / "node_modules" / "coap").is_dir():
            pytest.fail("npm's coap is not installed: run make peers")
        super().__init__([program("node"), str(SCRIPT)])
        self._port = port
        self._last = 0

    def __enter__(self) -> CoapJs:
        return self

    def ask(self, method: str, path: str, body: str = "", **words: Any) -> tuple[str, str]:
        """Ask for something; give the code of the answer and its payload. `block=1024` sends the body in slices."""
        number = self._send({"method": method, "path": path, "body": body, **words})
        heard = self._next(number, 0)[1]
        assert heard.event == "answer", heard
        return heard.code, heard.body

    def observe(self, path: str, **words: Any) -> Observation:
        """Observe a resource."""
        return Observation(self, self._send({"method": "GET", "path": path, "observe": True, **words}))

    def _send(self, step: dict[str, Any]) -> int:
        self._last += 1
        self.say(msgspec.json.encode({"id": self._last, "port": self._port, **step}).decode())
        return self._last

    def _next(self, number: int, after: int) -> tuple[int, Heard]:
        def is_wanted(line: str) -> bool:
            return line.startswith("{") and msgspec.json.decode(line, type=Heard).id == number

        at, line = self.wait_for(is_wanted, f"what comes of request {number}", after)
        return at + 1, msgspec.json.decode(line, type=Heard)


class Observation:
    """What comes to an observer, one after the other."""

    def __init__(self, client: CoapJs, number: int) -> None:
        self._client = client
        self._number = number
        self._at = 0

    def next(self) -> tuple[str, str]:
        """Give the code and the payload of the next notification; the first answer is one."""
        self._at, heard = self._client._next(self._number, self._at)
        assert heard.event == "heard", heard
        return heard.code, heard.body
