"""The command lines that we print: what a shell makes of them is what mosquitto's clients expect."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lockgate.model.device import CredentialKind
from lockgate.provision.folder import DeviceFile
from lockgate.provision.guide import command_lines, readme, scram_program

ALL = [kind for kind in CredentialKind if not kind.is_for_coap_alone]
BY_MOSQUITTO = [kind for kind in ALL if kind is not CredentialKind.SCRAM_SHA_256]


def _device(kind: CredentialKind, host: str = "hub.local") -> DeviceFile:
    with_key = kind not in (CredentialKind.PASSWORD, CredentialKind.SCRAM_SHA_256)
    return DeviceFile(
        1, "sensor-1", kind, host, 8883, "lockgate", "sensor-1", "ca.pem",
        key_file="device.key" if with_key else None,
        certificate_file="device.crt" if kind is CredentialKind.X509 else None,
        password_file=None if with_key else "password",
    )  # fmt: skip


def _arguments(line: str, cwd: Path) -> list[str]:
    """Let a real shell split the line, with `lockgate` and the clients replaced by functions that show their words."""
    script = (
        "show() { printf '%s\\n' \"$@\"; }; "
        'node() { show "$@"; }; '
        'mosquitto_pub() { show "$@"; }; mosquitto_sub() { show "$@"; }; '
        "lockgate() { printf 'token-of-'; printf '%s|' \"$@\"; }; " + line
    )
    done = subprocess.run(["sh", "-c", script], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


@pytest.mark.parametrize("kind", BY_MOSQUITTO)
def test_both_lines_reach_the_hub_with_tls_and_their_own_client_id(kind: CredentialKind, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    lines = command_lines(_device(kind))
    for line, client_id in ((lines.subscribe, "sensor-1/sub"), (lines.publish, "sensor-1")):
        arguments = _arguments(line, tmp_path)
        for option, value in (
            ("-h", "hub.local"), ("-p", "8883"), ("--cafile", "ca.pem"), ("-V", "5"), ("-i", client_id), ("-q", "1"),
            ("-t", "devices/sensor-1/hello"),
        ):  # fmt: skip
            assert _option(arguments, option) == value
        assert ("-m" in arguments) == line.startswith("mosquitto_pub ")
    assert lines.subscribe.startswith("mosquitto_sub ")


@pytest.mark.parametrize("where", ["plain", "with space", 'it\'s $HOME; "quoted" `x`'])
def test_absolute_lines_work_from_anywhere_whatever_the_folder_is_called(where: str, tmp_path: Path) -> None:
    folder = tmp_path / where
    folder.mkdir()
    (folder / "password").write_text("s3cret")
    password = _arguments(command_lines(_device(CredentialKind.PASSWORD), folder).publish, Path("/"))
    token = _arguments(command_lines(_device(CredentialKind.JWT_ES256), folder).publish, Path("/"))
    x509 = _arguments(command_lines(_device(CredentialKind.X509), folder).subscribe, Path("/"))
    assert (_option(password, "-u"), _option(password, "-P")) == ("sensor-1", "s3cret")
    assert (_option(token, "-u"), _option(token, "-P")) == ("sensor-1", f"token-of-device|token|{folder}|")
    assert _option(x509, "--cert") == str(folder / "device.crt")
    assert _option(x509, "--key") == str(folder / "device.key")
    assert "-P" not in x509


def test_relative_lines_ask_for_a_token_of_the_folder_they_run_in(tmp_path: Path) -> None:
    arguments = _arguments(command_lines(_device(CredentialKind.JWT_RS256)).publish, tmp_path)
    assert _option(arguments, "-P") == "token-of-device|token|.|"


@pytest.mark.parametrize("where", ["plain", 'it\'s $HOME; "quoted" `x`'])
def test_lines_for_scram_run_the_program_of_the_folder(where: str, tmp_path: Path) -> None:
    for folder, program in ((None, "client.mjs"), (tmp_path / where, str(tmp_path / where / "client.mjs"))):
        lines = command_lines(_device(CredentialKind.SCRAM_SHA_256), folder)
        shown = [_arguments(line, Path("/")) for line in (lines.subscribe, lines.publish)]
        topic = "devices/sensor-1/hello"
        assert shown == [[program, "subscribe", topic], [program, "publish", topic, "hello"]]


def test_the_program_for_scram_is_explained_and_the_python_client_is_not_offered() -> None:
    text = readme(_device(CredentialKind.SCRAM_SHA_256))
    assert "- `client.mjs`: " in text
    assert "npm install mqtt@5" in text
    assert "lockgate.client" not in text
    assert b"authenticationMethod" in scram_program()


@pytest.mark.parametrize("kind", ALL)
def test_nothing_printed_ever_turns_protection_off(kind: CredentialKind, tmp_path: Path) -> None:
    lines = command_lines(_device(kind), tmp_path)
    text = lines.publish + lines.subscribe + readme(_device(kind))
    assert "insecure" not in text
    assert "1883 " not in text


@pytest.mark.parametrize("kind", ALL)
def test_the_readme_holds_both_lines_and_explains_each_file(kind: CredentialKind) -> None:
    device = _device(kind)
    text, lines = readme(device), command_lines(device)
    assert f"```sh\n{lines.subscribe}\n```" in text
    assert f"```sh\n{lines.publish}\n```" in text
    for name in (device.key_file, device.certificate_file, device.password_file, "ca.pem", "device.json"):
        assert name is None or f"- `{name}`: " in text
    assert not re.search(r"[{}]", text)
