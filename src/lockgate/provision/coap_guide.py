"""Command lines for a device that speaks CoAP: libcoap's clients, and aiocoap's where it protects by OSCORE."""

from __future__ import annotations

import shlex
from pathlib import Path

from lockgate.model.device import CredentialKind
from lockgate.provision.coap_folder import AIOCOAP_FILE, RAW_KEY_FILE, coap_address
from lockgate.provision.folder import DeviceFile

OBSERVE_SECONDS = 600
"""How long the line that listens does so."""

COAP_KINDS = (CredentialKind.PSK, CredentialKind.RPK, CredentialKind.OSCORE, CredentialKind.NOSEC, CredentialKind.X509)
_PROGRAMS = {
    CredentialKind.PSK: ("coap-client-gnutls", "coap-client-openssl"),
    CredentialKind.RPK: ("coap-client-gnutls",),
    CredentialKind.X509: ("coap-client-gnutls", "coap-client-openssl"),
    CredentialKind.NOSEC: ("coap-client-notls",),
    CredentialKind.OSCORE: (),
}


def coap_lines(device: DeviceFile, folder: Path | None = None) -> list[tuple[str, str]]:
    """Give pairs of lines for a shell, one that listens and one that speaks; the first pair is the best known.

    Args:
        device: what the folder's `device.json` says.
        folder: where the folder is, for lines that work from anywhere; None for lines to be run from inside it.
    """
    lines = [
        (
            _line(program, device, folder, "-m", "get", "-s", str(OBSERVE_SECONDS)),
            _line(program, device, folder, "-m", "put", "-e", "hello"),
        )
        for program in _PROGRAMS[device.auth]
    ]
    if device.auth in (CredentialKind.OSCORE, CredentialKind.PSK):
        by_oscore = device.auth is CredentialKind.OSCORE
        # One OSCORE context serves one program at a time: this one asks once, and does not stay to listen.
        listen = [] if by_oscore else ["--observe"]
        lines.append(
            (_aiocoap_line(device, folder, *listen), _aiocoap_line(device, folder, "-m", "PUT", "--payload", "hello"))
        )
    return lines


def _line(program: str, device: DeviceFile, folder: Path | None, *words: str) -> str:
    line = shlex.join([program, *words, *_proof(device, folder)])
    return f"{line}{_secret(device, folder)} {shlex.quote(_target(device))}"


def _proof(device: DeviceFile, folder: Path | None) -> list[str]:
    if device.auth is CredentialKind.X509:
        certificate, key = device.certificate_file or "device.crt", device.key_file or "device.key"
        return ["-c", _path(folder, certificate), "-j", _path(folder, key), "-C", _path(folder, device.ca_file)]
    if device.auth is CredentialKind.RPK:
        return ["-M", _path(folder, RAW_KEY_FILE)]
    return ["-u", device.psk_identity] if device.auth is CredentialKind.PSK else []


def _secret(device: DeviceFile, folder: Path | None) -> str:
    if device.psk_file is None:
        return ""
    # The shell reads the key at the moment of use, so that no line of ours holds one.
    return f' -k "$({shlex.join(["cat", _path(folder, device.psk_file)])})"'


def _aiocoap_line(device: DeviceFile, folder: Path | None, *words: str) -> str:
    # aiocoap looks for what its file names from where it is started.
    there = f"cd {shlex.quote(str(folder))} && " if folder is not None else ""
    return there + shlex.join(["aiocoap-client", "--credentials", AIOCOAP_FILE, *words, _target(device)])


def _target(device: DeviceFile) -> str:
    address = coap_address(device.auth, device.host, device.coap_port or device.port)
    return f"{address.base}/devices/{device.name}/hello"


def _path(folder: Path | None, name: str) -> str:
    return name if folder is None else str(folder / name)
