"""aiomqtt as one of the clients. It tells neither what stood in a CONNACK nor how a PUBLISH was answered."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.support.clients.base import V5, Answer, Client, Facts, Heard, Loop, Wishes
from tests.support.clients.by_paho import from_paho, to_paho
from tests.support.peers import WAIT_SECONDS, Login


class Aiomqtt(Client):
    """A client of aiomqtt, on a loop of its own."""

    def __init__(self, login: Login, version: int, wishes: Wishes) -> None:
        super().__init__(login, version, wishes)
        self._loop = Loop()
        self._client: aiomqtt.Client | None = None

    def connect(self) -> Answer:
        return self._loop.run(self._connect())

    async def _connect(self) -> Answer:
        login, wishes = self.login, self.wishes
        tls = ssl.create_default_context(cafile=str(login.ca))
        if login.certificate is not None:
            tls.load_cert_chain(login.certificate, login.key)
        will = None
        if wishes.will is not None:
            said = self._properties(PacketTypes.WILLMESSAGE, wishes.will.properties)
            will = aiomqtt.Will(wishes.will.topic, wishes.will.payload, 1, properties=said)
        clean: dict[str, Any] = {"clean_start" if self.version == V5 else "clean_session": wishes.clean}
        self._client = aiomqtt.Client(
            login.host, login.port, identifier=login.client_id, username=login.user_name or None,
            password=login.password or None, protocol=aiomqtt.ProtocolVersion(self.version), will=will,
            keepalive=wishes.keep_alive, tls_context=tls, timeout=WAIT_SECONDS,
            properties=self._properties(PacketTypes.CONNECT, wishes.properties),
            **clean,
        )  # fmt: skip
        await self._client.__aenter__()
        return Answer()

    @property
    def _open(self) -> aiomqtt.Client:
        assert self._client is not None
        return self._client

    def subscribe(self, topic_filter: str, qos: int = 1, *, options: Facts = {}, properties: Facts = {}) -> Answer:  # noqa: B006
        if self.version != V5:
            codes = self._loop.run(self._open.subscribe(topic_filter, qos))
        else:
            names = {
                {"no_local": "noLocal", "retain_as_published": "retainAsPublished"}.get(name, "retainHandling"): value
                for name, value in options.items()
            }
            wanted = SubscribeOptions(qos, **names)
            said = self._properties(PacketTypes.SUBSCRIBE, properties)
            codes = self._loop.run(self._open.subscribe(topic_filter, options=wanted, properties=said))
        return Answer(getattr(codes[0], "value", codes[0]))  # type: ignore[arg-type]

    def publish(
        self,
        topic: str,
        payload: str,
        qos: int = 1,
        *,
        retain: bool = False,
        properties: Facts = {},  # noqa: B006
    ) -> Answer:
        said = self._properties(PacketTypes.PUBLISH, properties)
        self._loop.run(self._open.publish(topic, payload, qos, retain, said))
        return Answer()

    def message(self) -> Heard:
        return self._loop.run(self._message())

    async def _message(self) -> Heard:
        message = await anext(aiter(self._open.messages))
        assert isinstance(message.payload, bytes)
        given = message.properties
        said = from_paho(given.json()) if given is not None else {}  # type: ignore[no-untyped-call]
        return Heard(str(message.topic), message.payload.decode(), message.qos, message.retain, said)

    def drop(self) -> None:
        connection = self._open._client.socket()
        assert isinstance(connection, socket.socket)
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        client, self._client = self._client, None
        try:
            if client is not None:
                self._loop.run(client.__aexit__(None, None, None))
        except aiomqtt.MqttError:
            pass  # it was dropped
        finally:
            self._loop.stop()

    def _properties(self, packet: int, facts: Facts) -> Properties | None:
        if self.version != V5:
            return None
        made = Properties(packet)  # type: ignore[no-untyped-call]
        for name, value in to_paho(facts).items():
            setattr(made, name, value)
        return made
