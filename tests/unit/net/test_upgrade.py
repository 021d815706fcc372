"""Which HTTP requests may become a WebSocket: path, subprotocol, origin, and what is said to the others."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from lockgate.net import upgrade
from lockgate.net.upgrade import UpgradeRefused, UpgradeRules

GOOD = {
    "Host": "hub.example:8884",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


def request(path: str = "/mqtt", method: str = "GET", **headers: str | None) -> Request:
    """Give a good request with some headers changed (None: left out)."""
    changed = {**GOOD, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(path, Headers({k: v for k, v in changed.items() if v is not None}), method)


def answer(asked: Request, *origins: str) -> Headers:
    rules = UpgradeRules(origins=origins)
    return upgrade.accept(upgrade.server_protocol(rules, 100), asked, rules).headers


def refusal(asked: Request, *origins: str) -> UpgradeRefused:
    with pytest.raises(UpgradeRefused) as caught:
        answer(asked, *origins)
    return caught.value


@pytest.mark.parametrize("path", ["/mqtt", "/", "/mqtt?token=x"])
def test_a_good_request_is_answered_with_the_subprotocol_mqtt(path: str) -> None:
    headers = answer(request(path, Sec_WebSocket_Protocol="chat, mqtt, mqttv3.1"))
    assert headers["Sec-WebSocket-Protocol"] == "mqtt"  # [MQTT-6.0.0-4]
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


def test_extensions_are_never_taken() -> None:
    assert "Sec-WebSocket-Extensions" not in answer(request(Sec_WebSocket_Extensions="permessage-deflate"))


@pytest.mark.parametrize("offered", [None, "mqttv3.1", "MQTT"])
def test_without_the_subprotocol_mqtt_it_is_refused(offered: str | None) -> None:
    error = refusal(request(Sec_WebSocket_Protocol=offered))  # [MQTT-6.0.0-3]
    assert (error.status, error.reason) == (400, "subprotocol not offered")
    assert '"mqtt"' in error.fix


def test_another_path_is_told_the_right_one() -> None:
    error = refusal(request("/ws"))
    assert (error.status, error.reason) == (404, "unknown WebSocket path")
    assert "/mqtt" in str(error)
    assert error.evidence == {"path asked for": "/ws"}


def test_a_persons_browser_is_told_what_this_is() -> None:
    error = refusal(request("/", Upgrade=None, Connection="keep-alive"))
    protocol = upgrade.server_protocol(UpgradeRules(), 100)
    response = upgrade.rejection(protocol, error, "K7Q2-9XMD")
    assert (response.status_code, response.headers["Upgrade"]) == (426, "websocket")
    assert response.body == (
        b"This is a door for MQTT over WebSocket: connect to /mqtt with an MQTT client, by wss.\nReference: K7Q2-9XMD\n"
    )
    assert response.headers["Lockgate-Reference"] == "K7Q2-9XMD"


@pytest.mark.parametrize(
    ("asked", "status", "header"),
    [
        (request(Sec_WebSocket_Version="8"), 400, ("Sec-WebSocket-Version", "13")),
        (request(Sec_WebSocket_Key="x" * 5000), 400, ("Sec-WebSocket-Version", "13")),
        (request(method="HEAD"), 405, ("Allow", "GET")),
    ],
)
def test_a_wrong_handshake_is_refused_in_few_words(asked: Request, status: int, header: tuple[str, str]) -> None:
    error = refusal(asked)
    assert (error.status, error.reason) == (status, "WebSocket handshake refused")
    assert len(str(error)) < 300
    answer = upgrade.rejection(upgrade.server_protocol(UpgradeRules(), 1), error, "K7Q2-9XMD")
    assert header in list(answer.headers.raw_items())


# Origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "hub.example:8884"),
        ("https://hub.example", "hub.example:8884"),
        ("https://hub.example:8443", "HUB.example:8884"),
        ("https://[2001:db8::7]", "[2001:db8::7]:8884"),
        ("http://localhost:8000", "localhost:8884"),
        ("http://127.0.0.1:8000", "127.0.0.1:8884"),
    ],
)
def test_programs_and_pages_of_the_hubs_own_host_may_connect(origin: str | None, host: str) -> None:
    assert answer(request(Origin=origin, Host=host))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "https://hub.example.evil.example", "http://hub.example", "null", "", "file://",
        "https://hub.example@evil.example", "https://[", "//hub.example", "https://hub.example.", "https://xhub.example",
    ],
)  # fmt: skip
def test_other_pages_may_not(origin: str) -> None:
    error = refusal(request(Origin=origin), "https://app.example")
    assert (error.status, error.reason) == (403, "origin not allowed")
    assert error.evidence == {"origin": origin, "host asked for": "hub.example:8884"}


def test_without_a_host_no_page_is_the_hubs_own() -> None:
    assert refusal(request(Origin="https://hub.example", Host=None)).status == 403


@pytest.mark.parametrize("allowed", ["https://app.example", "*"])
def test_pages_that_the_setting_names_may_connect(allowed: str) -> None:
    assert answer(request(Origin="https://App.example"), "https://other.example", allowed)


def test_the_fix_names_the_setting_and_the_origin_only_if_that_is_harmless_to_paste() -> None:
    assert (
        'add "https://evil.example:1" to mqtt.websocket_origins'
        in refusal(request(Origin="https://evil.example:1")).fix
    )
    assert 'add "file://"' in refusal(request(Origin="file://")).fix
    for odd in ('https://x"] port=1', "*", "null"):
        assert odd not in refusal(request(Origin=odd)).fix


def test_what_is_kept_of_a_refusal_is_short() -> None:
    error = refusal(request(Origin="https://" + "x" * 8000))
    assert len(error.evidence["origin"]) == 200


@pytest.mark.parametrize(("first", "words"), [(b"\x10", "8883"), (b"\x00", "wss://"), (b"", "wss://")])
def test_what_is_no_http_is_told_where_to_go(first: bytes, words: str) -> None:
    assert words in upgrade.no_http(first).fix
