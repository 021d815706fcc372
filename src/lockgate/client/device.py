"""A device in Python: open its folder, publish, subscribe. MQTT 5.0 over TLS, thin over paho-mqtt.

How it works: paho's network thread connects, keeps alive and connects anew; before each attempt it signs a fresh token,
and after a failed one it pauses, longer each time. A second thread runs the callbacks, so that a callback may itself
publish and wait. A received message is acknowledged when its callbacks have returned: what a device was busy with when
it stopped comes again (with a session that is kept). The hub never has more than `RECEIVE_MAXIMUM` unacknowledged
messages on the way (MQTT 5.0 section 3.3.4); of QoS 0 messages beyond `MAX_WAITING` the newest is dropped.
"""

from __future__ import annotations

import logging
import queue
import random
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lockgate.client.answers import Answers
from lockgate.client.options import pause_seconds, tls_context, user_and_secret
from lockgate.client.reasons import lost, refusal, refused_message, unreachable
from lockgate.errors import LockgateError, PayloadTooLarge, Unavailable
from lockgate.model.message import Message
from lockgate.model.topic import TopicName, filter_matches, topic_filter, topic_name
from lockgate.provision.folder import DeviceFile, read_folder

RECEIVE_MAXIMUM = 256
MAX_WAITING = 1024

log = logging.getLogger(__name__)  # the standard library's: a program on a device decides what it does with it


class Protection(msgspec.Struct, frozen=True):
    """What protects a connection: "TLSv1.3" and the name of the cipher suite."""

    version: str
    cipher: str


