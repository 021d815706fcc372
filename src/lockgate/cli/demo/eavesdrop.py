"""`lockgate demo eavesdrop`: the same words over the lab port and over TLS, and what a listener on the wire reads."""

from __future__ import annotations

import socket
import ssl
import threading
from types import TracebackType

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console

from lockgate.cli.demo.stage import Stage
from lockgate.cli.output import safe, table
from lockgate.client.options import tls_context
from lockgate.errors import LockgateError
from lockgate.model.device import CredentialKind
from lockgate.provision.folder import PASSWORD_FILE, read_folder
from lockgate.provision.token import make_token

TOPIC = "devices/sensor/secret-recipe"
PAYLOAD = "two spoons of sugar"
CHUNK_BYTES = 65_536
EXCERPT_BYTES = 96


class Wiretap:
    """A relay on loopback that passes everything on to a port of the hub, and keeps a copy."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.target_port = 0
        self._lock = threading.Lock()
        self._heard = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Wiretap:
        """Listen."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.close()

    @property
    def heard(self) -> bytes:
        """Everything that passed, in both directions."""
        with self._lock:
            return bytes(self._heard)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
            except OSError:
                return
            hub = socket.create_connection(("127.0.0.1", self.target_port))
            for source, sink in ((client, hub), (hub, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                with self._lock:
                    self._heard += data
                sink.sendall(data)
        except OSError:
            pass  # the other direction has ended
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def compare(console: Console) -> None:
    """Send the same secrets over both doors, and show what was heard.

    Raises:
        LockgateError: when a secret was heard on the TLS port, or none on the lab port.
    """
    with Stage(with_lab=True) as stage, Wiretap() as lab, Wiretap() as tls:
        lab.target_port, tls.target_port = stage.lab_port, stage.tls_port
        by_password = stage.add_device("sensor", CredentialKind.PASSWORD, port=tls.port)
        by_token = stage.add_device("meter", CredentialKind.JWT_ES256, publish=[TOPIC], port=tls.port)
        password = (by_password / PASSWORD_FILE).read_text()
        token = make_token(by_token)
        context = tls_context(by_password, read_folder(by_password))
        for tap, protection in ((lab, None), (tls, context)):
            speak(tap.port, protection, "sensor", password)
            speak(tap.port, protection, "meter", token)
        secrets = {"password": password, "token": token, "topic": TOPIC, "payload": PAYLOAD}
        on_lab = {name for name, secret in secrets.items() if secret.encode() in lab.heard}
        on_tls = {name for name, secret in secrets.items() if secret.encode() in tls.heard}
        _show(console, list(secrets), on_lab, on_tls, lab.heard, tls.heard)
    if on_tls:
        raise LockgateError(f"heard on the TLS port: {', '.join(sorted(on_tls))}")
    if len(on_lab) != len(secrets):
        raise LockgateError(f"not heard on the lab port: {', '.join(sorted(set(secrets) - on_lab))}")


def speak(port: int, context: ssl.SSLContext | None, name: str, secret: str) -> None:
    """Connect, publish the payload at QoS 1, and leave."""
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)

    def on_connect(
        client: paho.Client, _data: object, _flags: paho.ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if not code.is_failure:
            client.publish(TOPIC, PAYLOAD, qos=1)

    def on_publish(_client: paho.Client, _data: object, _id: int, _code: ReasonCode, _properties: Properties) -> None:
        done.set()

    client.on_connect = on_connect
    client.on_publish = on_publish
    client.username_pw_set(name, secret)
    if context is not None:
        client.tls_set_context(context)
    client.connect("localhost" if context is not None else "127.0.0.1", port, 60)
    client.loop_start()
    is_done = done.wait(10)
    client.disconnect()
    client.loop_stop()
    if not is_done:
        raise LockgateError(f"{name} got no answer on port {port}")


def _show(
    console: Console, names: list[str], on_lab: set[str], on_tls: set[str], lab_bytes: bytes, tls_bytes: bytes
) -> None:
    made = table("what was sent", "read on the lab port", "read on the TLS port")
    for name in names:
        made.add_row(name, _heard(name in on_lab), _heard(name in on_tls))
    console.print(made)
    console.print()
    console.print(f"on the lab port, {len(lab_bytes)} bytes, like:  [red]{_excerpt(lab_bytes)}[/]")
    console.print(f"on the TLS port, {len(tls_bytes)} bytes, like:  [green]{_excerpt(tls_bytes[-400:])}[/]")
    console.print("A real capture shows the same: tcpdump -i lo -w FILE port PORT, and then strings FILE")


def _heard(is_heard: bool) -> str:
    return "[red]yes[/]" if is_heard else "[green]no[/]"


def _excerpt(data: bytes) -> str:
    return safe("".join(chr(b) if 32 <= b < 127 else "." for b in data[:EXCERPT_BYTES]))
