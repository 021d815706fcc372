"""Command lines for CoAP: what a shell makes of them is what libcoap's and aiocoap's clients expect."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lockgate.model.device import CredentialKind
from lockgate.provision.coap_guide import COAP_KINDS, coap_lines
from lockgate.provision.folder import DeviceFile
from lockgate.provision.guide import command_lines, readme

KEY = "3A4QHfAGwTcFCtGZ2kpay836rxeyNeyD"
ALONE = [kind for kind in COAP_KINDS if kind.is_for_coap_alone]


def _device(kind: CredentialKind, host: str = "hub.local") -> DeviceFile:
    by_dtls = kind not in (CredentialKind.OSCORE, CredentialKind.NOSEC)
    is_x509 = kind is CredentialKind.X509
    return DeviceFile(
        1, "lamp", kind, host, 8883 if is_x509 else 5684 if by_dtls else 5683, "lockgate", "lamp", "ca.pem",
        key_file="device.key" if kind is CredentialKind.RPK or is_x509 else None,
        certificate_file="device.crt" if is_x509 else None,
        coap_port=5684 if is_x509 else 0,
        psk_file="psk" if kind is CredentialKind.PSK else None,
        psk_identity="lamp/2" if kind is CredentialKind.PSK else "",
    )  # fmt: skip


def _arguments(line: str, cwd: Path) -> list[str]:
    programs = ("coap-client-gnutls", "coap-client-openssl", "coap-client-notls", "aiocoap-client")
    shown = "".join(f'{name.replace("-", "_")}() {{ printf "%s\\n" {name} "$@"; }}; ' for name in programs)
    for name in programs:  # the names of a shell's functions have no dash everywhere
        line = re.sub(rf"(^|&& ){name} ", rf"\1{name.replace('-', '_')} ", line)
    done = subprocess.run(["sh", "-c", shown + line], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", COAP_KINDS)
def test_every_line_names_the_devices_own_topic_at_the_right_door(kind: CredentialKind, tmp_path: Path) -> None:
    (tmp_path / "psk").write_text(KEY)
    door = (
        "coaps://hub.local:5684"
        if kind not in (CredentialKind.OSCORE, CredentialKind.NOSEC)
        else "coap://hub.local:5683"
    )
    lines = coap_lines(_device(kind))
    assert lines
    for line in (line for pair in lines for line in pair):
        assert _arguments(line, tmp_path)[-1] == f"{door}/devices/lamp/hello"


@pytest.mark.parametrize("where", [None, "plain", 'it\'s $HOME; "quoted" `x`'])
def test_a_pre_shared_key_is_read_by_the_shell_and_stands_in_no_line(where: str | None, tmp_path: Path) -> None:
    folder = tmp_path / where if where is not None else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "psk").write_text(KEY)
    lines = coap_lines(_device(CredentialKind.PSK), folder if where is not None else None)
    assert [line.partition(" ")[0] for line, _ in lines[:2]] == ["coap-client-gnutls", "coap-client-openssl"]
    for line in (line for pair in lines[:2] for line in pair):
        assert KEY not in line
        words = _arguments(line, tmp_path if where is None else Path("/"))
        assert (words[words.index("-u") + 1], words[words.index("-k") + 1]) == ("lamp/2", KEY)


def test_each_kind_shows_what_proves_it(tmp_path: Path) -> None:
    words = {
        kind: _arguments(coap_lines(_device(kind), Path("/d"))[0][1], Path("/"))
        for kind in (CredentialKind.RPK, CredentialKind.X509)
    }
    assert words[CredentialKind.RPK][5:7] == ["-M", "/d/device.rpk.pem"]
    assert words[CredentialKind.X509][5:11] == ["-c", "/d/device.crt", "-j", "/d/device.key", "-C", "/d/ca.pem"]
    by_oscore = _arguments(coap_lines(_device(CredentialKind.OSCORE), tmp_path)[0][1], Path("/"))
    assert by_oscore[:3] == ["aiocoap-client", "--credentials", "aiocoap.json"]


@pytest.mark.parametrize("kind", ALONE)
def test_the_readme_holds_all_lines_and_explains_each_file(kind: CredentialKind) -> None:
    device = _device(kind)
    text, lines = readme(device), command_lines(device)
    for line in (lines.subscribe, lines.publish, *(line for pair in coap_lines(device) for line in pair)):
        assert f"```sh\n{line}\n```" in text
    for name in (device.key_file, device.psk_file, device.hub_key_file, "ca.pem", "device.json"):
        assert name is None or f"- `{name}`: " in text
    assert not re.search(r"[{}]", text)
    assert "mosquitto" not in text


def test_a_device_with_a_certificate_has_lines_for_both_protocols() -> None:
    text = readme(_device(CredentialKind.X509))
    assert "mosquitto_pub -h hub.local -p 8883" in text
    assert "coaps://hub.local:5684/devices/lamp/hello" in text


def test_an_ipv6_hub_stands_in_brackets() -> None:
    assert (
        "'coaps://[2001:db8::7]:5684/devices/lamp/hello'"
        in coap_lines(_device(CredentialKind.RPK, "2001:db8::7"))[0][0]
    )
