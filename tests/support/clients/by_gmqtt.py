"""gmqtt as one of the clients. It does not tell how a PUBLISH was answered."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import gmqtt

from tests.support.clients.base import Answer, Client, Facts, Heard, Loop, Wishes
from tests.support.peers import WAIT_SECONDS, Login

NAMES = {
    "payload_format_indicator": "payload_format_id",
    "request_problem_information": "request_problem_info",
    "request_response_information": "request_response_info",
    "response_information": "response_info",
}
OPTIONS = {"retain_handling": "retain_handling_options"}
LISTS = ("user_property", "subscription_identifier")
NEVER = -2
"""How often it shall connect anew: less than not at all, for with 0 it tries once, and -1 is for ever."""


class Gmqtt(Client):
    """A client of gmqtt, on a loop of its own."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        super().__init__(login, version, wishes)
        self._loop = Loop()
        self._loop.run(self._prepare())

    async def _prepare(self) -> None:
        login, will = self.login, self.wishes.will
        self._connack: asyncio.Queue[Answer] = asyncio.Queue()
        self._suback: asyncio.Queue[Answer] = asyncio.Queue()
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._end = asyncio.Event()
        made = gmqtt.Message(will.topic, will.payload, qos=1, **to_gmqtt(will.properties)) if will else None
        self._client = gmqtt.Client(
            login.client_id, clean_session=self.wishes.clean, will_message=made, **to_gmqtt(self.wishes.properties)
        )
        self._client.set_config({"reconnect_retries": NEVER, "reconnect_delay": 0})
        if login.user_name:
            self._client.set_auth_credentials(login.user_name, login.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = lambda *_: self._end.set()

    def connect(self) -> Answer:
        return self._loop.run(self._connect())

    async def _connect(self) -> Answer:
        login = self.login
        tls = ssl.create_default_context(cafile=str(login.ca))
        if login.certificate is not None:
            tls.load_cert_chain(login.certificate, login.key)
        await self._client.connect(login.host, login.port, tls, self.wishes.keep_alive, self.version)
        return await self._connack.get()

    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        async def subscribe() -> Answer:
            wanted = {OPTIONS.get(name, name): value for name, value in options.items()}
            self._client.subscribe(topic_filter, qos, **wanted, **to_gmqtt(properties))
            return await self._suback.get()

        return self._loop.run(subscribe())

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        async def publish() -> Answer:
            self._client.publish(topic, payload, qos, retain, **to_gmqtt(properties))
            await self._client._persistent_storage.wait_empty()
            return Answer()

        return self._loop.run(publish())

    def publish_many(self, topic: str, payloads: Sequence[str]) -> None:
        async def publish() -> None:
            for payload in payloads:
                while True:
                    try:
                        self._client.publish(topic, payload, 1)
                        break
                    except OverflowError:  # as many are on their way as the hub takes
                        await asyncio.sleep(0.01)
            await self._client._persistent_storage.wait_empty()

        self._loop.run(publish())

    def message(self) -> Heard:
        return self._loop.run(self._heard.get())

    def drop(self) -> None:
        async def drop() -> None:
            self._client._connection._transport.abort()
            await asyncio.wait_for(self._end.wait(), WAIT_SECONDS)

        self._loop.run(drop())

    def close(self) -> None:
        with contextlib.suppress(AttributeError, ConnectionError):  # it was dropped
            self._loop.run(self._client.disconnect())
        self._loop.stop()

    def _on_connect(self, _client: object, flags: int, code: int, given: Mapping[str, Any]) -> None:
        asked = self.wishes.properties  # it mixes what was asked for into what was answered
        told = {name: value for name, value in from_gmqtt(given).items() if name not in asked}
        self._connack.put_nowait(Answer(code, told, bool(flags & 1)))

    def _on_subscribe(self, _client: object, _number: int, codes: Sequence[int], given: Mapping[str, Any]) -> None:
        self._suback.put_nowait(Answer(codes[0], from_gmqtt(given)))

    def _on_message(self, _client: object, topic: str, payload: bytes, qos: int, given: Mapping[str, Any]) -> int:
        said = from_gmqtt({name: value for name, value in given.items() if name not in ("dup", "retain")})
        self._heard.put_nowait(Heard(topic, payload.decode(), qos, bool(given["retain"]), said))
        return 0


def to_gmqtt(facts: Facts) -> dict[str, Any]:
    """Give properties under the names that gmqtt has for them."""
    ours = {NAMES.get(name, name): value for name, value in facts.items()}
    if isinstance(ours.get("subscription_identifier"), list):
        ours["subscription_identifier"] = ours["subscription_identifier"][0]
    return ours


def from_gmqtt(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give what gmqtt tells of properties under the standard's names."""
    theirs = {name: ours for ours, name in NAMES.items()}
    found = {theirs.get(name, name): value for name, value in facts.items()}
    return {name: value[0] if isinstance(value, list) and name not in LISTS else value for name, value in found.items()}