class Device:
    """One device, connected for as long as its `with` block runs.

    Example:
        from lockgate.client import Device

        with Device.open("sensor-1") as device:
            device.subscribe("devices/sensor-1/command", lambda message: print(message.payload))
            device.publish("devices/sensor-1/temperature", b"21.5")

    All methods may be called from any thread and from callbacks; they raise `lockgate.errors`.
    """

    def __init__(
        self,
        folder: Path,
        device: DeviceFile,
        *,
        suffix: str = "",
        will: Message | None = None,
        keep_alive_seconds: int = 60,
        session_expiry_seconds: int = 0,
        token_lifetime_seconds: float = 3600,
        timeout_seconds: float = 30.0,
    ) -> None:
        self.name = device.name
        self.client_id = f"{device.client_id}/{suffix}" if suffix else device.client_id
        self._folder = folder
        self._device = device
        self._keep_alive_seconds = keep_alive_seconds
        self._session_expiry_seconds = session_expiry_seconds
        self._token_lifetime_seconds = token_lifetime_seconds
        self._timeout_seconds = timeout_seconds
        self._answers = Answers()
        self._subscriptions: dict[str, tuple[int, Callable[[Message], object]]] = {}
        self._received: queue.SimpleQueue[tuple[int, paho.MQTTMessage] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._settled = threading.Event()  # the first attempt has ended, one way or the other
        self._refusal: LockgateError | None = None
        self._has_connected = False
        self._attempt = 0
        self._connection = 0  # counts connections: an acknowledgement belongs to the one its message came by
        self._max_packet_bytes: int | None = None
        self._trouble = ""
        self._worker = threading.Thread(target=self._run_callbacks, name=f"lockgate-{self.client_id}", daemon=True)
        self._client = self._make_client(tls_context(folder, device), will)

    def __repr__(self) -> str:
        """Show who and where, never a secret."""
        return f"Device({self.client_id!r}, {self._device.host!r}, {self._device.port})"

    @classmethod
    def open(
        cls,
        folder: Path | str,
        suffix: str = "",
        *,
        will: Message | None = None,
        keep_alive_seconds: int = 60,
        session_expiry_seconds: int = 0,
        token_lifetime_seconds: float = 3600,
        timeout_seconds: float = 30.0,
    ) -> Device:
        """Give the device whose folder this is; `with` or `connect()` connects it.

        Args:
            folder: what `lockgate device add --out` made.
            suffix: for a second session beside the first: the client id becomes NAME/SUFFIX.
            will: what the hub publishes when the device is lost.
            keep_alive_seconds: how often the device says that it lives, at least.
            session_expiry_seconds: how long the hub keeps subscriptions and messages while the device is away.
            token_lifetime_seconds: of the tokens that it signs, one for each connection.
            timeout_seconds: how long each call waits for the hub.

        Raises:
            InvalidSettings: when the folder, or a file in it, is missing or damaged.
        """
        path = Path(folder)
        return cls(
            path,
            read_folder(path),
            suffix=suffix,
            will=will,
            keep_alive_seconds=keep_alive_seconds,
            session_expiry_seconds=session_expiry_seconds,
            token_lifetime_seconds=token_lifetime_seconds,
            timeout_seconds=timeout_seconds,
        )

    def __enter__(self) -> Device:
        """Connect."""
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the hub has accepted this device and the connection stands."""
        return self._client.is_connected()

    @property
    def protection(self) -> Protection:
        """What protects the connection.

        Raises:
            Unavailable: when there is none.
        """
        socket = self._client.socket()
        cipher = socket.cipher() if isinstance(socket, ssl.SSLSocket) else None
        if not isinstance(socket, ssl.SSLSocket) or cipher is None:
            raise Unavailable(f"{self.client_id} is not connected")
        return Protection(version=socket.version() or "", cipher=cipher[0])

    def connect(self) -> None:
        """Connect, and stay connected until `close`: a connection that is lost later is made anew by itself.

        Raises:
            AuthenticationFailed: the hub did not prove itself, or this device did not; with the hub's reason.
            NotAuthorized: the hub knows this device and does not let it in.
            Unavailable: the hub cannot be reached or does not answer.
        """
        host, port = self._device.host, self._device.port
        self._client.connect_timeout = self._timeout_seconds
        try:
            self._client.connect(
                host,
                port,
                self._keep_alive_seconds,
                clean_start=False if self._session_expiry_seconds else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=self._connect_properties(),
            )
        except OSError as error:
            raise unreachable(error, host, port) from error
        self._worker.start()
        self._client.loop_start()
        if not self._settled.wait(self._timeout_seconds):
            self._refusal = Unavailable(f"the hub did not answer within {self._timeout_seconds:g} s")
        if self._refusal is not None:
            self.close()
            raise self._refusal

    def close(self) -> None:
        """Say goodbye and end the connection; does nothing the second time. A closed device stays closed."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._client.disconnect()
        self._client.loop_stop()
        self._received.put(None)
        if self._worker.is_alive() and threading.current_thread() is not self._worker:
            self._worker.join(self._timeout_seconds)

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> None:
        """Publish one message and wait until the hub has acknowledged it (QoS 0: until it is sent).

        While the connection is lost, a message of QoS 1 or 2 waits for the next one; after a time-out it may still
        arrive.

        Raises:
            NotAuthorized: this device may not publish there; with the hub's reason.
            TopicNameInvalid: the topic holds a wildcard, or breaks another rule.
            PayloadTooLarge: the message is larger than the hub takes.
            Unavailable: no acknowledgement came in time.
        """
        name = topic_name(topic)
        data = payload.encode() if isinstance(payload, str) else payload
        limit = self._max_packet_bytes
        size = len(data) + len(name.encode()) + 10  # the fixed header, two lengths, packet id, no properties
        if limit is not None and size > limit:
            raise PayloadTooLarge(f"the message on {name} makes a packet of {size} bytes, the hub takes {limit}")
        info = self._client.publish(name, data, qos, retain)
        if qos == 0:
            self._wait_until_sent(info)
            return
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise Unavailable(f"the message on {name} could not be sent: {paho.error_string(info.rc)}")
        self._answers.take(info.mid, self._timeout_seconds)

    def subscribe(self, filter: str, callback: Callable[[Message], object], qos: int = 1) -> None:
        """Have `callback` called with each message that `filter` takes in, also after the connection was made anew.

        Raises:
            NotAuthorized: this device may not receive that; with the hub's reason.
            TopicFilterInvalid: the filter breaks a rule.
            Unavailable: the connection is lost, or no acknowledgement came in time.
        """
        wanted = topic_filter(filter)
        before = self._subscriptions.get(wanted)
        self._subscriptions[wanted] = (qos, callback)
        try:
            code, packet_id = self._client.subscribe(wanted, qos)
            if packet_id is None:
                raise Unavailable(f"{wanted} could not be subscribed: {paho.error_string(code)}")
            self._answers.take(packet_id, self._timeout_seconds)
        except BaseException:
            if before is None:
                self._subscriptions.pop(wanted, None)
            else:
                self._subscriptions[wanted] = before
            raise

    # --- setting up

    def _make_client(self, context: ssl.SSLContext, will: Message | None) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self.client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        client.tls_set_context(context)
        client.reconnect_delay_set(0, 0)  # the pauses are ours
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        return client

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.SessionExpiryInterval = self._session_expiry_seconds
        return properties

    # --- what the network thread calls

    def _on_pre_connect(self, client: paho.Client, _data: object) -> None:
        self._trouble = ""
        try:
            secret = user_and_secret(self._folder, self._device, self._token_lifetime_seconds)
        except LockgateError as error:
            if not self._has_connected:
                raise
            log.warning("%s goes on with its last secret: %s", self.client_id, error)
            return
        if secret is not None:
            client.username_pw_set(*secret)

    def _on_connect(
        self, client: paho.Client, _data: object, flags: paho.ConnectFlags, code: ReasonCode, given: Properties | None
    ) -> None:
        if code.is_failure:
            self._refusal = refusal(code.value, _reason_string(given), "the connection")
            return  # paho closes, and calls _on_disconnect
        self._attempt = 0
        self._has_connected = True
        self._refusal = None
        self._max_packet_bytes = getattr(given, "MaximumPacketSize", None)
        if not flags.session_present:
            for wanted, (qos, _callback) in list(self._subscriptions.items()):
                _code, packet_id = client.subscribe(wanted, qos)
                if packet_id is not None:
                    self._answers.forget(packet_id)
        self._settled.set()

    def _on_disconnect(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        given: Properties | None,
    ) -> None:
        self._connection += 1
        if self._has_connected:
            if not self._closing.is_set():
                by_hub = flags.is_disconnect_packet_from_server
                reason = refusal(code.value, _reason_string(given), "to go on") if by_hub else lost(self._trouble)
                log.warning("%s lost its connection: %s", self.client_id, reason)
            self._pause(client)
            return
        if self._refusal is None:
            self._refusal = lost(self._trouble)
        client.loop_stop()
        self._settled.set()

    def _on_connect_fail(self, client: paho.Client, _data: object) -> None:
        self._pause(client)

    def _pause(self, client: paho.Client) -> None:
        if not self._closing.is_set():
            self._attempt += 1
            self._closing.wait(pause_seconds(self._attempt, random.random()))
        if self._closing.is_set():
            client.loop_stop()

    def _on_publish(
        self, _client: paho.Client, _data: object, packet_id: int, code: ReasonCode, given: Properties
    ) -> None:
        error = refused_message(code.value, _reason_string(given)) if code.is_failure else None
        self._answers.put(packet_id, error)

    def _on_subscribe(
        self, _client: paho.Client, _data: object, packet_id: int, codes: list[ReasonCode], given: Properties | None
    ) -> None:
        error = next((refusal(c.value, _reason_string(given), "the subscription") for c in codes if c.is_failure), None)
        if not self._answers.put(packet_id, error) and error is not None:
            log.warning("%s subscribed in vain after its connection was made anew: %s", self.client_id, error)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and self._received.qsize() >= MAX_WAITING:
            log.warning("%s dropped a message on %s: callbacks are too slow", self.client_id, message.topic)
            return
        self._received.put((self._connection, message))

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._trouble = text

    # --- what the second thread runs

    def _run_callbacks(self) -> None:
        while (item := self._received.get()) is not None:
            connection, message = item
            self._call_back(
                Message(TopicName(message.topic), bytes(message.payload), message.qos, bool(message.retain))
            )
            if connection == self._connection and not self._closing.is_set():
                self._client.ack(message.mid, message.qos)

    def _call_back(self, message: Message) -> None:
        for wanted, (_qos, callback) in list(self._subscriptions.items()):
            if filter_matches(_without_share(wanted), message.topic):
                try:
                    callback(message)
                except Exception:
                    log.exception("a callback of %s failed on a message on %s", self.client_id, message.topic)

    def _wait_until_sent(self, info: paho.MQTTMessageInfo) -> None:
        # paho tells a sent message of QoS 0 like an acknowledged one, and a lost one by `rc` alone.
        try:
            info.wait_for_publish(self._timeout_seconds)
        except (RuntimeError, ValueError):  # not connected
            pass
        else:
            if not info.is_published():
                self._answers.forget(info.mid)
            elif info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._answers.take(info.mid, self._timeout_seconds)
                return
        raise Unavailable("the message was not sent: the connection is lost", reason="connection lost")


def _without_share(wanted: str) -> str:
    """Give the part of a shared subscription that matches topics (MQTT 5.0 section 4.8.2)."""
    return wanted.split("/", 2)[2] if wanted.startswith("$share/") and wanted.count("/") >= 2 else wanted


def _reason_string(given: Any) -> str:
    return str(getattr(given, "ReasonString", ""))
