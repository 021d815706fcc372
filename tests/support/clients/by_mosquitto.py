"""Debian's mosquitto_sub and mosquitto_pub as one client: the one connects when it subscribes, the other to publish."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.support import mosquitto
from tests.support.clients.base import V5, Answer, Client, Facts, Heard, Wishes
from tests.support.mosquitto import Subscriber
from tests.support.peers import WAIT_SECONDS, Login, program

MARK = "json:"
CODES = {"Not authorized": 0x87}
NAMES = {"user-properties": "user_property"}


class Mosquitto(Client):
    """mosquitto_sub with a client id, mosquitto_pub with that client id and `-pub` after it."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        super().__init__(login, version, wishes)
        self._version = mosquitto.V5 if version == V5 else mosquitto.V311
        self._speaker = login.but(client_id=f"{login.client_id}-pub" if login.client_id else "")
        self._listener: Subscriber | None = None
        self._position = 0

    def connect(self) -> Answer:
        return Answer()

    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        wishes = dict(self.wishes.properties)
        expiry = wishes.pop("session_expiry_interval", None)
        words = ["-F", f"{MARK}%j", "-k", str(self.wishes.keep_alive), *said("connect", wishes)]
        words += [] if expiry is None else ["-x", str(expiry)]
        words += said("subscribe", properties)
        words += [] if self.wishes.clean else ["-c"]
        words += [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
        if self.wishes.will is not None:
            will = self.wishes.will
            words += ["--will-topic", will.topic, "--will-payload", will.payload, "--will-qos", "1"]
            words += said("will", will.properties)
        self._listener = Subscriber(self.login, topic_filter, version=self._version, qos=qos, extra=words)
        line = next(line for line in self._listener.lines if line.startswith("Subscribed"))
        return Answer(int(line.rsplit(" ", 1)[1]))

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        return self._publish(topic, payload, qos, [*(["-r"] if retain else []), *said("publish", properties)])

    def _publish(self, topic: str, payload: str, qos: int, extra: Sequence[str]) -> Answer:
        done = mosquitto.publish(self._speaker, topic, payload, version=self._version, qos=qos, extra=extra)
        found = re.search(r"failed: (.*)\.", done.stderr)
        assert found or done.returncode == 0, done.stderr
        return Answer(CODES[found[1]] if found else 0)

    def publish_twice_by_alias(self, topic: str, payload: str) -> None:
        self._publish(topic, payload, 1, [*said("publish", {"topic_alias": 1}), "--repeat", "2"])

    def publish_many(self, topic: str, payloads: Sequence[str]) -> None:
        words = [*mosquitto.options(self._speaker, self._version), "-q", "1", "-t", topic, "-l"]
        done = subprocess.run(
            [program("mosquitto_pub"), *words], input="\n".join(payloads), text=True, capture_output=True,
            timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    def message(self) -> Heard:
        assert self._listener is not None
        number, line = self._listener.wait_for(lambda line: line.startswith(MARK), "a message", self._position)
        self._position = number + 1
        # It prints user properties as one object in which names come twice; only the standard library shows both.
        given = dict(json.loads(line.removeprefix(MARK), object_pairs_hook=list))
        properties = from_mosquitto(given.get("properties", []))
        return Heard(given["topic"], given["payload"], given["qos"], bool(given["retain"]), properties)

    def drop(self) -> None:
        assert self._listener is not None
        self._listener.kill()
        self._listener = None

    def close(self) -> None:
        if self._listener is not None:
            self._listener.stop()


def said(packet: str, facts: Facts) -> list[str]:
    """Give the options that put properties into a packet."""
    words: list[str] = []
    for name, value in facts.items():
        option = ["-D", packet, name.replace("_", "-")]
        if name == "user_property":
            words += [word for pair in value for word in (*option, *pair)]
        else:
            words += [*option, value.decode() if isinstance(value, bytes) else str(value)]
    return words


def from_mosquitto(facts: list[tuple[str, Any]]) -> dict[str, Any]:
    """Give what mosquitto_sub prints of properties under the standard's names."""
    return {NAMES.get(name, name.replace("-", "_")): value for name, value in facts}
