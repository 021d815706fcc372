"""npm's mqtt as one of the clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.support.clients.base import Answer, Client, Facts, Heard, Wishes
from tests.support.mqttjs import NodeClient
from tests.support.peers import Login

OPTIONS = {"no_local": "nl", "retain_as_published": "rap", "retain_handling": "rh"}
FLAGS = ("payload_format_indicator", "request_problem_information", "request_response_information")


class Mqttjs(Client):
    """A client of npm's mqtt, in a node of its own."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        super().__init__(login, version, wishes)
        self._options: dict[str, Any] = {"clean": wishes.clean, "keepalive": wishes.keep_alive}
        if wishes.properties:
            self._options["properties"] = to_node(wishes.properties)
        self._will: dict[str, Any] | None = None
        if wishes.will is not None:
            self._will = {"topic": wishes.will.topic, "payload": wishes.will.payload, "qos": 1}
            if wishes.will.properties:
                self._will["properties"] = to_node(wishes.will.properties)
        self._client: NodeClient | None = None

    def connect(self) -> Answer:
        self._client = NodeClient(self.login, self.version, options=self._options, will=self._will)
        given = self._client.connected()
        return Answer(given["code"], from_node(given.get("properties")), given["sessionPresent"])

    @property
    def _open(self) -> NodeClient:
        assert self._client is not None
        return self._client

    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        wanted = {OPTIONS[name]: value for name, value in options.items()}
        if properties:
            wanted["properties"] = to_node(properties)
        given = self._open.subscribe(topic_filter, qos, **wanted)
        return Answer(given["granted"][0], from_node(given.get("properties")))

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        options = {"properties": to_node(properties)} if properties else {}
        self._open.publish(topic, payload, qos, retain=retain, **options)
        if qos == 0:
            return Answer()
        given = self._open.next("puback" if qos == 1 else "pubrec")
        return Answer(given.get("code") or 0, from_node(given.get("properties")))

    def message(self) -> Heard:
        given = self._open.message()
        said = from_node(given.get("properties"))
        return Heard(given["topic"], given["payload"], given["qos"], given["retain"], said)

    def end(self) -> Answer:
        given = self._open.next("disconnect")
        return Answer(given["code"], from_node(given.get("properties")))

    def drop(self) -> None:
        self._open.drop()

    def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            with client:
                client.end()


def to_node(facts: Facts) -> dict[str, Any]:
    """Give properties under the names, and in the forms, that npm's mqtt has for them."""
    made: dict[str, Any] = {}
    for name, value in facts.items():
        if name == "user_property":
            made["userProperties"] = {key: [v for k, v in value if k == key] for key, _ in value}
        elif isinstance(value, bytes):
            made[_camel(name)] = {"type": "Buffer", "data": list(value)}
        else:
            made[_camel(name)] = bool(value) if name in FLAGS else value
    return made


def from_node(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Give what npm's mqtt tells of properties under the standard's names."""
    made: dict[str, Any] = {}
    for name, value in (facts or {}).items():
        if name == "userProperties":
            made["user_property"] = [
                (key, each)
                for key, values in value.items()
                for each in (values if isinstance(values, list) else [values])
            ]
        elif name == "subscriptionIdentifier":
            made["subscription_identifier"] = value if isinstance(value, list) else [value]
        elif isinstance(value, dict):
            made[_snake(name)] = bytes(value["data"])
        else:
            made[_snake(name)] = int(value) if isinstance(value, bool) else value
    return made


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()
