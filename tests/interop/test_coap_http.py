"""CoAP by HTTP, and devices' own resources: a hub, an office, curl, and devices that serve over their own session."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator

import aiocoap
import aiocoap.resource
import pytest

from lockgate.adapters.coap.handed import OnBehalf, Reply, decode_reply, framed
from lockgate.model.device import CredentialKind
from lockgate.net.local import connected, read_frame
from tests.conformance.coap import CON, CONTENT, GET, PUT, URI_PATH, Message, code
from tests.conformance.dtls import DtlsPeer
from tests.support.coap_lamp import LONG, Lamp
from tests.support.coap_peers import register
from tests.support.coap_web import Curl, password_of
from tests.support.hub import RunningHub

pytestmark = pytest.mark.process
SETTINGS = ("device_answer_seconds = 2", "nosec_enabled = true", "nosec_port = 0")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(tmp_path_factory.mktemp("hub"), office=True, coap=SETTINGS)
    register(made.home, "fan", CredentialKind.NOSEC, "127.0.0.1")
    with made as running:
        for name in ("lamp", "phone", "spy"):
            running.add_device(name, "x509")
        running.add_device("meter", "jwt-es256")
        running.add_device("clerk", "password")
        for operation in ("publish", "receive"):
            for name in ("phone", "meter", "clerk"):
                running.lockgate("policy", "allow", "--device", name, f"--{operation}", "rooms/#")
            for name in ("lamp", "fan"):
                running.lockgate("policy", "allow", "--device", "phone", f"--{operation}", f"$devices/{name}/#")
        yield running


@pytest.fixture(scope="module")
def lamp(hub: RunningHub) -> Iterator[Lamp]:
    with Lamp(hub, "lamp") as lamp:
        yield lamp


@pytest.fixture(scope="module")
def phone(hub: RunningHub) -> Curl:
    return Curl.by_certificate(hub, "phone")


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


# By HTTP: topics


@pytest.mark.requirement("C4")
def test_each_method_and_its_codes(phone: Curl) -> None:
    assert phone("GET", "/coap/rooms/1/t").status == 404
    made = phone("PUT", "/coap/rooms/1/t", "-H", "Content-Type: application/json", body=b"21")
    assert (made.status, made.body) == (201, b"")
    assert phone("PUT", "/coap/rooms/1/t", "-H", "Content-Type: application/json", body=b"22").status == 204
    got = phone("GET", "/coap/rooms/1/t")
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"22", "application/json")
    assert got.headers["cache-control"] == "private, max-age=60"
    head = phone("HEAD", "/coap/rooms/1/t")
    assert (head.status, head.headers["content-length"], head.headers["etag"]) == (200, "2", got.headers["etag"])
    assert phone("POST", "/coap/rooms/1/t", body=b"rung").status == 204
    assert phone("GET", "/coap/rooms/1/t").body == b"22"
    assert phone("DELETE", "/coap/rooms/1/t").status == 204
    assert phone("GET", "/coap/rooms/1/t").status == 404
    assert (phone("PATCH", "/coap/rooms/1/t").status, phone("BREW", "/coap/rooms/1/t").status) == (405, 501)


@pytest.mark.requirement("C4")
def test_formats_conditions_and_ages(phone: Curl) -> None:
    path = "/coap/rooms/2/t"
    assert phone("PUT", path, "-H", "Content-Type: text/html", body=b"x").status == 415
    assert phone("PUT", path, "-H", "Content-Type: application/coap-payload;cf=9999", body=b"x").status == 201
    assert phone("GET", path).headers["content-type"] == "application/coap-payload;cf=9999"
    assert phone("PUT", path, "-H", "Cache-Control: max-age=100", "-H", "If-None-Match: *", body=b"y").status == 412
    etag = phone("GET", path).headers["etag"]
    assert phone("PUT", path, "-H", 'If-Match: "00"', body=b"y").status == 412
    changed = phone("PUT", path, "-H", f"If-Match: {etag}", "-H", "Cache-Control: max-age=100", body=b"y")
    assert changed.status == 204
    got = phone("GET", path)
    assert 80 <= int(got.headers["cache-control"].removeprefix("private, max-age=")) <= 100
    same = phone("GET", path, "-H", f"If-None-Match: {got.headers['etag']}")
    assert (same.status, same.body) == (304, b"")
    assert phone("GET", path, "-H", f"If-None-Match: {etag}").status == 200
    assert phone("GET", path, "-H", "Accept: application/cbor").status == 406
    assert phone("GET", path, "-H", "Accept: application/cbor, */*;q=0.1").status == 200


@pytest.mark.requirement("C4")
def test_lists_and_discovery_are_links(phone: Curl) -> None:
    phone("PUT", "/coap/rooms/3/t", body=b"3")
    listed = phone("GET", "/coap/?filter=rooms/%2B/t")
    assert (listed.status, listed.headers["content-type"]) == (200, "application/link-format")
    assert "</rooms/3/t>" in listed.text
    assert "</rooms/3/t>" in phone("GET", "/coap/.well-known/core").text
    assert phone("GET", "/coap/rooms/3/t?nonsense=1").status == 400


@pytest.mark.requirement("C4")
def test_bodies_are_whole_here_and_too_long_ones_are_refused(phone: Curl) -> None:
    body = LONG * 20  # 57,000 bytes
    assert phone("PUT", "/coap/rooms/long", body=body).status == 201
    assert phone("GET", "/coap/rooms/long").body == body
    assert phone("PUT", "/coap/rooms/long", body=body * 2).status == 413


@pytest.mark.requirement("C4")
def test_a_token_and_a_password_are_taken_and_nobody_is_not(hub: RunningHub, phone: Curl) -> None:
    meter = Curl(hub, "-H", f"Authorization: Bearer {hub.token(hub.folder / 'device-meter')}")
    clerk = Curl(hub, "--user", f"clerk:{password_of(hub.folder / 'device-clerk')}")
    assert meter("PUT", "/coap/rooms/4/t", body=b"4").status == 201
    assert clerk("GET", "/coap/rooms/4/t").body == b"4"
    for nobody in (
        Curl(hub),
        Curl(hub, "--user", "clerk:wrong"),
        Curl(hub, "-H", "Authorization: Bearer eyJh.eyJz.AAAA"),
        Curl(hub, "-H", "Authorization: Bearer opaque"),
    ):
        answer = nobody("GET", "/coap/rooms/4/t")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "Bearer" in answer.headers["www-authenticate"]


# By HTTP: devices' own resources


@pytest.mark.requirement("C4")
def test_a_devices_own_resources_by_http(phone: Curl, lamp: Lamp) -> None:
    url = "/coap/$devices/lamp"
    assert phone("PUT", f"{url}/led", body=b"blue").status == 204
    got = phone("GET", f"{url}/led")
    assert (got.body, got.headers["content-type"], got.headers["etag"]) == (b"blue", "application/json", '"626c7565"')
    assert phone("GET", f"{url}/led", "-H", 'If-None-Match: "626c7565"').status == 304
    assert phone("GET", f"{url}/echo?a=1&b=%26").text == "a=1&b=&"
    assert phone("GET", f"{url}/echo").headers["cache-control"] == "private, no-cache"
    made = phone("POST", f"{url}/made", body=b"x")
    assert (made.status, made.headers["location"]) == (201, "/coap/$devices/lamp/made/a%20b")
    assert phone("DELETE", f"{url}/gone").status == 204
    assert phone("GET", f"{url}/odd").headers["content-type"] == "application/coap-payload;cf=65001"
    missing = phone("GET", f"{url}/nothing")
    assert (missing.status, missing.text) == (404, "no such thing\n")


@pytest.mark.requirement("C4")
def test_long_bodies_go_to_the_device_in_blocks_both_ways(phone: Curl, lamp: Lamp) -> None:
    assert phone("PUT", "/coap/$devices/lamp/led", body=LONG).status == 204
    assert lamp.led == LONG
    assert phone("GET", "/coap/$devices/lamp/long").body == LONG


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("4.00", 400), ("4.01", 403), ("4.02", 400), ("4.03", 403), ("4.05", 400), ("4.06", 406), ("4.08", 502),
        ("4.09", 409), ("4.12", 412), ("4.13", 413), ("4.15", 415), ("4.22", 422), ("4.29", 429), ("5.00", 500),
        ("5.01", 501), ("5.02", 502), ("5.03", 503), ("5.04", 504), ("5.05", 502),
    ],
)  # fmt: skip
def test_what_a_device_says_comes_as_http_says_it(phone: Curl, lamp: Lamp, said: str, status: int) -> None:
    answer = phone("GET", f"/coap/$devices/lamp/code/{said}")
    assert (answer.status, answer.text) == (status, "because\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers.get("retry-after") == ("7" if status in (429, 503) else None)


@pytest.mark.requirement("C4")
def test_a_device_that_is_silent_resets_or_is_away(phone: Curl, lamp: Lamp) -> None:
    assert phone("GET", "/coap/$devices/lamp/mute").status == 504
    assert phone("GET", "/coap/$devices/lamp/rst").status == 502
    assert phone("GET", "/coap/$devices/stove/led").status == 403
    assert phone("GET", "/coap/$devices/phone/led").status == 403


def test_a_gate_that_is_away_is_503_and_its_return_is_noticed(hub: RunningHub) -> None:
    path = hub.home / "run" / "coap.sock"
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        answer = Curl.by_certificate(hub, "phone")("GET", "/coap/rooms/1/t")
    finally:
        aside.rename(path)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert Curl.by_certificate(hub, "phone")("GET", "/coap/rooms/1/t").status in (200, 404)


# A device that others wrote


@pytest.mark.requirement("C4")
def test_aiocoap_serves_its_own_resources_over_the_link_that_it_opened(hub: RunningHub, phone: Curl) -> None:
    class Fan(aiocoap.resource.Resource):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.speed = b"slow"

        async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
            return aiocoap.Message(payload=self.speed, content_format=0)

        async def render_put(self, request: aiocoap.Message) -> aiocoap.Message:
            self.speed = request.payload
            return aiocoap.Message(code=aiocoap.CHANGED)

    async def act() -> None:
        site = aiocoap.resource.Site()
        site.add_resource(["fan"], Fan())
        context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", 0))
        url = f"coap://127.0.0.1:{hub.plain_coap_port}/x"
        try:
            challenge = await context.request(aiocoap.Message(code=aiocoap.GET, uri=url)).response
            hello = aiocoap.Message(code=aiocoap.GET, uri=url, echo=challenge.opt.echo)
            await asyncio.wait_for(context.request(hello).response, 15)
            put = await asyncio.to_thread(phone, "PUT", "/coap/$devices/fan/fan", body=LONG)
            got = await asyncio.to_thread(phone, "GET", "/coap/$devices/fan/fan")
        finally:
            await context.shutdown()
        assert (put.status, got.status, got.body) == (204, 200, LONG)

    asyncio.run(act())
