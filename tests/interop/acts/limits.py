"""Faults of measure: what is too much, too large, too fast or too late; and the hub's own ends of connections."""

from __future__ import annotations

import subprocess

from lockgate.adapters.mqtt.packets import Publish
from lockgate.adapters.mqtt.wire import encode
from lockgate.model.topic import topic_name
from tests.interop.acts.protocol import websocket_says
from tests.interop.acts.stage import (
    Made,
    Stage,
    Told,
    act,
    connect,
    mosquitto_says,
    own_address,
    reference_in,
    sends,
    speaks,
    wait_for,
    works,
)
from tests.support import mosquitto
from tests.support.paho_client import V311, PahoClient
from tests.support.peers import WAIT_SECONDS, Login, program

LARGE = "x" * 3000


@act("a packet too large")
def packet_too_large(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    topic = f"devices/{shown.client_id}/x"
    words = [*mosquitto.options(shown, mosquitto.V311), "-q", "1", "-t", topic, "-m", LARGE]

    def run() -> int:
        return subprocess.run([program("mosquitto_pub"), *words], capture_output=True, timeout=WAIT_SECONDS).returncode

    assert run() != 0

    def mend(_told: Told) -> None:
        stage.raises("mqtt.max_packet_bytes", 4096)
        assert run() == 0

    return Made({"client_id": shown.client_id, "step": "limit"}, mend, stage.tight)


@act("a CONNECT too large")
def connect_too_large(stage: Stage) -> Made:
    address = own_address()
    shown = stage.device("x509", hub=stage.tight)
    large = connect(shown.but(client_id="x" * 3000))
    speaks(stage.tight, address, sends(large))
    return Made({"address": address}, lambda _told: works(shown), stage.tight)


@act("a packet that does not come whole")
def not_whole(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    heard = speaks(stage.tight, own_address(), sends(connect(shown)) + b"\x30\x40\x00", shown)
    reference = reference_in(heard.decode("latin-1"))
    assert reference
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.tight, reference)


@act("silent for longer than the keep-alive")
def keep_alive(stage: Stage) -> Made:
    shown = stage.device("x509")
    heard = speaks(stage.roomy, own_address(), sends(connect(shown, 1)), shown)
    reference = reference_in(heard.decode("latin-1"))
    assert reference
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.roomy, reference)


@act("more in flight than the hub takes")
def receive_maximum(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    topic = topic_name(f"devices/{shown.client_id}/x")
    many = b"".join(encode(Publish(topic, b"x", 2, packet_id=number), 5) for number in (1, 2, 3))
    heard = speaks(stage.tight, own_address(), sends(connect(shown)) + many, shown)
    reference = reference_in(heard.decode("latin-1"))
    assert reference
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.tight, reference)


