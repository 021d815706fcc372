"""paho-mqtt as one of the clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.support import paho_client
from tests.support.clients.base import Answer, Client, Facts, Heard, Wishes
from tests.support.paho_client import PahoClient
from tests.support.peers import Login


class Paho(Client):
    """A client of paho-mqtt."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        super().__init__(login, version, wishes)
        will = wishes.will
        self._client = PahoClient(
            login,
            version,
            clean=wishes.clean,
            keep_alive=wishes.keep_alive,
            connect_properties=to_paho(wishes.properties),
            will=paho_client.Will(will.topic, will.payload, properties=to_paho(will.properties)) if will else None,
        )

    def connect(self) -> Answer:
        return answer(self._client.connect())

    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        return answer(self._client.subscribe(topic_filter, qos, **options, **to_paho(properties)))

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        return answer(self._client.publish(topic, payload, qos, retain, **to_paho(properties)))

    def message(self) -> Heard:
        heard = self._client.message()
        return Heard(heard.topic, heard.payload, heard.qos, heard.is_retained, from_paho(heard.properties))

    def end(self) -> Answer:
        return answer(self._client.end())

    def drop(self) -> None:
        self._client.drop()

    def close(self) -> None:
        self._client.close()


def to_paho(facts: Facts) -> dict[str, Any]:
    """Give properties under the names that paho has for them."""
    return {name.title().replace("_", ""): value for name, value in facts.items()}


def from_paho(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give what paho tells of properties under the standard's names."""
    found = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value for name, value in facts.items()}
    if "correlation_data" in found:
        found["correlation_data"] = bytes.fromhex(found["correlation_data"])
    return found


def answer(given: paho_client.Answer) -> Answer:
    """Give an answer in the common form."""
    properties = from_paho(given.properties)
    if given.reason:
        properties["reason_string"] = given.reason
    return Answer(given.code, properties, given.session_present)
