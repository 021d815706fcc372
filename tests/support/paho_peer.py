"""A paho client of a provisioned device, as a program on a device would hold one: MQTT over TLS, in a test's hands."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MessageState, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from lockgate.client.options import tls_context, user_and_secret
from lockgate.provision.folder import read_folder
from tests.support.hub import eventually

PAUSES: Any = (0.05, 0.2)
"""Between attempts to connect, in seconds: paho takes fractions too, whatever its types say."""


class Heard(msgspec.Struct, frozen=True):
    """A message that arrived."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class _Client(paho.Client):
    """Paho, mended: at the second attempt to connect anew it forgets which QoS 2 messages it had released already.

    It would publish them again as new ones, and nobody could tell that from a hub that repeats them.
    """

    def _messages_reconnect_reset_out(self) -> None:
        released = [m for m in self._out_messages.values() if m.state == MessageState.MQTT_MS_RESEND_PUBREL]
        super()._messages_reconnect_reset_out()
        for message in released:
            message.state = MessageState.MQTT_MS_RESEND_PUBREL


class PahoPeer:
    """One device's client; `with` connects it and says goodbye.

    Args:
        folder: the device's folder.
        port: the hub's port of MQTT over TLS.
        suffix: for a client id NAME/SUFFIX.
        version: 4 (MQTT 3.1.1) or 5.
        expiry: how long its session waits, in seconds; 0 makes a clean start.
        will: topic and payload of its will.
        secret: user name and password instead of those in the folder.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        suffix: str = "",
        version: int = 5,
        expiry: int = 0,
        will: tuple[str, str] | None = None,
        secret: tuple[str, str] | None = None,
    ) -> None:
        facts = read_folder(folder)
        self.port = port
        self.gives_up = False  # True: it does not connect anew
        self.heard: list[Heard] = []
        self.acknowledged: dict[int, int] = {}
        self.granted: dict[int, list[int]] = {}
        self.ends: list[tuple[int, str]] = []
        self.answers: list[tuple[int, str, bool]] = []
        self._expiry = expiry
        self._version = version
        client_id = f"{facts.client_id}/{suffix}" if suffix else facts.client_id
        self.client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=not expiry if version == 4 else None,
            protocol=MQTTProtocolVersion(version),
        )
        self.client.tls_set_context(tls_context(folder, facts))
        self.client.reconnect_delay_set(*PAUSES)
        secret = secret or user_and_secret(folder, facts, 3600)
        if secret is not None:
            self.client.username_pw_set(*secret)
        if will is not None:
            self.client.will_set(*will, qos=1)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = self._on_subscribe

    def __enter__(self) -> PahoPeer:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> tuple[int, str, bool]:
        """Connect; give the CONNACK's reason code, its reason string, and whether a session was present."""
        self.answers.clear()
        properties = None
        if self._version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._expiry
        clean = not self._expiry if self._version == 5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        self.client.connect("localhost", self.port, 60, clean_start=clean, properties=properties)
        self.client.loop_start()
        return eventually(lambda: self.answers[0] if self.answers else None, 10.0, "the CONNACK")

    def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe; give the code of the SUBACK."""
        options = {"options": SubscribeOptions(qos=qos)} if self._version == 5 else {"qos": qos}
        _, number = self.client.subscribe(topic_filter, **options)
        assert number is not None
        return eventually(lambda: self.granted.get(number), 10.0, "the SUBACK")[0]

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> int:
        """Publish; give the reason code of the PUBACK or PUBREC (QoS 0: come back when it is sent)."""
        number = self.client.publish(topic, payload, qos, retain).mid
        return eventually(lambda: self.acknowledged.get(number), 10.0, "the acknowledgement")

    def payloads(self) -> list[bytes]:
        """Give what arrived, in its order."""
        return [each.payload for each in list(self.heard)]

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Heard]:
        """Wait until `count` messages have arrived; give all that have."""
        return eventually(lambda: list(self.heard) if len(self.heard) >= count else None, seconds, f"{count} messages")

    def wait_for_end(self, seconds: float = 10.0) -> tuple[int, str]:
        """Wait until the connection has ended; give the code and reason string of the hub's DISCONNECT."""
        return eventually(lambda: self.ends[0] if self.ends else None, seconds, "the end of the connection")

    def cut(self) -> None:
        """Cut the connection as a bad radio link would: no DISCONNECT."""
        connection = self.client.socket()
        if isinstance(connection, socket.socket):
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS: no goodbye
            except OSError:
                return

    def stop(self) -> None:
        """End as a program that is killed: no DISCONNECT, no new attempt."""
        self.gives_up = True
        self.cut()
        self.client.loop_stop()

    def close(self) -> None:
        """Say goodbye."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, _client: paho.Client, _data: object, flags: paho.ConnectFlags, code: ReasonCode, given: Properties | None
    ) -> None:
        self.answers.append((code.value, getattr(given, "ReasonString", ""), flags.session_present))

    def _on_disconnect(
        self, client: paho.Client, _data: object, flags: object, code: ReasonCode, given: Properties | None
    ) -> None:
        self.ends.append((code.value, getattr(given, "ReasonString", "")))
        if self.gives_up:
            client.loop_stop()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.qos, message.retain))

    def _on_publish(
        self, _client: paho.Client, _data: object, number: int, code: ReasonCode, _given: Properties
    ) -> None:
        self.acknowledged[number] = code.value

    def _on_subscribe(
        self, _client: paho.Client, _data: object, number: int, codes: list[ReasonCode], _given: Properties | None
    ) -> None:
        self.granted[number] = [code.value for code in codes]
