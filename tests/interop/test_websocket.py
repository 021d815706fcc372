"""MQTT over secure WebSocket, with clients that we did not write; at the other end paho on the native port."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import Connack, Connect, Disconnect, Packet, Pingreq, Pingresp
from tests.interop.conftest import Devices
from tests.support.hub import RunningHub
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import V5, V311, Heard, PahoClient
from tests.support.peers import ALL_KINDS, Login
from tests.support.peers import login as read_login

pytestmark = pytest.mark.process
VERSIONS = [V311, V5]
WSS: dict[str, object] = {"protocol": "wss", "path": "/mqtt"}
DEADLINE_SECONDS = 20.0


def web(hub: RunningHub, login: Login) -> Login:
    """Give a login with the port of the WebSocket door."""
    return login.but(port=hub.websocket_port)


# mqtt.js in node, and paho


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_mqttjs_speaks_with_the_native_port_at_each_qos(
    hub: RunningHub, devices: Devices, kind: str, version: int
) -> None:
    topic = f"meeting/web/js/{kind}/{version}"
    page = web(hub, devices(kind, "page"))
    with PahoClient(devices(kind, "native"), version) as native, NodeClient(page, version, options=WSS) as node:
        node.connected()
        node.subscribe(f"{topic}/in")
        native.subscribe(f"{topic}/out")
        for qos in (0, 1, 2):
            assert node.publish(f"{topic}/out", f"hello {qos}", qos)["event"] == "published"
            native.publish(f"{topic}/in", f"hello {qos}", qos)
        assert [native.message() for _ in range(3)] == [Heard(f"{topic}/out", f"hello {q}", q) for q in (0, 1, 2)]
        came = [node.message() for _ in range(3)]
        assert [(each["payload"], each["qos"]) for each in came] == [(f"hello {q}", q) for q in (0, 1, 2)]
        node.end()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_paho_speaks_with_the_native_port_at_each_qos(
    hub: RunningHub, devices: Devices, kind: str, version: int
) -> None:
    topic = f"meeting/web/paho/{kind}/{version}"
    page = PahoClient(web(hub, devices(kind, "page")), version, transport="websockets")
    with PahoClient(devices(kind, "native"), version) as native, page:
        page.subscribe(f"{topic}/in")
        native.subscribe(f"{topic}/out")
        large = "x" * 200_000
        for qos in (0, 1, 2):
            assert page.publish(f"{topic}/out", f"{large} {qos}", qos).code == 0
            native.publish(f"{topic}/in", f"{large} {qos}", qos)
        assert [native.message() for _ in range(3)] == [Heard(f"{topic}/out", f"{large} {q}", q) for q in (0, 1, 2)]
        assert [page.message() for _ in range(3)] == [Heard(f"{topic}/in", f"{large} {q}", q) for q in (0, 1, 2)]


def test_a_session_goes_on_from_one_door_to_the_other(hub: RunningHub, devices: Devices) -> None:
    login = devices("password", "wanderer")
    first = PahoClient(login, clean=False, expiry_seconds=600)
    first.connect()
    first.subscribe("meeting/wanderer")
    first.close()
    with PahoClient(devices("x509", "native")) as native:
        native.publish("meeting/wanderer", "waiting", 1)
    again = PahoClient(web(hub, login), clean=False, expiry_seconds=600, transport="websockets")
    assert again.connect().session_present
    assert again.message() == Heard("meeting/wanderer", "waiting", 1)
    again.close()


# The library websockets


def trust(login: Login) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(login.ca))


async def opened(hub: RunningHub, login: Login, **options: object) -> ClientConnection:
    url = f"wss://localhost:{hub.websocket_port}/mqtt"
    return await connect(url, ssl=trust(login), subprotocols=[Subprotocol("mqtt")], **options)  # type: ignore[arg-type]


async def answers(socket: ClientConnection, *packets: Packet) -> Packet:
    """Send packets in one message; give the answer, which must be one binary message of one packet."""
    await socket.send(b"".join(wire.encode(each, V5) for each in packets))
    data = await socket.recv()
    assert isinstance(data, bytes)
    found = wire.decode(data, 0, V5, 1_000_000)
    assert found is not None
    assert found[1] == len(data)
    return found[0]


def hello(login: Login) -> Connect:
    return Connect(V5, login.client_id, user_name=login.user_name, password=login.password.encode())


def run(main: object) -> None:
    asyncio.run(asyncio.wait_for(main, DEADLINE_SECONDS))  # type: ignore[arg-type]


@pytest.fixture
def login(devices: Devices) -> Login:
    return devices("password", "raw")


def test_the_hub_answers_mqtt_pings_and_goodbyes(hub: RunningHub, login: Login) -> None:
    async def main() -> None:
        async with await opened(hub, login) as socket:
            assert socket.subprotocol == "mqtt"
            assert isinstance(await answers(socket, hello(login)), Connack)
            assert await answers(socket, Pingreq()) == Pingresp()
            await (await socket.ping(b"WebSocket's own"))
            await socket.send(wire.encode(Disconnect(), V5))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1000

    run(main())


def test_packets_may_lie_in_frames_as_they_like(hub: RunningHub, login: Login) -> None:
    # [MQTT-6.0.0-2]
    async def main() -> None:
        async with await opened(hub, login) as socket:
            packet = wire.encode(hello(login), V5)
            for number in range(0, len(packet), 3):
                await socket.send(packet[number : number + 3])
            assert isinstance(wire.decode(bytes(await socket.recv(decode=False)), 0, V5, 10_000)[0], Connack)  # type: ignore[index]
            ping = wire.encode(Pingreq(), V5)
            await socket.send([ping[:1], ping[1:] + ping, ping])  # one message in three fragments
            came = b""
            while len(came) < 6:
                came += await socket.recv(decode=False)
            assert came == wire.encode(Pingresp(), V5) * 3

    run(main())


def test_a_stopping_hub_says_goodbye_in_mqtt_and_in_websocket(tmp_path: Path) -> None:
    async def main() -> None:
        with RunningHub(tmp_path / "hub") as hub:
            folder = hub.add_device("sensor", "password")
            login = Login("localhost", hub.port, hub.ca_path, "sensor", "sensor", (folder / "password").read_text())
            socket = await opened(hub, login)
            assert isinstance(await answers(socket, hello(login)), Connack)
            await asyncio.to_thread(hub.stop)
            last = wire.decode(bytes(await socket.recv(decode=False)), 0, V5, 10_000)
            assert last is not None
            assert last[0].code == 0x8B  # type: ignore[union-attr]
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1000

    run(main())


# Client certificates


@pytest.mark.parametrize(("asked", "code"), [("devices", 0x86), ("all", 0)])
def test_a_library_that_offers_http_shows_its_certificate_when_all_are_asked(
    tmp_path: Path, asked: str, code: int
) -> None:
    async def main() -> None:
        with RunningHub(tmp_path / "hub", settings=f'websocket_certificates = "{asked}"\n') as hub:
            login = read_login(hub.add_device("sensor", "x509"))
            context = trust(login)
            context.load_cert_chain(str(login.certificate), str(login.key))
            context.set_alpn_protocols(["http/1.1"])
            socket = await connect(
                f"wss://localhost:{hub.websocket_port}", ssl=context, subprotocols=[Subprotocol("mqtt")]
            )
            answer = await answers(socket, Connect(V5, "sensor"))
            assert isinstance(answer, Connack)
            assert answer.code == code
            await socket.close()

    run(main())


# Plain HTTPS


@pytest.mark.parametrize(("path", "status", "words"), [("/", 426, "MQTT"), ("/index.html", 404, "/mqtt")])
def test_a_person_with_a_browser_is_told_what_this_is(
    hub: RunningHub, login: Login, path: str, status: int, words: str
) -> None:
    connection = http.client.HTTPSConnection("localhost", hub.websocket_port, context=trust(login), timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, text.count("\n")) == (status, 2)
    assert words in text


def test_the_door_can_be_switched_off(tmp_path: Path) -> None:
    with RunningHub(tmp_path / "hub", settings="websocket_enabled = false\n") as hub:
        assert {door.transport for door in hub.doors if door.door == "mqtt"} == {"tcp"}
