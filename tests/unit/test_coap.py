"""The CoAP door opens what the settings ask for, and a machine without GnuTLS has a hub all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lockgate import coap
from lockgate.coap import CoapDoors, datagram_limits
from lockgate.errors import LockgateError, Unavailable
from lockgate.home import Home
from lockgate.hub import Hub, Rates
from lockgate.net.dtls_listener import DtlsListener
from lockgate.policy import PolicyEngine
from lockgate.registry.journal import Journal
from lockgate.settings import CoapSettings, Settings
from tests.support.fakes import EVERYTHING, FakeAuthenticator, FakeRules, FakeStore
from tests.support.registry import FakeRegistry


def doors(tmp_path: Path, settings: CoapSettings) -> CoapDoors:
    registry: Any = FakeRegistry()
    store: Any = FakeStore()
    whole = Settings(coap=settings)
    hub = Hub(PolicyEngine(FakeRules(*EVERYTHING)), store, whole.hub, lambda *_: None)
    journal = Journal(10)
    rates = Rates(0.0, 0.0, 1.0)
    return CoapDoors(Home(tmp_path), whole, registry, hub, FakeAuthenticator(), journal, store, rates)


def fails(error: LockgateError) -> Any:
    async def open(*_: object) -> None:
        raise error

    return open


@pytest.fixture
def raw_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "raw_key", lambda home: home.raw_key_path)


@pytest.mark.usefixtures("raw_key")
def test_without_gnutls_the_door_stays_closed_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Unavailable("DTLS needs GnuTLS", reason=coap.NO_GNUTLS, fix="apt install libgnutls30")
    monkeypatch.setattr(DtlsListener, "open", fails(missing))

    async def scene() -> None:
        made = doors(tmp_path, CoapSettings())
        assert await made.open() == []
        made.handle_timers()
        made.reload()
        made.committed(1)
        assert (made.traffic, made.connection_count) == ([], 0)
        made.close()

    asyncio.run(scene())
    assert "apt install libgnutls30" in capsys.readouterr().out


@pytest.mark.usefixtures("raw_key")
def test_a_port_that_is_taken_is_no_small_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DtlsListener, "open", fails(Unavailable("port 5684 is taken")))

    async def scene() -> None:
        with pytest.raises(Unavailable, match="taken"):
            await doors(tmp_path, CoapSettings()).open()

    asyncio.run(scene())


def test_the_limits_are_the_settings() -> None:
    limits = datagram_limits(Settings(coap=CoapSettings(max_connections=7, idle_seconds=8.0, max_handshakes=9)))
    assert (limits.max_links, limits.idle_seconds, limits.max_handshakes) == (7, 8.0, 9)
