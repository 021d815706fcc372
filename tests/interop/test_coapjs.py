"""npm's coap without DTLS, which it does not speak: every method, Observe, and long bodies both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lockgate.model.device import CredentialKind
from tests.support.coap_peers import register
from tests.support.coapjs import CoapJs
from tests.support.hub import RunningHub
from tests.support.mosquitto import Heard, Subscriber, publish
from tests.support.peers import Login, login

pytestmark = [pytest.mark.process, pytest.mark.requirement("C1")]
LONG = "".join(f"{number:05} " for number in range(1000))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(tmp_path_factory.mktemp("coapjs"), coap=("nosec_enabled = true", "nosec_port = 0"))
    register(made.home, "node", CredentialKind.NOSEC, "127.0.0.1", "rooms/#")
    with made as running:
        yield running


@pytest.fixture(scope="module")
def other(hub: RunningHub) -> Login:
    """A device at the other door."""
    return login(hub.add_device("other", "x509", "--publish", "rooms/#", "--receive", "rooms/#"))


@pytest.fixture
def client(hub: RunningHub) -> Iterator[CoapJs]:
    with CoapJs(hub.plain_coap_port) as running:
        yield running


@pytest.mark.parametrize("confirmable", [True, False])
def test_each_method_is_answered(client: CoapJs, confirmable: bool) -> None:
    path = f"/rooms/{confirmable}"
    words: dict[str, Any] = {"confirmable": confirmable}
    assert client.ask("GET", path, **words)[0] == "4.04"
    assert client.ask("PUT", path, "21.5", **words) == ("2.01", "")
    assert client.ask("GET", path, **words) == ("2.05", "21.5")
    assert client.ask("POST", path, "not kept", **words) == ("2.04", "")
    assert client.ask("GET", path, **words) == ("2.05", "21.5")
    assert client.ask("DELETE", path, **words) == ("2.02", "")
    assert client.ask("GET", path, **words)[0] == "4.04"
    assert client.ask("PUT", "/elsewhere", "1", **words)[1].startswith("not authorized: no rule allows it (reference ")


@pytest.mark.parametrize("block", [64, 256, 1024])
def test_a_long_body_goes_both_ways(client: CoapJs, other: Login, block: int) -> None:
    topic = f"rooms/long/{block}"
    with Subscriber(other, topic, qos=1) as ear:
        assert client.ask("PUT", f"/{topic}", LONG, block=block)[0] == "2.01"
        assert ear.next() == Heard(topic, LONG, 1, False)
    assert client.ask("GET", f"/{topic}") == ("2.05", LONG)


def test_an_observer_hears_short_and_long_from_both_doors(client: CoapJs, other: Login) -> None:
    assert client.ask("PUT", "/rooms/seen", "first")[0] == "2.01"
    observation = client.observe("/rooms/seen")
    assert observation.next() == ("2.05", "first")
    assert client.ask("PUT", "/rooms/seen", "second")[0] == "2.04"
    assert observation.next() == ("2.05", "second")
    assert client.ask("PUT", "/rooms/seen", LONG, block=1024)[0] == "2.04"
    assert observation.next() == ("2.05", LONG)
    assert publish(other, "rooms/seen", "by MQTT", qos=1).returncode == 0
    assert observation.next() == ("2.05", "by MQTT")