@act("more packets per second than allowed")
def rate(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    words = [*mosquitto.options(shown, mosquitto.V5), "-t", f"devices/{shown.client_id}/x", "-l"]

    def run() -> None:
        lines = "x\n" * 5000
        subprocess.run(
            [program("mosquitto_pub"), *words], input=lines.encode(), capture_output=True, timeout=WAIT_SECONDS
        )

    run()

    def mend(told: Told) -> None:
        stage.raises("hub.max_messages_per_second", 10_000)
        run()
        works(shown)
        now = stage.newest(stage.tight, {"client_id": shown.client_id})
        assert now is not None
        assert (now["reference"], now["count"]) == (told["reference"], told["count"])

    return Made({"client_id": shown.client_id}, mend, stage.tight)


@act("too many subscriptions")
def subscriptions(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    topics = [word for number in range(5) for word in ("-t", f"devices/{shown.client_id}/{number}")]
    words = [*mosquitto.options(shown, mosquitto.V5), "-q", "1", *topics, "-d", "-E"]

    def granted() -> str:
        done = subprocess.run([program("mosquitto_sub"), *words], capture_output=True, text=True, timeout=WAIT_SECONDS)
        return next(line for line in done.stdout.splitlines() if line.startswith("Subscribed"))

    assert "151" in granted() or "128" in granted()

    def mend(_told: Told) -> None:
        stage.raises("hub.max_subscriptions", 100)
        assert granted().endswith("1, 1, 1, 1, 1")

    return Made({"client_id": shown.client_id}, mend, stage.tight)


@act("too many sessions of one device")
def sessions(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    held = [PahoClient(shown.but(client_id=f"{shown.client_id}/{number}")) for number in range(2)]
    assert [client.connect().code for client in held] == [0, 0]
    answer = PahoClient(shown).connect()
    assert answer.code == 0x97
    for client in held:
        client.close()
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.tight, reference_in(answer.reason))


@act("too many retained messages")
def retained(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)

    def publish(number: int) -> tuple[int, str]:
        with PahoClient(shown) as client:
            answer = client.publish(f"devices/{shown.client_id}/{number}", "kept", 1, retain=True)
            return answer.code, reference_in(answer.reason)

    publish(1)
    publish(2)
    code, reference = publish(3)
    assert code == 0x97

    def mend(_told: Told) -> None:
        stage.raises("hub.max_retained_messages", 100)
        assert publish(3)[0] < 0x80

    return Made({"client_id": shown.client_id}, mend, stage.tight, reference)


@act("a message for a full queue")
def full_queue(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    topic = f"devices/{shown.client_id}/x"
    waiting = PahoClient(shown, expiry_seconds=600)
    assert waiting.connect().code == 0
    waiting.subscribe(topic, 1)
    waiting.close()
    for _ in range(5):
        assert mosquitto_says(shown.but(client_id=f"{shown.client_id}/pub"), topic).returncode == 0

    def is_counted(told: Told) -> bool:
        now = stage.newest(stage.tight, {"reference": told["reference"]})
        return now is not None and now["count"] == 2

    def mend(told: Told) -> None:
        wait_for(lambda: is_counted(told), "the second one")
        with PahoClient(shown, clean=False, expiry_seconds=0) as back:  # "have the client connect and read"
            assert [back.message().payload for _ in range(3)] == ["hello"] * 3

    return Made({"client_id": shown.client_id}, mend, stage.tight)


@act("a message larger than the client takes")
def larger_than_taken(stage: Stage) -> Made:
    shown = stage.device("x509")
    topic = f"devices/{shown.client_id}/x"
    with PahoClient(shown, connect_properties={"MaximumPacketSize": 200}) as small:
        small.subscribe(topic, 1)
        small.publish(topic, LARGE)
        small.publish(topic, "small")
        assert small.message().payload == "small"
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.roomy)


@act("WebSocket: a message too large")
def message_too_large(stage: Stage) -> Made:
    hub = stage.tight
    shown = stage.device("x509", hub=hub)
    websocket_says(hub, shown, b"\x10" + bytes(5000))
    return Made({"device": shown.client_id}, lambda _told: works(shown), hub)


# The hub's own ends


def listening(shown: Login) -> mosquitto.Subscriber:
    """Have mosquitto_sub listen."""
    return mosquitto.Subscriber(shown, f"devices/{shown.client_id}/#", version=mosquitto.V5)


@act("the same client id twice")
def taken_over(stage: Stage) -> Made:
    shown = stage.device("x509")
    with listening(shown):
        works(shown)

        def mend(_told: Told) -> None:
            with PahoClient(shown.but(client_id=f"{shown.client_id}/one"), V311):
                works(shown.but(client_id=f"{shown.client_id}/two"))

        return Made({"client_id": shown.client_id, "reason": "session taken over"}, mend, stage.roomy)


@act("the hub stops")
def stops(stage: Stage) -> Made:
    shown = stage.device("x509", hub=stage.tight)
    with listening(shown):
        stage.tight.restart()
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.tight)
