"""npm's mqtt in a real headless browser, over secure WebSocket; at the other end paho on the native port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import Devices
from tests.support.browser import Browser
from tests.support.hub import RunningHub, eventually
from tests.support.paho_client import Heard, PahoClient
from tests.support.peers import Login

pytestmark = pytest.mark.process


def page_of(hub: RunningHub, login: Login) -> Login:
    """Give a device's login with the port that browsers use."""
    return login.but(port=hub.websocket_port)


@pytest.mark.parametrize("kind", ["jwt-es256", "password"])
def test_a_page_and_a_native_client_hear_each_other(
    tmp_path: Path, hub: RunningHub, devices: Devices, kind: str
) -> None:
    with PahoClient(devices("x509", f"native-{kind}")) as native:
        native.subscribe("meeting/from-browser")
        with Browser(tmp_path, page_of(hub, devices(kind, "page")), trusts=hub.ca_path) as browser:
            browser.next("connected")
            assert browser.next("subscribed")["granted"] == [2]
            for qos in (0, 1, 2):
                native.publish(f"meeting/to-browser/{qos}", f"hello {qos}", qos)
                shown = browser.next("shown")
                assert f"meeting/to-browser/{qos}: hello {qos}" in shown["text"]
                assert shown["qos"] == qos
                browser.next("published")
                assert native.message() == Heard("meeting/from-browser", f"heard hello {qos}", qos)
            large = "x" * 300_000  # more than one TLS record, frame header of the longest kind
            native.publish("meeting/to-browser/large", large, 1)
            assert large in browser.next("shown")["text"]
            browser.next("published")
            assert native.message().payload == f"heard {large}"
            native.publish("meeting/to-browser/end", "goodbye")
            browser.next("shown")
            browser.next("closed")


def test_a_browser_that_does_not_know_the_ca_refuses_the_hub(tmp_path: Path, hub: RunningHub, devices: Devices) -> None:
    with Browser(tmp_path, page_of(hub, devices("password", "stranger")), trusts=None) as browser:
        browser.next("closed")
    refusal = eventually(
        lambda: [e for e in hub.events("client.refused") if e["reason"] == "client gave up"], 10, "the refusal"
    )[-1]
    assert "does not trust our CA" in refusal["message"]


def test_a_page_of_a_foreign_origin_is_refused_whatever_it_knows(
    tmp_path: Path, hub: RunningHub, devices: Devices
) -> None:
    login = page_of(hub, devices("password", "foreign"))
    with Browser(tmp_path, login, trusts=hub.ca_path, host="127.0.0.1") as browser:
        browser.next("closed")
        refusal = eventually(
            lambda: [e for e in hub.events("client.refused") if e["reason"] == "origin not allowed"], 10, "the refusal"
        )[-1]
        why = hub.lockgate("why", refusal["reference"]).stdout
        assert f'add "{browser.origin}" to mqtt.websocket_origins' in why.replace("\n", " ")
