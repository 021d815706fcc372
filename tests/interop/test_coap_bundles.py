"""What stands in a device's README works as it stands there: libcoap's clients, each mode of DTLS, a hub that runs.

And who comes with something else is refused, and `lockgate why` says whose it was and what mends it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.hub import RunningHub, eventually
from tests.support.peers import WAIT_SECONDS, program

pytestmark = pytest.mark.process
WAIT = "-B 5"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("bundles"), coap=("nosec_enabled = true", "nosec_port = 0")) as running:
        yield running


def lines_in(folder: Path) -> list[str]:
    """Give the lines for libcoap's clients in a README, each with less patience than people have."""
    text = (folder / "README.md").read_text().replace("localhost", "127.0.0.1")  # libcoap would try ::1 as well
    found = re.findall(r"^(coap-client-\w+)( .*)$", text, re.MULTILINE)
    return [f"{program(name)} {WAIT}{rest}" for name, rest in found]


def run(line: str, folder: Path) -> str:
    """Run a line; give all that its client says: libcoap warns on standard output."""
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=WAIT_SECONDS)
    return (done.stdout + done.stderr).strip()


def said_and_heard(folder: Path) -> list[str]:
    """Run each line that speaks, and ask for what was said by the one that listens, without staying."""
    heard: list[str] = []
    lines = lines_in(folder)
    for listen, speak in zip(lines[::2], lines[1::2], strict=True):
        run(speak.replace("-e hello", f"-e hello-{len(heard)}"), folder)
        heard.append(run(listen.replace("-s 600 ", ""), folder))
    return heard


def is_refused(folder: Path) -> bool:
    """Say whether the hub refuses the device in the handshake: it hears nothing but the alert."""
    told = run(lines_in(folder)[0].replace("-s 600 ", ""), folder)
    return "DTLS: Alert" in told and "hello" not in told


@pytest.mark.requirement("C2", "T4")
@pytest.mark.parametrize(("kind", "programs"), [("psk", 2), ("rpk", 1), ("x509", 2)])
def test_every_line_of_a_readme_works_and_its_device_is_who_came(hub: RunningHub, kind: str, programs: int) -> None:
    folder = hub.add_device(f"d-{kind}", kind)
    assert said_and_heard(folder) == [f"hello-{number}" for number in range(programs)]

    def connected() -> bool:
        facts = msgspec.json.decode(hub.lockgate("device", "show", f"d-{kind}", "--json").stdout)
        return facts["last_connect"] is not None

    eventually(connected, 5.0, "the device's last connect")


@pytest.mark.requirement("C2")
def test_a_device_without_protection_works_by_its_readme_as_well(hub: RunningHub) -> None:
    folder = hub.add_device("probe", "nosec", "--address", "127.0.0.1", "--accept-no-security")
    assert said_and_heard(folder) == ["hello-0"]


@pytest.mark.requirement("C2", "I5")
def test_an_old_and_a_new_pre_shared_key_hold_side_by_side_until_the_old_one_is_revoked(hub: RunningHub) -> None:
    old, new = hub.add_device("lamp", "psk"), hub.folder / "lamp-new"
    hub.lockgate("device", "rotate", "lamp", "--out", str(new), "--hub", "localhost")
    assert said_and_heard(old) == said_and_heard(new) == ["hello-0", "hello-1"]
    credentials = msgspec.json.decode(hub.lockgate("credential", "list", "lamp", "--json").stdout)
    hub.lockgate("credential", "revoke", str(credentials[0]["id"]))
    eventually(lambda: is_refused(old), 10.0, "the old key to be refused")
    assert said_and_heard(new) == ["hello-0", "hello-1"]
    refusal = hub.wait_for_refusal("unknown PSK identity", device="lamp")
    assert refusal["message"] == "the pre-shared key of lamp was revoked"


@pytest.mark.requirement("C2")
def test_who_comes_with_something_else_is_refused_and_told_apart(hub: RunningHub) -> None:
    folder, raw = hub.add_device("valve", "psk"), hub.add_device("meter", "rpk")
    key = (folder / "psk").read_text()
    gnutls = program("coap-client-gnutls")
    url = f"coaps://127.0.0.1:{hub.coap_port}/devices/valve/hello"
    run(f"{gnutls} {WAIT} -m get -u valve -k {key[::-1]} {url}", folder)
    assert "device rotate valve" in hub.wait_for_refusal("wrong pre-shared key", device="valve")["fix"]
    run(f"{gnutls} {WAIT} -m get -u meter -k {key} {url}", folder)
    assert "proves itself by rpk" in hub.wait_for_refusal("unknown PSK identity", device="meter")["message"]
    run(f"{gnutls} {WAIT} -m get -u {key} -k valve {url}", folder)  # the two options, mixed up
    assert key[:8] in hub.wait_for_refusal("unknown PSK identity", device="")["message"]
    hub.lockgate("device", "revoke", "meter")
    eventually(lambda: is_refused(raw), 10.0, "the revoked key to be refused")
    assert hub.wait_for_refusal("unknown raw public key", device="meter")["message"].endswith("was revoked")
    kept = b"".join(path.read_bytes() for path in hub.home.rglob("*") if path.is_file())
    assert key.encode() not in kept + hub.log_path.read_bytes()
