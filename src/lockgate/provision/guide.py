"""What a person reads about a new device: command lines that work when pasted, and the README of its folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from lockgate.model.device import CredentialKind
from lockgate.provision.folder import CA_FILE, DEVICE_FILE, SCRAM_PROGRAM, DeviceFile

_TOKEN_KINDS = (CredentialKind.JWT_ES256, CredentialKind.JWT_RS256, CredentialKind.JWT_EDDSA)

_FILES = {
    "device.key": "the device's private key; whoever has it is the device",
    "device.crt": "the device's certificate, followed by the one of the CA that issued it",
    "password": "the device's password; whoever has it is the device",
    SCRAM_PROGRAM: "a program for node and npm's mqtt that connects by SCRAM: use it, or take what you need from it",
    CA_FILE: "the root certificate: a hub that cannot prove itself by it is not yours",
    DEVICE_FILE: "the same facts for programs: `lockgate device token` and the Python client read it",
}


class CommandLines(msgspec.Struct, frozen=True):
    """Two lines for a shell: start `subscribe` in one terminal, then paste `publish` into another."""

    subscribe: str
    publish: str


def command_lines(device: DeviceFile, folder: Path | None = None) -> CommandLines:
    """Give command lines for mosquitto_sub and mosquitto_pub; for SCRAM, which they do not speak, for node.

    Args:
        device: what the folder's `device.json` says.
        folder: where the folder is, for lines that work from anywhere; None for lines to be run from inside it.
    """
    where = folder.absolute() if folder is not None else None
    if device.auth is CredentialKind.SCRAM_SHA_256:
        program, topic = _path(where, SCRAM_PROGRAM), f"devices/{device.name}/hello"
        return CommandLines(
            subscribe=shlex.join(["node", program, "subscribe", topic]),
            publish=shlex.join(["node", program, "publish", topic, "hello"]),
        )
    return CommandLines(
        subscribe=_line("mosquitto_sub", device, where, f"{device.client_id}/sub"),
        publish=_line("mosquitto_pub", device, where, device.client_id) + " -m hello",
    )


def readme(device: DeviceFile, brings_key: bool = False) -> str:
    """Give the README of a device's folder: how to connect, what each file is, what to do when it is lost.

    `brings_key` is true when the device made its key itself, and only its public half was ever here.
    """
    lines = command_lines(device)
    by_scram = device.auth is CredentialKind.SCRAM_SHA_256
    kept = [device.key_file, device.certificate_file, device.password_file, SCRAM_PROGRAM if by_scram else None]
    files = "\n".join(f"- `{name}`: {_FILES[name]}" for name in (*kept, device.ca_file, DEVICE_FILE) if name)
    return _README.format(
        name=device.name, host=device.host, port=device.port, files=files, how=_HOW[device.auth].format(device=device),
        subscribe=lines.subscribe, publish=lines.publish,
        own_key=_OWN_KEY if brings_key else "",
        python="" if by_scram else _PYTHON.format(name=device.name),
    )  # fmt: skip


def scram_program() -> bytes:
    """Give the program that goes into the folder of a device that proves itself by SCRAM."""
    return (Path(__file__).parent / SCRAM_PROGRAM).read_bytes()


def _line(program: str, device: DeviceFile, folder: Path | None, client_id: str) -> str:
    words = [program, "-h", device.host, "-p", str(device.port), "--cafile", _path(folder, device.ca_file)]
    line = shlex.join([*words, *_certificate(device, folder), "-V", "5", "-i", client_id])
    return f"{line}{_secret(device, folder)} {shlex.join(['-q', '1', '-t', f'devices/{device.name}/hello'])}"


def _certificate(device: DeviceFile, folder: Path | None) -> list[str]:
    if device.certificate_file is None or device.key_file is None:
        return []
    return ["--cert", _path(folder, device.certificate_file), "--key", _path(folder, device.key_file)]


def _secret(device: DeviceFile, folder: Path | None) -> str:
    # The shell makes the secret at the moment of use, so that no line of ours holds one.
    if device.auth in _TOKEN_KINDS:
        command = ["lockgate", "device", "token", str(folder) if folder is not None else "."]
    elif device.password_file is not None:
        command = ["cat", _path(folder, device.password_file)]
    else:
        return ""
    return f' -u {shlex.quote(device.name)} -P "$({shlex.join(command)})"'


def _path(folder: Path | None, name: str) -> str:
    return name if folder is None else str(folder / name)


_BY_JWT = (
    "It proves itself with a JWT ({algorithm}), signed with its key, in the password field.\n"
    "`lockgate device token .` prints a fresh one, good for an hour (`--for 12h` for longer, at most a day);\n"
    "its audience is `{{device.audience}}`."
)
_HOW = {
    CredentialKind.JWT_ES256: _BY_JWT.format(algorithm="ES256"),
    CredentialKind.JWT_RS256: _BY_JWT.format(algorithm="RS256"),
    CredentialKind.JWT_EDDSA: _BY_JWT.format(algorithm="EdDSA"),
    CredentialKind.X509: (
        "It proves itself with its certificate, in the TLS handshake; no user name or password is needed."
    ),
    CredentialKind.PASSWORD: (
        "It proves itself with its name as user name and the password in the file `password`.\n"
        "While a command runs, other users of the same machine can see its arguments: where that matters, use a key."
    ),
    CredentialKind.SCRAM_SHA_256: (
        "It proves by SCRAM-SHA-256 (MQTT 5.0's enhanced authentication) that it knows the password in the file\n"
        "`password`, without ever sending it; mosquitto's clients and paho do not speak it, npm's mqtt does.\n"
        "Once, inside this folder: `npm install mqtt@5`."
    ),
}

_PYTHON = """
Or in Python:

```python
from lockgate.client import Device

with Device.open(".") as device:
    device.publish("devices/{name}/hello", b"hello")
```
"""

_OWN_KEY = """
The device made its key itself: only the public half was ever here. Put this folder beside it on the device, with the
key as `device.key`.
"""

_README = """\
# {name}

This folder makes a machine the device **{name}** of the hub at `{host}`, port {port} (MQTT over TLS).
{how}
It may use the client ids `{name}` and `{name}/` with any suffix, and the topics under `devices/{name}/`.
{own_key}
## Connect

From inside this folder. Listen in one terminal:

```sh
{subscribe}
```

and speak in another:

```sh
{publish}
```
{python}
## Files

{files}

Keep the folder to the device: nobody else has a copy of its secret, the hub included.
Is it lost or seen by others, run `lockgate device revoke {name}` on the hub.
"""
