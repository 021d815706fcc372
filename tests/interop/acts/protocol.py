"""Faults in MQTT itself, and in the WebSocket around it."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_websocket

from lockgate.adapters.mqtt.packets import V5, Subscribe, SubscriptionRequest
from lockgate.adapters.mqtt.wire import encode
from tests.interop.acts.stage import (
    Made,
    Stage,
    Told,
    act,
    connect,
    mosquitto_says,
    own_address,
    reference_in,
    run,
    s_client,
    sends,
    speaks,
    works,
)
from tests.support.hub import RunningHub
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import PahoClient
from tests.support.peers import Login

V311_CONNECT = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc"


@act("TLS, and then no CONNECT")
def no_connect(stage: Stage) -> Made:
    address = own_address()
    s_client(stage.tight, address, "-quiet")  # so it stays, and says nothing
    return Made({"address": address}, lambda _told: works(stage.device("x509", hub=stage.tight)), stage.tight)


@act("HTTPS to the port of MQTT")
def https(stage: Stage) -> Made:
    address, hub = own_address(), stage.roomy
    words = ["curl", "-s", "--interface", address, "--cacert", str(hub.ca_path), "-A", "x" * 40]
    assert run(*words, f"https://localhost:{hub.port}/").returncode != 0

    def mend(_told: Told) -> None:
        assert b"MQTT over WebSocket" in run(*words, f"https://localhost:{hub.websocket_port}/").stdout

    return Made({"address": address}, mend, hub)


def raw(stage: Stage, data: bytes, hub: RunningHub | None = None) -> Made:
    """Send bytes without proving anything."""
    hub = hub or stage.roomy
    address = own_address()
    speaks(hub, address, data)
    return Made({"address": address}, lambda _told: works(stage.device("x509", hub=hub)), hub)


def raw_within(stage: Stage, data: bytes, hub: RunningHub | None = None) -> Made:
    """Connect with a certificate, and go on with bytes; see that the hub's goodbye carries the reference."""
    hub = hub or stage.roomy
    shown = stage.device("x509", hub=hub)
    heard = speaks(hub, own_address(), sends(connect(shown)) + data, shown)
    reference = reference_in(heard.decode("latin-1"))
    assert reference
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), hub, reference)


@act("bytes that are no MQTT")
def no_mqtt(stage: Stage) -> Made:
    return raw(stage, b"\xff\x00\xff\x00")


@act("MQTT 3.1")
def mqtt_3_1(stage: Stage) -> Made:
    address, hub = own_address(), stage.roomy
    shown = stage.device("x509")
    words = ["mosquitto_pub", "-h", "localhost", "-p", str(hub.port), "-A", address, "--cafile", str(shown.ca)]
    words += ["--cert", str(shown.certificate), "--key", str(shown.key), "-i", shown.client_id, "-t", "x", "-n"]
    done = run(*words, "-V", "mqttv31")
    if done.returncode == 0 or (b"rotocol version" in done.stderr and b"Invalid" in done.stderr):
        speaks(hub, address, b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03abc")  # this release has forgotten it

    def mend(_told: Told) -> None:
        assert run(*words, "-V", "mqttv311").returncode == 0

    return Made({"address": address}, mend, hub)


@act("MQTT 6")
def mqtt_6(stage: Stage) -> Made:
    return raw(stage, V311_CONNECT.replace(b"MQTT\x04", b"MQTT\x06"))


@act("a second CONNECT")
def second_connect(stage: Stage) -> Made:
    return raw_within(stage, V311_CONNECT)


@act("a wildcard in a topic name")
def wildcard_topic(stage: Stage) -> Made:
    return raw_within(stage, b"\x30\x06\x00\x03a/#\x00")


@act("a topic that is no UTF-8")
def topic_no_utf8(stage: Stage) -> Made:
    return raw_within(stage, b"\x30\x05\x00\x02\xff\xfe\x00")


@act("a topic filter with # in the middle")
def bad_filter(stage: Stage) -> Made:
    shown = stage.device("x509")
    asked = encode(Subscribe(7, (SubscriptionRequest("a/#/b"),)), V5)
    heard = speaks(stage.roomy, own_address(), sends(connect(shown)) + asked + b"\xe0\x00", shown)

    def mend(_told: Told) -> None:
        with PahoClient(shown) as client:
            assert client.subscribe(f"devices/{shown.client_id}/#").code < 0x80

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference_in(heard.decode("latin-1")))


