"""Threat: a page on somebody's web site has a visitor's browser connect, as the device whose certificate it holds.

Browsers show client certificates by themselves, and WebSockets know no same-origin policy: the hub looks at Origin.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lockgate.net.context import TlsContexts
from lockgate.net.upgrade import UpgradeRules
from lockgate.net.websocket import WebSocketRules
from lockgate.registry.journal import Journal
from tests.support.certificates import Authority
from tests.support.registry import NOW
from tests.support.tls import Pair, client_context
from tests.support.websocket import WebPeer, binary

CA = Authority("Hub CA")
FOREIGN = ["https://evil.example", "https://hub.example.evil.example", "http://hub.example:8884", "null", "file://", ""]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_says_nothing_to_the_door_and_why_tells_of_it(origin: str) -> None:
    page = WebPeer(origin=origin)
    page.wire.peer_certificate = CA.issue("sensor").certificate
    response = page.asks()
    assert response is not None
    assert response.status_code == 403
    page.hub.data_received(binary(b"\x10").serialize(mask=True))
    assert not page.room.received
    assert page.wire.is_closed
    journal = Journal(10, lambda: NOW)
    journal.websocket_refused("mqtt", page.wire, page.refused[0])
    (refusal,) = journal._refusals.drain()
    assert (refusal.reason, refusal.evidence["origin"]) == ("origin not allowed", origin)
    assert "mqtt.websocket_origins" in refusal.fix


def test_naming_one_page_lets_no_other_in() -> None:
    rules = WebSocketRules(upgrade=UpgradeRules(origins=("https://app.example",)))
    assert WebPeer(rules, origin="https://app.example").opened()
    for origin in (*FOREIGN, "https://app.example:444", "https://app.example.evil.example", "http://app.example"):
        response = WebPeer(rules, origin=origin).asks()
        assert response is not None
        assert response.status_code == 403, origin


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_by_default_a_browser_is_not_even_asked_for_a_certificate(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server, key = CA.issue("hub", names=["localhost"], purpose="server").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    contexts = TlsContexts(server, key, tmp_path / "ca.pem", spares_browsers=True)
    browser = client_context(CA, CA.issue("sensor"), version=version)
    browser.set_alpn_protocols(["http/1.1"])  # as browsers do for wss
    assert Pair(contexts.current, browser).shake_hands().stream.peer_certificate() is None
