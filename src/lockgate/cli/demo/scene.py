"""What happens in the demonstration: an office with a sensor and its control, and three who do not belong there."""

from __future__ import annotations

import queue
import random
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lockgate.cli.demo.stage import Stage
from lockgate.client import Device
from lockgate.client.options import tls_context
from lockgate.errors import LockgateError
from lockgate.home import DoorFacts
from lockgate.model.device import CredentialKind
from lockgate.model.message import Message
from lockgate.provision.folder import PASSWORD_FILE, read_folder

TEMPERATURE = "Office/Meetingroom/Temperature"
COMMAND = "Office/Meetingroom/Command"
READING_SECONDS = 1.0
ATTACK_SECONDS = 4.0
TOO_WARM_CELSIUS = 24.0
MAX_WAITING = 1000


class DoorOpened(msgspec.Struct, frozen=True):
    """The hub opened a door."""

    door: DoorFacts


class DeviceConnected(msgspec.Struct, frozen=True):
    """A device is in: how it proved who it is, and what protects its connection."""

    name: str
    auth: str
    version: str
    cipher: str


class MessageArrived(msgspec.Struct, frozen=True):
    """A message went from one device to another, through the hub."""

    sender: str
    receiver: str
    topic: str
    payload: str


class AttemptRefused(msgspec.Struct, frozen=True):
    """Somebody was refused, with the reason that the hub told."""

    who: str
    attempt: str
    reason: str


class AttemptSucceeded(msgspec.Struct, frozen=True):
    """Somebody got in who must not: the demonstration has failed."""

    who: str
    attempt: str


class Trouble(msgspec.Struct, frozen=True):
    """Something else went wrong."""

    what: str


Happening = DoorOpened | DeviceConnected | MessageArrived | AttemptRefused | AttemptSucceeded | Trouble


class Scene:
    """Plays the demonstration; `happenings` tells what goes on."""

    def __init__(self) -> None:
        self.happenings: queue.Queue[Happening] = queue.Queue(MAX_WAITING)
        self._stage = Stage()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._messages = 0
        self._refused: set[str] = set()
        self._failure = ""

    def __enter__(self) -> Scene:
        """Start the hub, provision the devices, let everybody play."""
        self._stage.__enter__()
        try:
            self._set_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send everybody home, and remove all traces."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._stage.__exit__(kind, error, trace)

    def problem(self, is_short: bool) -> str:
        """Say what went wrong, "" when nothing did. A demonstration that was cut `is_short` need not be complete."""
        if self._failure:
            return self._failure
        if is_short:
            return ""
        if self._messages == 0:
            return "no message crossed the hub"
        missing = {"eavesdropper", "impostor", "lamp"} - self._refused
        return f"not yet refused when the time was up: {', '.join(sorted(missing))}" if missing else ""

    def _set_up(self) -> None:
        stage = self._stage
        for door in stage.doors:
            self._tell(DoorOpened(door))
        sensor = stage.add_device("sensor", CredentialKind.JWT_ES256, publish=[TEMPERATURE], receive=[COMMAND])
        office = stage.add_device("office", CredentialKind.X509, publish=[COMMAND], receive=["Office/#"])
        impostor = stage.add_device("impostor", CredentialKind.PASSWORD)
        lamp = stage.add_device("lamp", CredentialKind.JWT_RS256)
        self._play(self._office, office)
        self._play(self._sensor, sensor)
        self._play(self._intruders, impostor, lamp)

    def _play(self, part: Callable[..., None], *folders: Path) -> None:
        def run() -> None:
            try:
                part(*folders)
            except LockgateError as error:
                if not self._stop.is_set():
                    self._failure = f"{part.__name__.strip('_')}: {error}"
                    self._tell(Trouble(self._failure))

        thread = threading.Thread(target=run, name=part.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    # The cast

    def _sensor(self, folder: Path) -> None:
        celsius = 22.5
        with Device.open(folder) as device:
            self._tell_connected(device, "JWT, ES256")

            def on_command(message: Message) -> None:
                nonlocal celsius
                celsius -= 3.0
                self._tell_message("office", "sensor", message)

            device.subscribe(COMMAND, on_command)
            while not self._stop.wait(READING_SECONDS):
                celsius += random.uniform(0.3, 1.0)
                device.publish(TEMPERATURE, f"{celsius:.1f}")

    def _office(self, folder: Path) -> None:
        with Device.open(folder) as device:
            self._tell_connected(device, "X.509 certificate")
            is_warned = False

            def on_reading(message: Message) -> None:
                nonlocal is_warned
                self._tell_message("sensor", "office", message)
                is_warm = float(message.payload) > TOO_WARM_CELSIUS
                if is_warm or not is_warned:
                    device.publish(COMMAND, "open the window" if is_warm else "thank you")
                    is_warned = True

            device.subscribe(TEMPERATURE, on_reading)
            self._stop.wait()

    def _intruders(self, impostor: Path, lamp: Path) -> None:
        port = self._stage.tls_port
        context = tls_context(impostor, read_folder(impostor))
        password = (impostor / PASSWORD_FILE).read_text()
        attempts: list[tuple[str, str, Callable[[], str]]] = [
            ("eavesdropper", "connect without credentials", lambda: knock(port, context, "eavesdropper", None, None)),
            ("impostor", "connect as 'sensor'", lambda: knock(port, context, "sensor", "impostor", password)),
            ("lamp", f"subscribe to {TEMPERATURE}", lambda: self._overreach(lamp)),
        ]
        while not self._stop.wait(0.5):
            for who, attempt, act in attempts:
                self._attempt(who, attempt, act)
            self._stop.wait(ATTACK_SECONDS)

    def _overreach(self, folder: Path) -> str:
        try:
            with Device.open(folder) as device:
                device.subscribe(TEMPERATURE, lambda _: None)
        except LockgateError as error:
            return error.reason
        return ""

    def _attempt(self, who: str, attempt: str, act: Callable[[], str]) -> None:
        reason = act()
        if self._stop.is_set():
            return
        if reason:
            self._refused.add(who)
            self._tell(AttemptRefused(who, attempt, reason))
        else:
            self._failure = f"{who} was not refused: {attempt}"
            self._tell(AttemptSucceeded(who, attempt))

    # What is told

    def _tell(self, happening: Happening) -> None:
        try:
            self.happenings.put_nowait(happening)
        except queue.Full:  # nobody looks: the newest is not shown
            return

    def _tell_connected(self, device: Device, auth: str) -> None:
        protection = device.protection
        self._tell(DeviceConnected(device.name, auth, protection.version, protection.cipher))

    def _tell_message(self, sender: str, receiver: str, message: Message) -> None:
        self._messages += 1
        self._tell(MessageArrived(sender, receiver, message.topic, message.payload.decode("utf-8", "replace")))


def knock(port: int, context: ssl.SSLContext, client_id: str, user: str | None, password: str | None) -> str:
    """Try to connect by MQTT 5.0 over TLS; give the reason of the refusal, "" when the hub let the client in."""
    answered = threading.Event()
    reasons: list[str] = []

    def on_connect(
        _client: paho.Client, _data: object, _flags: paho.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        told = getattr(properties, "ReasonString", "")
        reasons.append(f"{told or code}" if code.is_failure else "")
        answered.set()

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.tls_set_context(context)
    client.on_connect = on_connect
    if user is not None:
        client.username_pw_set(user, password)
    client.connect("localhost", port, 60)
    client.loop_start()
    answered.wait(10)
    client.disconnect()
    client.loop_stop()
    return reasons[0] if reasons else "no answer"
