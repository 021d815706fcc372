"""A headless device from nothing: it enrols in a process of its own, connects by MQTT, renews, and connects again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lockgate.provision.folder import read_folder
from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("hub"), office=True) as running:
        yield running


def device(folder: Path, *arguments: str | Path, token: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as on the device: with no home in reach."""
    environment = {**os.environ, "LOCKGATE_HOME": str(folder / "no-home"), "LOCKGATE_CLAIM": token}
    return subprocess.run(
        [sys.executable, "-m", "lockgate", "device", *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def claim(hub: RunningHub, pattern: str, *options: str) -> str:
    done = hub.lockgate("claim", "add", "--name-pattern", pattern, "--json", *options)
    return str(msgspec.json.decode(done.stdout)["token"])


def fingerprint(hub: RunningHub) -> str:
    command = ["openssl", "x509", "-in", str(hub.ca_path), "-noout", "-fingerprint", "-sha256"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def publishes(folder: Path) -> None:
    """Have mosquitto_pub speak as the folder says."""
    facts = read_folder(folder)
    done = subprocess.run(
        ["mosquitto_pub", "-h", facts.host, "-p", str(facts.port), "--cafile", folder / "ca.pem", "-i", facts.name,
         "--cert", folder / "device.crt", "--key", folder / "device.key", "-V", "5", "-q", "1",
         "-t", f"devices/{facts.name}/hello", "-m", "hello"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.requirement("I3", "F15")
def test_a_device_enrols_by_a_fingerprint_connects_renews_and_connects_again(hub: RunningHub, tmp_path: Path) -> None:
    url = f"https://localhost:{hub.office_port}"
    out = tmp_path / "sensor-1"
    token = claim(hub, "sensor-*", "--uses", "10")
    done = device(
        tmp_path, "enrol", "sensor-1", "--hub", url, "--ca-sha256", fingerprint(hub), "--out", out, token=token
    )
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr
    assert {path.name: path.stat().st_mode & 0o777 for path in (out, *out.iterdir())} == {
        "sensor-1": 0o700, "device.key": 0o600, "device.crt": 0o600, "ca.pem": 0o600, "device.json": 0o600,
        "README.md": 0o600,
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == [out], "nothing else is left"
    assert (out / "ca.pem").read_bytes() == hub.ca_path.read_bytes()
    assert read_folder(out).port == hub.port
    publishes(out)

    before = (out / "device.crt").read_bytes(), (out / "device.key").read_bytes()
    assert "not due yet" in device(tmp_path, "renew", out, "--if-due").stdout
    renewed = device(tmp_path, "renew", out, "--json")
    assert renewed.returncode == 0, renewed.stderr
    assert msgspec.json.decode(renewed.stdout)["renewed"] is True
    after = (out / "device.crt").read_bytes(), (out / "device.key").read_bytes()
    assert before[0] != after[0]
    assert before[1] != after[1]
    publishes(out)
    same = device(tmp_path, "renew", out, "--keep-key")
    assert same.returncode == 0, same.stderr
    assert (out / "device.key").read_bytes() == after[1]
    publishes(out)
    shown = msgspec.json.decode(hub.lockgate("device", "show", "sensor-1", "--json").stdout)
    assert len(shown["credentials"]) == 3


def test_a_device_enrols_with_the_ca_in_a_file_and_the_token_in_a_file(hub: RunningHub, tmp_path: Path) -> None:
    (tmp_path / "claim").write_text(claim(hub, "gateway-7") + "\n")
    url = f"https://localhost:{hub.office_port}"
    options = ("--claim-file", tmp_path / "claim", "--ca", hub.ca_path, "--out", tmp_path / "out")
    done = device(tmp_path, "enrol", "gateway-7", "--hub", url, *options)
    assert done.returncode == 0, done.stderr
    publishes(tmp_path / "out")


def test_another_hub_gets_no_token(hub: RunningHub, tmp_path: Path) -> None:
    token = claim(hub, "sensor-*")
    url = f"https://localhost:{hub.office_port}"
    other = "00" * 32
    done = device(
        tmp_path, "enrol", "sensor-5", "--hub", url, "--ca-sha256", other, "--out", tmp_path / "o", token=token
    )
    assert (done.returncode, "it is another hub" in done.stderr) == (1, True)
    wrong_name = f"https://127.0.0.2:{hub.office_port}"
    done = device(tmp_path, "enrol", "sensor-5", "--hub", wrong_name, "--ca", hub.ca_path, "--out", "o", token=token)
    assert (done.returncode, "is not the hub that this device trusts" in done.stderr) == (1, True)
    assert not (tmp_path / "o").exists()
    assert msgspec.json.decode(hub.lockgate("claim", "show", token.split("_")[1], "--json").stdout)["uses"] == 0


def test_a_refusal_reaches_the_device_with_its_reference(hub: RunningHub, tmp_path: Path) -> None:
    url = f"https://localhost:{hub.office_port}"
    token = claim(hub, "sensor-*")
    done = device(tmp_path, "enrol", "pump", "--hub", url, "--ca", hub.ca_path, "--out", "o", token=token)
    assert done.returncode == 1
    assert "the hub refused: claim token is for other names (reference " in done.stderr
    reference = done.stderr.partition("(reference ")[2].partition(")")[0]
    assert eventually(lambda: [r for r in hub.why() if r["reference"] == reference] or None)


def test_an_enrolment_whose_answer_was_lost_is_done_again_with_the_same_key(hub: RunningHub, tmp_path: Path) -> None:
    url = f"https://localhost:{hub.office_port}"
    token = claim(hub, "lost-*")
    arguments = ("enrol", "lost-1", "--hub", url, "--ca", hub.ca_path)
    first = device(tmp_path, *arguments, "--out", "a", token=token)
    assert first.returncode == 0, first.stderr
    (tmp_path / ".b.key").write_bytes((tmp_path / "a" / "device.key").read_bytes())  # as after a power cut
    again = device(tmp_path, *arguments, "--out", "b", token=token)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a" / "device.crt").read_bytes() == (tmp_path / "b" / "device.crt").read_bytes()


def test_a_revoked_device_renews_no_more(hub: RunningHub, tmp_path: Path) -> None:
    out = hub.add_device("stolen", "x509")
    hub.lockgate("device", "revoke", "stolen")
    url = f"https://localhost:{hub.office_port}"

    def refused() -> str | None:
        done = device(tmp_path, "renew", out, "--hub", url)
        return done.stderr if done.returncode == 1 else None

    said = eventually(refused, 10.0)
    assert "revoked" in said or "alert" in said or "cannot be reached" in said