@act("a topic alias above the maximum")
def bad_alias(stage: Stage) -> Made:
    shown = stage.device("x509")
    topic = f"devices/{shown.client_id}/x"
    client = PahoClient(shown)
    assert client.connect().code == 0
    client.send(topic, "x", 1, TopicAlias=9999)
    reference = reference_in(client.end().reason)
    client.close()
    assert reference

    def mend(_told: Told) -> None:
        with PahoClient(shown) as again:
            assert again.publish(topic, "x", 1, TopicAlias=1).code < 0x80

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("text that is no UTF-8")
def bad_text(stage: Stage) -> Made:
    shown = stage.device("x509")
    topic = f"devices/{shown.client_id}/x"
    with NodeClient(shown) as client:
        client.connected()
        broken: Any = {"type": "Buffer", "data": [255, 254]}
        assert client.publish(topic, broken, properties={"payloadFormatIndicator": True})["code"] == 0x99
        assert client.publish(topic, "text", properties={"payloadFormatIndicator": True})["event"] == "published"
    return Made({"client_id": shown.client_id}, lambda _told: None, stage.roomy)


# WebSocket

UPGRADE = [
    "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
    "-H", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]  # fmt: skip
MQTT = ["-H", "Sec-WebSocket-Protocol: mqtt"]


def curl(hub: RunningHub, address: str, path: str, *words: str) -> tuple[str, str]:
    """Ask for a path of the WebSocket door; give the status, and the reference of a refusal."""
    url = f"https://localhost:{hub.websocket_port}{path}"
    options = ["--http1.1", "-s", "-i", "-m", "5", "--interface", address, "--cacert", str(hub.ca_path)]
    options += ["--speed-limit", "1", "--speed-time", "1"]  # a WebSocket that is open has no end by itself
    text = run("curl", *options, *words, url).stdout.decode("latin-1")
    reference = text.partition("ockgate-Reference: ")[2][:9]
    if reference:
        assert f"Reference: {reference}\n" in text.partition("\r\n\r\n")[2], text
    return text.split(" ")[1], reference


def by_curl(stage: Stage, path: str, bad: list[str], good: list[str], status: str) -> Made:
    """Ask wrongly, then rightly."""
    address, hub = own_address(), stage.roomy
    answer, reference = curl(hub, address, path, *bad)
    assert answer == status
    assert reference

    def mend(_told: Told) -> None:
        assert curl(hub, address, "/mqtt", *good)[0] == "101"

    return Made({"address": address}, mend, hub, reference)


@act("WebSocket: wrong path")
def wrong_path(stage: Stage) -> Made:
    return by_curl(stage, "/ws", [*UPGRADE, *MQTT], [*UPGRADE, *MQTT], "404")


@act("WebSocket: a page of another origin")
def wrong_origin(stage: Stage) -> Made:
    page = ["-H", "Origin: https://app.example"]
    made = by_curl(stage, "/mqtt", [*UPGRADE, *MQTT, *page], [*UPGRADE, *MQTT, *page], "403")

    def mend(told: Told) -> None:
        assert '"https://app.example"' in told["fix"]
        path = stage.roomy.home / "lockgate.toml"
        text = path.read_text()
        path.write_text(text.replace("[mqtt]\n", '[mqtt]\nwebsocket_origins = ["https://app.example"]\n', 1))
        stage.roomy.restart()
        made.mend(told)

    return Made(made.who, mend, made.hub, made.reference)


@act("WebSocket: no subprotocol")
def no_subprotocol(stage: Stage) -> Made:
    return by_curl(stage, "/mqtt", UPGRADE, [*UPGRADE, *MQTT], "400")


@act("WebSocket: a browser's GET")
def browser(stage: Stage) -> Made:
    return by_curl(stage, "/mqtt", [], [*UPGRADE, *MQTT], "426")


@act("WebSocket: MQTT without one")
def mqtt_without_websocket(stage: Stage) -> Made:
    shown, address = stage.device("x509"), own_address()
    with suppress(subprocess.TimeoutExpired):  # it tries again and again
        mosquitto_says(shown.but(port=stage.roomy.websocket_port), "x", "-A", address)

    def mend(_told: Told) -> None:
        assert mosquitto_says(shown, f"devices/{shown.client_id}/x").returncode == 0

    return Made({"address": address}, mend, stage.roomy)


def websocket_says(hub: RunningHub, shown: Login, message: str | bytes) -> str:
    """Say something over a WebSocket as the client library of Python does; give the reason of the close."""
    context = ssl.create_default_context(cafile=str(hub.ca_path))
    context.load_cert_chain(str(shown.certificate), str(shown.key))
    url = f"wss://localhost:{hub.websocket_port}/mqtt"
    with open_websocket(url, ssl=context, subprotocols=["mqtt"]) as socket:  # type: ignore[list-item]
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.reason


@act("WebSocket: a text frame")
def text_frame(stage: Stage) -> Made:
    shown = stage.device("x509")
    reason = websocket_says(stage.roomy, shown, "hello")
    reference = reference_in(reason)
    assert reference
    return Made({"device": shown.client_id}, lambda _told: works(shown), stage.roomy, reference)
