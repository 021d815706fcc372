"""paho-mqtt as its users hold it: a `Login` in, and each answer of the hub waited for."""

from __future__ import annotations

import queue
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.support.peers import WAIT_SECONDS, Login
from tests.support.peers import Heard as Heard

V311, V5 = 4, 5
SUCCESS = 0

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """What the hub answered: the code, as MQTT 5.0 spells it, and what stood beside it."""

    code: int
    reason: str = ""
    session_present: bool = False
    properties: dict[str, Any] = {}


class Will(msgspec.Struct, frozen=True):
    """A will, and how it is to be published."""

    topic: str
    payload: str
    qos: int = 1
    retain: bool = False
    properties: Mapping[str, object] = {}


class PahoClient:
    """One client; leaving the `with` says goodbye.

    Args:
        login: where to, and what to show.
        version: 4 (MQTT 3.1.1) or 5.
        clean: begin anew (clean session, clean start).
        expiry_seconds: how long the session shall wait (5.0).
        keep_alive: seconds.
        connect_properties: what else the CONNECT of 5.0 says.
        will: its will.
        transport: what lies under MQTT; the login's port must fit.
    """

    def __init__(
        self,
        login: Login,
        version: int = V5,
        *,
        clean: bool = True,
        expiry_seconds: int = 0,
        keep_alive: int = 60,
        connect_properties: Mapping[str, object] = {},
        will: Will | None = None,
        transport: Literal["tcp", "websockets"] = "tcp",
    ) -> None:
        self._login = login
        self._version = version
        self._clean = clean
        self._keep_alive = keep_alive
        self._properties = {"SessionExpiryInterval": expiry_seconds, **connect_properties}
        self._connacks: queue.Queue[Answer] = queue.Queue()
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._heard: queue.Queue[Heard] = queue.Queue()
        self._ends: queue.Queue[Answer] = queue.Queue()
        is_clean: dict[str, Any] = {"clean_session": clean} if version == V311 else {}
        client = paho.Client(
            CallbackAPIVersion.VERSION2, login.client_id, protocol=MQTTProtocolVersion(version),
            transport=transport, reconnect_on_failure=False, **is_clean,
        )  # fmt: skip
        client.tls_set(
            str(login.ca),
            str(login.certificate) if login.certificate is not None else None,
            str(login.key) if login.key is not None else None,
        )
        if login.user_name:
            client.username_pw_set(login.user_name, login.password)
        if will is not None:
            said = _properties(PacketTypes.WILLMESSAGE, will.properties) if version == V5 else None
            client.will_set(will.topic, will.payload, will.qos, will.retain, said)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        self._client = client

    def __enter__(self) -> PahoClient:
        answer = self.connect()
        assert answer.code == SUCCESS, answer
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> Answer:
        """Connect; give the CONNACK, whether yes or no."""
        version_5: dict[str, Any] = {}
        if self._version == V5:
            properties = _properties(PacketTypes.CONNECT, self._properties)
            version_5 = {"clean_start": self._clean, "properties": properties}
        self._client.connect(self._login.host, self._login.port, self._keep_alive, **version_5)
        self._client.loop_start()
        return _next(self._connacks, "the CONNACK")

    def fails_to_connect(self) -> Exception:
        """Connect where TLS comes to nothing; give paho's error."""
        try:
            self._client.connect(self._login.host, self._login.port)
        except (ssl.SSLError, OSError) as error:
            return error
        self._client.loop_start()
        try:
            # With TLS 1.3 a client believes itself connected before it hears that its certificate was refused.
            end = _next(self._ends, "the end of the connection")
        finally:
            self._client.loop_stop()
        assert self._connacks.empty(), "the hub answered the CONNECT"
        return ConnectionError(end.code)

    def subscribe(
        self,
        topic_filter: str,
        qos: int = 2,
        *,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        **properties: object,
    ) -> Answer:
        """Subscribe; give the SUBACK."""
        if self._version == V5:
            options = SubscribeOptions(qos, no_local, retain_as_published, retain_handling)
            said = _properties(PacketTypes.SUBSCRIBE, properties)
            self._client.subscribe(topic_filter, options=options, properties=said)
        else:
            self._client.subscribe(topic_filter, qos)
        return _next(self._answers, "the SUBACK")

    def publish(self, topic: str, payload: str, qos: int = 1, retain: bool = False, **properties: Any) -> Answer:
        """Publish; give the PUBACK or the PUBCOMP (with QoS 0, that it is sent)."""
        self.send(topic, payload, qos, retain, **properties)
        return _next(self._answers, "the acknowledgement")

    def send(self, topic: str, payload: str, qos: int = 1, retain: bool = False, **properties: Any) -> None:
        """Publish, and do not wait."""
        said = _properties(PacketTypes.PUBLISH, properties) if properties else None
        self._client.publish(topic, payload, qos, retain, said)

    def message(self) -> Heard:
        """Give the next message."""
        return _next(self._heard, "a message")

    def end(self) -> Answer:
        """Wait until the hub ends the connection; give what it said."""
        return _next(self._ends, "the end of the connection")

    def drop(self) -> None:
        """Lose the connection without a goodbye."""
        connection = self._client.socket()
        assert isinstance(connection, socket.socket)
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.end()
        self._client.loop_stop()

    def close(self) -> None:
        """Say goodbye, if there is anybody to say it to."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, _client: paho.Client, _data: object, flags: paho.ConnectFlags, code: ReasonCode, given: Properties | None
    ) -> None:
        self._connacks.put(_answer(code, given, flags.session_present))

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, given: Properties | None
    ) -> None:
        self._ends.put(_answer(code, given))

    def _on_publish(
        self, _client: paho.Client, _data: object, _number: int, code: ReasonCode, given: Properties
    ) -> None:
        self._answers.put(_answer(code, given))

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _number: int, codes: list[ReasonCode], given: Properties | None
    ) -> None:
        self._answers.put(_answer(codes[0], given))

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        said = _facts(message.properties)
        self._heard.put(Heard(message.topic, message.payload.decode(), message.qos, message.retain, said))


def _next(waiting: queue.Queue[T], what: str) -> T:
    try:
        return waiting.get(timeout=WAIT_SECONDS)
    except queue.Empty:
        raise AssertionError(f"{what} did not come") from None


def _answer(code: ReasonCode, given: Properties | None, session_present: bool = False) -> Answer:
    facts = _facts(given)
    return Answer(code.value, facts.pop("ReasonString", ""), session_present, facts)


def _facts(given: Properties | None) -> dict[str, Any]:
    return dict(given.json()) if given is not None else {}  # type: ignore[no-untyped-call]


def _properties(packet: int, facts: Mapping[str, object]) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in facts.items():
        setattr(made, name, value)
    return made
