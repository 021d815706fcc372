"""npm's mqtt, driven by tests through `tests/interop/js/client.mjs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.peers import Login, Talker, program

SCRIPT = Path(__file__).parent.parent / "interop" / "js" / "client.mjs"
V311, V5 = 4, 5

Facts = dict[str, Any]


class NodeClient(Talker):
    """One client; each method waits for its answer. `next` gives the next event of a kind."""

    def __init__(
        self,
        login: Login,
        version: int = V5,
        *,
        options: Mapping[str, object] | None = None,
        will: Mapping[str, object] | None = None,
    ) -> None:
        if not (SCRIPT.parent / "node_modules" / "mqtt").is_dir():
            pytest.fail("npm's mqtt is not installed: run make peers")
        super().__init__([program("node"), str(SCRIPT)])
        self._positions: dict[str, int] = {}
        files = {"ca": login.ca, "cert": login.certificate, "key": login.key}
        plan: Facts = {
            "files": {name: str(path) for name, path in files.items() if path is not None},
            "options": {
                "host": login.host,
                "port": login.port,
                "clientId": login.client_id,
                "protocolVersion": version,
                **({"username": login.user_name} if login.user_name else {}),
                **({"password": login.password} if login.password else {}),
                **(options or {}),
            },
        }
        if will is not None:
            plan["will"] = dict(will)
        self._tell(plan)

    def __enter__(self) -> NodeClient:
        return self

    def connected(self) -> Facts:
        """Give the CONNACK of a connection that was made."""
        return self.next("connected")

    def subscribe(self, topic: str, qos: int = 2, **options: object) -> Facts:
        """Subscribe; give the SUBACK, with its codes under `granted`."""
        self._tell({"do": "subscribe", "topic": topic, "options": {"qos": qos, **options}})
        return self.next("suback")

    def publish(self, topic: str, payload: str, qos: int = 1, **options: object) -> Facts:
        """Publish; give what came of it: `published`, or `published refused` with the error."""
        self._tell({"do": "publish", "topic": topic, "payload": payload, "options": {"qos": qos, **options}})
        return self.next("published", "published refused")

    def renew(self, method: str, data: str) -> None:
        """Begin a re-authentication by AUTH; what the hub answers is an `auth` event."""
        self._tell({"do": "renew", "method": method, "data": data})

    def drop(self) -> None:
        """Lose the connection without a goodbye."""
        self._tell({"do": "drop"})
        self.next("closed")

    def end(self) -> None:
        """Say goodbye, and wait until it is said."""
        self._tell({"do": "end"})
        self.next("ended")

    def message(self) -> Facts:
        """Give the next message."""
        return self.next("message")

    def next(self, *events: str) -> Facts:
        """Give the next event of one of these kinds."""
        start = max(self._positions.get(event, 0) for event in events)

        def is_wanted(line: str) -> bool:
            return line.startswith("{") and msgspec.json.decode(line, type=Facts)["event"] in events

        number, line = self.wait_for(is_wanted, " or ".join(events), start)
        for event in events:
            self._positions[event] = number + 1
        return msgspec.json.decode(line, type=Facts)

    def _tell(self, step: Mapping[str, object]) -> None:
        self.say(msgspec.json.encode(step).decode())
