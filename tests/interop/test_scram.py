"""Enhanced authentication with npm's mqtt: SCRAM by the program of the device's folder, and tokens renewed by AUTH."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.provision.token import make_token
from tests.support.hub import RunningHub, eventually
from tests.support.mqttjs import SCRIPT, NodeClient
from tests.support.peers import WAIT_SECONDS, Login, Talker, login, program, shell_environment

METHOD = "jwt"
BASH = ["bash", "-euo", "pipefail", "-c"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub for which a token ends when it says, to the second."""
    settings = "\n[identity]\njwt_clock_skew_seconds = 0\n"
    with RunningHub(tmp_path_factory.mktemp("hub"), settings=settings) as running:
        yield running


def add(hub: RunningHub, name: str) -> Path:
    """Make a device by SCRAM, with npm's mqtt where its program looks for it."""
    program("node")
    folder = hub.add_device(name, "scram-sha-256")
    (folder / "node_modules").symlink_to(SCRIPT.parent / "node_modules")
    return folder


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a printed line inside the folder, in a shell."""
    return subprocess.run(
        [*BASH, line], cwd=folder, env=shell_environment(), capture_output=True, text=True, timeout=WAIT_SECONDS
    )


def printed(folder: Path) -> list[str]:
    """Give the two lines of the README that connect."""
    return re.findall(r"```sh\n(.*?)\n```", (folder / "README.md").read_text(), re.DOTALL)


@pytest.mark.process
def test_the_lines_of_the_readme_talk_to_each_other_by_scram(hub: RunningHub) -> None:
    folder = add(hub, "lamp")
    subscribe, publish = printed(folder)

    def is_heard() -> bool:
        said = run(publish, folder)
        assert (said.returncode, said.stderr) == (0, "")
        return "hello" in listener.lines

    with Talker([*BASH, subscribe], cwd=folder) as listener:
        eventually(is_heard, WAIT_SECONDS, "hello")
    assert {event["auth"] for event in hub.events("client.connected") if event["device"] == "lamp"} == {"scram-sha-256"}
    assert (folder / "password").read_text() not in hub.log()


@pytest.mark.process
def test_a_wrong_password_is_refused_and_told_of(hub: RunningHub) -> None:
    folder = add(hub, "bulb")
    (folder / "password").write_text("wrong")
    said = run(printed(folder)[1], folder)
    assert said.returncode == 1
    assert "Bad User Name or Password" in said.stderr
    hub.wait_for_refusal("bad user name or password", device="bulb")


@pytest.mark.process
def test_a_hub_that_does_not_know_the_password_is_found_out(hub: RunningHub) -> None:
    folder = add(hub, "torch")
    source = (folder / "client.mjs").read_text()
    (folder / "client.mjs").write_text(source.replace('"Server Key"', '"Another Key"'))
    said = run(printed(folder)[1], folder)
    assert said.returncode == 1
    assert "does not know this device" in said.stderr


@pytest.mark.requirement("Q17")
@pytest.mark.process
def test_a_token_renewed_by_auth_prolongs_the_session_until_the_second_ends(hub: RunningHub) -> None:
    folder = hub.add_device("sensor", "jwt-es256")
    topic = "devices/sensor/hello"
    first_ends = int(time.time()) + 4
    options = {"properties": {"authenticationMethod": METHOD, "authenticationData": make_token(folder, 4)}}
    with NodeClient(_without_secret(login(folder)), options=options) as client:
        assert client.connected()["properties"]["authenticationMethod"] == METHOD
        client.subscribe(topic, 1)
        client.renew(METHOD, make_token(folder, 9))
        assert client.next("auth")["code"] == 0
        eventually(lambda: time.time() > first_ends + 2, WAIT_SECONDS, "the end of the first token")
        assert client.publish(topic, "still here")["event"] == "published"
        assert client.message()["payload"] == "still here"
        goodbye = client.next("disconnect")
        assert goodbye["code"] == 0xA0
        assert goodbye["properties"]["reasonString"].startswith("token expired (reference ")
    connected = [event for event in hub.events("client.connected") if event["device"] == "sensor"]
    assert len(connected) == 1, "it never connected anew"
    assert len(hub.events("client.reauthenticated")) == 1


@pytest.mark.process
def test_a_token_of_another_device_ends_the_session_that_it_should_prolong(hub: RunningHub) -> None:
    folder, other = hub.add_device("one", "jwt-es256"), hub.add_device("two", "jwt-es256")
    options = {"properties": {"authenticationMethod": METHOD, "authenticationData": make_token(folder)}}
    with NodeClient(_without_secret(login(folder)), options=options) as client:
        client.connected()
        client.renew(METHOD, make_token(other))
        assert client.next("disconnect")["code"] == 0x87


def _without_secret(shown: Login) -> Login:
    return msgspec.structs.replace(shown, user_name="", password="")
