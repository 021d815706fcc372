"""The client's half of trust: with what we hand out, real clients refuse a hub that is not the right one.

They must do so before they send anything: no CONNECT, no token, no password.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from lockgate.provision.folder import read_folder
from lockgate.provision.guide import command_lines
from tests.support.certificates import Authority, Issued, self_signed
from tests.support.hub import RunningHub
from tests.support.imposter import Imposter
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import PahoClient
from tests.support.peers import WAIT_SECONDS, login, program, shell_environment

HERE = ["localhost", "127.0.0.1", "::1"]


class Stage(msgspec.Struct, frozen=True):
    """A device that is sent to `port`, and the hub that it means, which has moved to another port."""

    folder: Path
    port: int
    hub: RunningHub
    authority: Authority


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    hub = RunningHub(tmp_path_factory.mktemp("moved"), names=HERE)
    with hub:
        folder, port = hub.add_device("trusting", "password"), hub.port
    with socket.create_server(("127.0.0.1", port)):
        hub.start()  # on another port: that one is taken
    try:
        yield Stage(folder, port, hub, Authority.from_home(hub.home))
    finally:
        hub.stop()


class Refusal(msgspec.Struct, frozen=True):
    """How each client words the same refusal."""

    paho: str
    mqttjs: str


class BadHub(msgspec.Struct, frozen=True):
    """One way in which a hub may be the wrong one."""

    issue: Callable[[Authority], Issued]
    refusal: Refusal


UNKNOWN_CA = Refusal("unable to get local issuer certificate", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")


def issue_with_root(authority: Authority) -> Issued:
    """Issue a server certificate that brings its root along, as who wants to be believed might do."""
    issued = authority.issue("localhost", names=HERE, purpose="server")
    return msgspec.structs.replace(issued, chain=(authority.certificate,))


BAD_HUBS = {
    "foreign CA": BadHub(
        lambda _ours: Authority("Foreign CA").issue("localhost", names=HERE, purpose="server"), UNKNOWN_CA
    ),
    "foreign CA that brings its root": BadHub(
        lambda _ours: issue_with_root(Authority("Foreign CA")),
        Refusal("self-signed certificate in certificate chain", "SELF_SIGNED_CERT_IN_CHAIN"),
    ),
    "another home's CA, named like ours": BadHub(
        lambda _ours: Authority("lockgate issuing CA", parent=Authority("lockgate root CA")).issue(
            "localhost", names=HERE, purpose="server"
        ),
        Refusal("unable to get local issuer certificate", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
    ),
    "wrong name": BadHub(
        lambda ours: ours.issue("other", names=["other.example", "192.0.2.1"], purpose="server"),
        Refusal("Hostname mismatch", "ERR_TLS_CERT_ALTNAME_INVALID"),
    ),
    "expired": BadHub(
        lambda ours: ours.issue_expired("localhost", purpose="server"),
        Refusal("certificate has expired", "CERT_HAS_EXPIRED"),
    ),
    "not yet valid": BadHub(
        lambda ours: ours.issue_future("localhost", purpose="server"),
        Refusal("certificate is not yet valid", "CERT_NOT_YET_VALID"),
    ),
    "self-signed": BadHub(
        lambda _ours: self_signed("localhost", names=HERE, purpose="server"),
        Refusal("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    ),
    "no serverAuth": BadHub(
        lambda ours: ours.issue("localhost", names=HERE, purpose="client"),
        Refusal("unsuitable certificate purpose", "INVALID_PURPOSE"),
    ),
}

Client: TypeAlias = Callable[[Stage, Refusal], None]


def mosquitto_pub(stage: Stage, _refusal: Refusal) -> None:
    """Paste the line that we print; mosquitto's clients have one word for all."""
    done = paste_publish(stage)
    assert done.returncode != 0
    assert "TLS error" in done.stderr


def paho(stage: Stage, refusal: Refusal) -> None:
    error = PahoClient(login(stage.folder)).fails_to_connect()
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert refusal.paho in error.verify_message


def mqttjs(stage: Stage, refusal: Refusal) -> None:
    with NodeClient(login(stage.folder)) as client:
        assert client.next("error")["code"] == refusal.mqttjs


CLIENTS: list[Client] = [mosquitto_pub, paho, mqttjs]


def paste_publish(stage: Stage) -> subprocess.CompletedProcess[str]:
    program("mosquitto_pub")
    line = command_lines(read_folder(stage.folder), stage.folder).publish
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], env=shell_environment(), capture_output=True, text=True,
        timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", BAD_HUBS)
def test_client_tells_a_wrong_hub_nothing(stage: Stage, tmp_path: Path, fault: str, client: Client) -> None:
    bad = BAD_HUBS[fault]
    with Imposter(stage.port, *bad.issue(stage.authority).write(tmp_path, "bad")) as imposter:
        client(stage, bad.refusal)
        assert imposter.visit().heard == b""


@pytest.mark.requirement("F12")
@pytest.mark.parametrize("client", CLIENTS)
def test_client_tells_a_man_in_the_middle_nothing(stage: Stage, tmp_path: Path, client: Client) -> None:
    middle = Authority("Middle CA").issue("localhost", names=HERE, purpose="server")
    with Imposter(stage.port, *middle.write(tmp_path, "middle"), upstream=stage.hub.port) as imposter:
        client(stage, BAD_HUBS["foreign CA"].refusal)
        assert imposter.visit().heard == b""


def test_same_man_in_the_middle_hears_a_client_that_trusts_his_ca(stage: Stage, tmp_path: Path) -> None:
    """The proxy works: where a client trusts it, it reads the CONNECT and the hub's answer comes back through it."""
    authority = Authority("Middle CA")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    middle = authority.issue("localhost", names=HERE, purpose="server")
    fooled = login(stage.folder).but(ca=tmp_path / "ca.pem")
    with Imposter(stage.port, *middle.write(tmp_path, "middle"), upstream=stage.hub.port) as imposter:
        client = PahoClient(fooled)
        assert client.connect().code == 0
        assert fooled.password.encode() in imposter.visit().heard
        client.close()


def test_same_clients_speak_to_the_right_certificate(stage: Stage, tmp_path: Path) -> None:
    """The imposter is no wall: with a good certificate in its hand, each client sends its CONNECT."""
    good = stage.authority.issue("localhost", names=HERE, purpose="server")
    with Imposter(stage.port, *good.write(tmp_path, "good")) as imposter:
        paste_publish(stage)
        assert imposter.visit().heard.startswith(b"\x10")
        PahoClient(login(stage.folder)).fails_to_connect()
        assert imposter.visit().heard.startswith(b"\x10")
        with NodeClient(login(stage.folder)) as client:
            client.next("closed")
        assert imposter.visit().heard.startswith(b"\x10")
