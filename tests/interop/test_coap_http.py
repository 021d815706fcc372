"""CoAP by HTTP, and devices' own resources: a hub, an office, curl, and devices that serve over their own session."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator

import pytest

from lockgate.adapters.coap.handed import OnBehalf, Reply, decode_reply, framed
from lockgate.net.local import connected, read_frame
from tests.conformance.coap import CON, CONTENT, GET, PUT, URI_PATH, Message, code
from tests.conformance.dtls import DtlsPeer
from tests.support.coap_lamp import LONG, Lamp
from tests.support.hub import RunningHub

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(tmp_path_factory.mktemp("hub"), office=True, coap=("device_answer_seconds = 2",))
    with made as running:
        for name in ("lamp", "phone", "spy"):
            running.add_device(name, "x509")
        for operation in ("publish", "receive"):
            running.lockgate("policy", "allow", "--device", "phone", f"--{operation}", "rooms/#")
            running.lockgate("policy", "allow", "--device", "phone", f"--{operation}", "$devices/lamp/#")
        yield running


@pytest.fixture(scope="module")
def lamp(hub: RunningHub) -> Iterator[Lamp]:
    with Lamp(hub, "lamp") as lamp:
        yield lamp


def own(path: str) -> tuple[tuple[int, bytes], ...]:
    return tuple((URI_PATH, level.encode()) for level in ("$devices", "lamp", *path.split("/")))


@pytest.mark.requirement("C4")
def test_a_coap_client_reaches_a_devices_own_resource(hub: RunningHub, lamp: Lamp) -> None:
    phone = DtlsPeer.by_certificate(hub, "phone")
    phone.send(Message(CON, PUT, 10, b"1", own("led"), b"on"))
    phone.receive()
    assert lamp.led == b"on"
    phone.send(Message(CON, GET, 11, b"2", own("led")))
    answer = phone.receive()
    assert (answer.code, answer.token, answer.payload) == (CONTENT, b"2", b"on")
    phone.send(Message(CON, GET, 12, b"3", own("nothing")))
    assert phone.receive().code == code("4.04")


def test_a_devices_own_resource_is_closed_to_who_has_no_rule(hub: RunningHub, lamp: Lamp) -> None:
    before = len(lamp.asked)
    spy = DtlsPeer.by_certificate(hub, "spy")
    for method in (GET, PUT):
        spy.send(Message(CON, method, 10 + method, b"1", own("led")))
        assert spy.receive().code == code("4.03")
    assert len(lamp.asked) == before


def ask_gate(hub: RunningHub, data: bytes) -> Reply | None:
    """Speak to the gate as the office does."""

    async def act() -> Reply | None:
        reader, writer = await connected(hub.home / "run" / "coap.sock")
        writer.write(data)
        try:
            return decode_reply(await read_frame(reader, 2_000_000))
        except EOFError:
            return None
        finally:
            writer.close()

    return asyncio.run(act())


def test_the_hatch_is_open_to_the_hubs_own_user_alone_and_takes_frames_alone(hub: RunningHub, lamp: Lamp) -> None:
    facts = os.stat(hub.home / "run" / "coap.sock")
    assert stat.S_IMODE(facts.st_mode) == 0o600
    for junk in (b"\0\0\0\1x", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
        assert ask_gate(hub, junk) is None
    nobody = OnBehalf("stove", "x509", 1, None, "192.0.2.7", 1, GET, own("long"), b"")
    reply = ask_gate(hub, framed(nobody))
    assert reply is not None
    assert (reply.code, reply.payload[:15]) == (code("4.03"), b"device not regi")
    assert len(LONG) > 1024
