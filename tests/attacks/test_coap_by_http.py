"""Threat: by HTTP somebody reaches more than by CoAP: another's topics, another's device, another place altogether."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.coap_lamp import Lamp
from tests.support.coap_web import Curl
from tests.support.hub import RunningHub, eventually

pytestmark = [pytest.mark.process, pytest.mark.requirement("C4")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(tmp_path_factory.mktemp("hub"), office=True, coap=("device_answer_seconds = 5",))
    with made as running:
        for name in ("lamp", "owner", "spy"):
            running.add_device(name, "x509")
        for operation in ("publish", "receive"):
            running.lockgate("policy", "allow", "--device", "owner", f"--{operation}", "secret/#")
            running.lockgate("policy", "allow", "--device", "owner", f"--{operation}", "$devices/lamp/#")
            running.lockgate("policy", "allow", "--device", "spy", f"--{operation}", "open/#")
        yield running


@pytest.fixture(scope="module")
def lamp(hub: RunningHub) -> Iterator[Lamp]:
    with Lamp(hub, "lamp") as lamp:
        yield lamp


@pytest.fixture(scope="module")
def owner(hub: RunningHub) -> Curl:
    made = Curl.by_certificate(hub, "owner")
    assert made("PUT", "/coap/secret/key", body=b"tell nobody").status == 201
    return made


@pytest.fixture
def spy(hub: RunningHub) -> Curl:
    return Curl.by_certificate(hub, "spy")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_a_foreign_topic_stays_closed(owner: Curl, spy: Curl, method: str) -> None:
    answer = spy(method, "/coap/secret/key", **({"body": b"x"} if method in ("PUT", "POST") else {}))
    assert answer.status == 403
    assert b"tell nobody" not in answer.body
    assert owner("GET", "/coap/secret/key").body == b"tell nobody"


@pytest.mark.parametrize(
    "path",
    [
        "/coap/open/../secret/key", "/coap/open/%2e%2e/secret/key", "/coap/open/..%2Fsecret%2Fkey",
        "/coap/open%2F..%2F..%2Fsecret/key", "/coap/secret%2Fkey", "/coap//secret/key", "/coap/./secret/key",
        "/coap/secret/key/", "/coap/secret/key%00", "/coap/%73ecret/key", "/coap/secret%252Fkey", "/coap/secret/%23",
        "/coap/?filter=%23", "/coap/?filter=secret/%2B", "/coap/?filter=open/%23&filter=secret/%23",
        "/coap/$share/x/secret/key", "/coap/open/..;/secret/key", "/coap\\secret\\key", "/coap/secret/key%0a",
        "//coap/secret/key", "/est/../coap/secret/key", "/coap%2Fsecret%2Fkey", "/COAP/secret/key",
    ],
)  # fmt: skip
def test_tricks_with_paths_lead_nowhere(owner: Curl, spy: Curl, path: str) -> None:
    answer = spy("GET", path)
    assert answer.status in (400, 403, 404), answer
    assert b"tell nobody" not in answer.body


@pytest.mark.parametrize(
    "target", ["coap://127.0.0.1/x", "coaps://127.0.0.1:5684/x", "http://127.0.0.1/x", "%2F%2F127.0.0.1/x"]
)
def test_it_is_no_proxy_to_anywhere(spy: Curl, target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.settimeout(0.3)
        there = target.replace("5684", str(elsewhere.getsockname()[1])).replace(
            "0.1/", f"0.1:{elsewhere.getsockname()[1]}/"
        )
        for path in (f"/coap/{there}", f"/coap/?target_uri={there}", f"/coap/$devices/{there}"):
            assert spy("GET", path).status in (400, 403, 404)
        with pytest.raises(TimeoutError):
            elsewhere.recv(100)


def test_neither_an_absolute_uri_nor_a_host_header_takes_it_elsewhere(owner: Curl, spy: Curl) -> None:
    for target in ("https://elsewhere.example/coap/secret/key", "coap://elsewhere.example/secret/key", "*"):
        assert spy("GET", "/coap/x", "--request-target", target).status in (400, 403, 404)
    for host in ("elsewhere.example", "localhost:5684", "secret", "lamp"):
        assert spy("GET", "/coap/secret/key", "-H", f"Host: {host}").status == 403
        assert owner("GET", "/coap/secret/key", "-H", f"Host: {host}").body == b"tell nobody"
    assert spy("GET", "/coap/secret/key", "-H", "X-Forwarded-User: owner", "-H", "Uri-Host: owner").status == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_another_devices_resources_stay_closed(spy: Curl, lamp: Lamp, method: str) -> None:
    before = len(lamp.asked)
    for path in (
        "$devices/lamp/led",
        "$devices/lamp",
        "$devices/./lamp/led",
        "$devices//lamp/led",
        "%24devices/lamp/led",
    ):
        assert spy(method, f"/coap/{path}").status in (400, 403, 404)
    assert len(lamp.asked) == before


def test_a_right_to_one_device_is_none_to_another(owner: Curl, lamp: Lamp) -> None:
    for path in ("$devices/spy/led", "$devices/lamp/../spy/led", "$devices/lamp%2F..%2Fspy/led"):
        assert owner("GET", f"/coap/{path}").status in (400, 403)


def test_who_is_revoked_counts_no_more_at_once_nor_for_what_is_under_way(hub: RunningHub, lamp: Lamp) -> None:
    folder = hub.add_device("thief", "jwt-es256")
    hub.lockgate("policy", "allow", "--device", "thief", "--receive", "$devices/lamp/#", "--receive", "open/#")
    thief = Curl(hub, "-H", f"Authorization: Bearer {hub.token(folder)}")  # a certificate would not get through TLS
    assert thief("GET", "/coap/$devices/lamp/led").status == 200
    with ThreadPoolExecutor(1) as pool:
        asked = len(lamp.asked)
        waiting = pool.submit(thief, "GET", "/coap/$devices/lamp/later")
        eventually(lambda: len(lamp.asked) > asked, 10.0, "the request at the lamp")
        hub.lockgate("revoke", "thief", "--report")  # it waits until the hub has heard of it
        assert thief("GET", "/coap/open/x").status in (401, 403)
        assert thief("GET", "/coap/$devices/lamp/led").status in (401, 403)
        lamp.is_let_go.set()
        answer = waiting.result()
        assert (answer.status, b"tell nobody" in answer.body) == (403, False)


def test_nobody_in_particular_is_served_nothing(hub: RunningHub) -> None:
    for path in ("/coap/open/x", "/coap/", "/coap/.well-known/core", "/coap/$devices/lamp/led"):
        assert Curl(hub)("GET", path).status == 401


def test_a_page_of_another_site_has_its_readers_browser_do_nothing(owner: Curl) -> None:
    answer = owner("POST", "/coap/secret/key?retain=1", "-H", "Origin: https://evil.example", body=b"mine")
    assert answer.status == 403
    assert owner("GET", "/coap/secret/key").body == b"tell nobody"
