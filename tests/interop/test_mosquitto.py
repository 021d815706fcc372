"""Debian's mosquitto_pub and mosquitto_sub over TLS: the lines that we print, and what MQTT promises."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.interop.conftest import Devices
from tests.support import mosquitto
from tests.support.hub import RunningHub, eventually, run_lockgate
from tests.support.mosquitto import V5, V311, Heard, Subscriber
from tests.support.peers import ALL_KINDS, WAIT_SECONDS, Talker, program, shell_environment

VERSIONS = [V311, V5]
BASH = ["bash", "-euo", "pipefail", "-c"]


def paste(line: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a printed line as a person would, in a shell."""
    program("mosquitto_pub")
    return subprocess.run(
        [*BASH, line], cwd=cwd, env=shell_environment(), capture_output=True, text=True, timeout=WAIT_SECONDS
    )


def assert_lines_talk(subscribe: str, publish: str, cwd: Path) -> None:
    """One terminal listens, the other speaks, as often as it takes until the first is ready."""

    def is_heard() -> bool:
        said = paste(publish, cwd)
        assert (said.returncode, said.stderr) == (0, "")
        return "hello" in listener.lines

    with Talker([*BASH, subscribe], cwd=cwd) as listener:
        eventually(is_heard, WAIT_SECONDS, "hello")


def added(hub: RunningHub, kind: str, name: str, out: Path) -> dict[str, Any]:
    """Run `lockgate device add --json`."""
    done = run_lockgate("device", "add", name, "--auth", kind, "--out", str(out), "--json", home=hub.home)
    return msgspec.json.decode(done.stdout, type=dict[str, Any])


@pytest.mark.requirement("F5")
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_printed_lines_talk_to_each_other(hub: RunningHub, tmp_path: Path, kind: str) -> None:
    facts = added(hub, kind, f"printed-{kind}", tmp_path / "a folder's name")
    assert_lines_talk(facts["subscribe"], facts["publish"], tmp_path)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_lines_of_the_readme_talk_to_each_other_from_inside_the_folder(
    hub: RunningHub, tmp_path: Path, kind: str
) -> None:
    added(hub, kind, f"readme-{kind}", tmp_path / "device")
    text = (tmp_path / "device" / "README.md").read_text()
    lines: list[str] = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    subscribe, publish = (line for line in lines if line.startswith("mosquitto_"))  # others are for CoAP
    assert_lines_talk(subscribe, publish, tmp_path / "device")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_no_printed_line_turns_a_check_off(hub: RunningHub, tmp_path: Path, kind: str) -> None:
    facts = added(hub, kind, f"careful-{kind}", tmp_path / "device")
    everything = f"{facts['subscribe']} {facts['publish']} {(tmp_path / 'device' / 'README.md').read_text()}"
    assert "--insecure" not in everything
    assert everything.count("--cafile") == 4


@pytest.mark.requirement("Q1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_message_crosses_the_hub(devices: Devices, kind: str, version: str, qos: int) -> None:
    topic = f"meeting/{kind}/{version}/{qos}"
    with Subscriber(devices(kind, "ear"), topic, version=version) as ear:
        said = mosquitto.publish(devices(kind, "mouth"), topic, "21.5 °C", version=version, qos=qos)
        assert said.returncode == 0, said.stderr
        assert ear.next() == Heard(topic, "21.5 °C", qos)


@pytest.mark.parametrize(("speaks", "hears"), [(V311, V5), (V5, V311)])
def test_versions_understand_each_other(devices: Devices, speaks: str, hears: str) -> None:
    with Subscriber(devices("x509", "ear"), "meeting/+/versions", version=hears) as ear:
        mosquitto.publish(devices("password", "mouth"), "meeting/of/versions", "hello", version=speaks, qos=2)
        assert ear.next() == Heard("meeting/of/versions", "hello", 2)


def test_subscriber_gets_at_most_the_qos_that_it_asked_for(devices: Devices) -> None:
    with Subscriber(devices("x509", "ear"), "meeting/qos/#", qos=1) as ear:
        for qos in (2, 1, 0):
            mosquitto.publish(devices("x509", "mouth"), f"meeting/qos/{qos}", "hello", qos=qos)
        assert [ear.next().qos for _ in range(3)] == [1, 1, 0]


@pytest.mark.requirement("Q5")
@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message_waits_for_subscribers_until_it_is_cleared(devices: Devices, version: str) -> None:
    topic, mouth = f"meeting/retained/{version}", devices("x509", "mouth")
    mosquitto.publish(mouth, topic, "on", version=version, extra=["-r"])
    with Subscriber(devices("x509", "ear"), topic, version=version) as ear:
        assert ear.next() == Heard(topic, "on", 1, is_retained=True)
        mosquitto.publish(mouth, topic, "off", version=version, extra=["-r"])
        assert ear.next() == Heard(topic, "off", 1, is_retained=False)
    mosquitto.publish(mouth, topic, "", version=version, extra=["-r"])
    with Subscriber(devices("x509", "late"), topic, version=version) as late:
        mosquitto.publish(mouth, topic, "live", version=version)
        assert late.next() == Heard(topic, "live", 1)


@pytest.mark.requirement("Q6")
@pytest.mark.parametrize("version", VERSIONS)
def test_will_of_a_killed_client_goes_out_and_that_of_a_polite_one_does_not(devices: Devices, version: str) -> None:
    topic = f"meeting/will/{version}"
    will = ["--will-qos", "1", "--will-topic", topic, "--will-payload"]
    with Subscriber(devices("x509", "ear"), topic, version=version) as ear:
        polite = mosquitto.publish(
            devices("jwt-es256", "polite"), "meeting/bye", "bye", version=version, extra=[*will, "polite"]
        )
        assert polite.returncode == 0
        killed = Subscriber(devices("jwt-es256", "killed"), "meeting/none", version=version, extra=[*will, "killed"])
        killed.kill()
        assert ear.next() == Heard(topic, "killed", 1)


def test_will_goes_out_when_a_client_of_5_0_leaves_with_it(devices: Devices) -> None:
    # At SIGTERM mosquitto_sub sends DISCONNECT 0x04 (Disconnect with Will Message).
    will = ["--will-topic", "meeting/parting", "--will-payload", "gone"]
    with Subscriber(devices("x509", "ear"), "meeting/parting") as ear:
        Subscriber(devices("x509", "owner"), "meeting/none", extra=will).stop()
        assert ear.next() == Heard("meeting/parting", "gone")


@pytest.mark.parametrize("version", VERSIONS)
def test_persistent_session_keeps_what_came_while_its_client_was_away(devices: Devices, version: str) -> None:
    topic = f"meeting/away/{version}"
    keep = ["-c"] if version == V311 else ["-c", "-x", "3600"]

    def sleeper() -> Subscriber:
        return Subscriber(devices("password", f"sleeper-{version}"), topic, version=version, extra=keep)

    with sleeper() as first:
        mosquitto.publish(devices("x509", "mouth"), topic, "awake", version=version)
        assert first.next().payload == "awake"
    for qos in (1, 2):
        mosquitto.publish(devices("x509", "mouth"), topic, f"away {qos}", version=version, qos=qos)
    with sleeper() as again:
        assert [again.next() for _ in range(2)] == [Heard(topic, "away 1", 1), Heard(topic, "away 2", 2)]


def test_publisher_of_5_0_learns_that_nobody_listens(devices: Devices) -> None:
    said = mosquitto.publish(devices("x509"), "meeting/empty", "hello")
    assert said.returncode == 0
    assert "RC:16" in said.stdout
