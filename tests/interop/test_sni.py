"""A client that comes by a name which the certificate lacks: `why` names the command that mends it, live."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.interop.conftest import Devices
from tests.support.hub import RunningHub, eventually
from tests.support.mqttjs import NodeClient
from tests.support.peers import WAIT_SECONDS, program


def asked_for(hub: RunningHub, name: str) -> dict[str, Any]:
    """Find what `lockgate why` says of clients that asked for `name`."""
    return eventually(
        lambda: next((r for r in hub.why() if r["evidence"].get("server name asked for") == name), None), what=name
    )


def openssl(hub: RunningHub, name: str, version: str) -> subprocess.CompletedProcess[str]:
    """Connect as a careful client that asks for `name` and insists on it."""
    words = ["s_client", "-connect", f"127.0.0.1:{hub.port}", version, "-CAfile", str(hub.ca_path)]
    return subprocess.run(
        [program("openssl"), *words, "-servername", name, "-verify_hostname", name, "-verify_return_error"],
        input="", capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip


def mend(hub: RunningHub, told: dict[str, Any]) -> None:
    """Run the command that `why` gave, as it stands there."""
    command, *words = told["fix"].split()
    assert command == "lockgate"
    hub.lockgate(*words)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_that_refuses_in_the_handshake_connects_after_the_command_in_why(hub: RunningHub, version: str) -> None:
    name = f"gate{version.replace('_', '-')}.example"
    refused = openssl(hub, name, version)
    assert refused.returncode != 0
    assert "hostname mismatch" in refused.stderr
    told = asked_for(hub, name)
    assert told["fix"] == f"lockgate server-cert add-name {name}"
    assert name in told["message"]
    before = hub.pid
    mend(hub, told)
    eventually(lambda: openssl(hub, name, version).returncode == 0, what="a certificate with the new name")
    assert hub.pid == before


@pytest.mark.parametrize(
    ("version", "event"),
    [("TLSv1.2", "server_name.not_covered"), ("TLSv1.3", "client.refused")],  # 1.2: the hub has finished by then
)
def test_device_connects_after_the_command_in_why(hub: RunningHub, devices: Devices, version: str, event: str) -> None:
    name, shown = f"pi-{version.lower()}.example", devices("password")
    by_name = {"host": "127.0.0.1", "servername": name, "maxVersion": version}
    with NodeClient(shown, options=by_name) as client:
        assert client.next("error")["code"] == "ERR_TLS_CERT_ALTNAME_INVALID"
    told = asked_for(hub, name)
    assert told["fix"] == f"lockgate server-cert add-name {name}"
    assert told["reference"] in [line["reference"] for line in hub.events(event)]

    def connects() -> bool:
        with NodeClient(shown, options=by_name) as client:
            return bool(client.next("connected", "error")["event"] == "connected")

    mend(hub, told)
    eventually(connects, what="a certificate with the new name")


def test_live_connections_outlast_a_new_certificate(hub: RunningHub, devices: Devices) -> None:
    with NodeClient(devices("x509", "steady")) as steady:
        steady.connected()
        steady.subscribe("meeting/steady")
        hub.lockgate("server-cert", "add-name", "steady.example")
        eventually(lambda: openssl(hub, "steady.example", "-tls1_3").returncode == 0, what="the new name")
        steady.publish("meeting/steady", "still here")
        assert steady.message()["payload"] == "still here"


def test_name_that_is_covered_is_no_refusal(hub: RunningHub, devices: Devices) -> None:
    with NodeClient(devices("x509", "good"), options={"host": "127.0.0.1", "servername": "localhost"}) as client:
        client.connected()
    assert openssl(hub, "localhost", "-tls1_3").returncode == 0
    assert not [event for event in hub.events("server_name.not_covered") if "localhost" in event["message"]]
