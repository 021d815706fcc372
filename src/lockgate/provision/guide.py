"""What a person reads about a new device: command lines that work when pasted, and the README of its folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from lockgate.model.device import CredentialKind
from lockgate.provision.coap_folder import AIOCOAP_FILE, HUB_KEY_FILE, OSCORE_FILE, PSK_FILE, RAW_KEY_FILE
from lockgate.provision.coap_guide import coap_lines
from lockgate.provision.folder import CA_FILE, DEVICE_FILE, SCRAM_PROGRAM, DeviceFile

_TOKEN_KINDS = (CredentialKind.JWT_ES256, CredentialKind.JWT_RS256, CredentialKind.JWT_EDDSA)

_ROOT = "the root certificate: a hub that cannot prove itself by it is not yours"
_ROOT_ELSEWHERE = (
    "the hub's root certificate, for what else speaks with the hub here (HTTPS, say); this way in needs none"
)

_FILES = {
    "device.key": "the device's private key; whoever has it is the device",
    "device.crt": "the device's certificate, followed by the one of the CA that issued it",
    "password": "the device's password; whoever has it is the device",
    SCRAM_PROGRAM: "a program for node and npm's mqtt that connects by SCRAM: use it, or take what you need from it",
    PSK_FILE: "the key that the device shares with the hub; whoever has it is the device",
    AIOCOAP_FILE: "what aiocoap reads: which credentials are for this hub",
    OSCORE_FILE: "the context that the device shares with the hub; whoever has it is the device",
    RAW_KEY_FILE: "the device's private key with its public half behind it, as libcoap's clients read it",
    HUB_KEY_FILE: "the hub's public key: a hub that cannot prove itself by it is not yours",
    CA_FILE: _ROOT,
    DEVICE_FILE: "the same facts for programs: `lockgate device token` and the Python client read it",
}


class CommandLines(msgspec.Struct, frozen=True):
    """Two lines for a shell: start `subscribe` in one terminal, then paste `publish` into another."""

    subscribe: str
    publish: str


def command_lines(device: DeviceFile, folder: Path | None = None) -> CommandLines:
    """Give command lines for mosquitto_sub and mosquitto_pub; for SCRAM, which they do not speak, for node; for CoAP,
    libcoap's clients or aiocoap's.

    Args:
        device: what the folder's `device.json` says.
        folder: where the folder is, for lines that work from anywhere; None for lines to be run from inside it.
    """
    where = folder.absolute() if folder is not None else None
    if device.auth.is_for_coap_alone:
        return CommandLines(*coap_lines(device, where)[0])
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
    if device.auth.is_for_coap_alone:
        return _coap_readme(device, brings_key)
    lines = command_lines(device)
    by_scram = device.auth is CredentialKind.SCRAM_SHA_256
    kept = [device.key_file, device.certificate_file, device.password_file, SCRAM_PROGRAM if by_scram else None]
    files = "\n".join(f"- `{name}`: {_FILES[name]}" for name in (*kept, device.ca_file, DEVICE_FILE) if name)
    return _README.format(
        name=device.name, host=device.host, port=device.port, files=files, how=_HOW[device.auth].format(device=device),
        subscribe=lines.subscribe, publish=lines.publish,
        own_key=_OWN_KEY if brings_key else "",
        python="" if by_scram else _PYTHON.format(name=device.name),
        coap=_BY_COAP_AS_WELL.format(lines=_blocks(device)) if device.coap_port else "",
    )  # fmt: skip


def _coap_readme(device: DeviceFile, brings_key: bool) -> str:
    kept = _COAP_FILES[device.auth]
    if brings_key:
        kept = tuple(name for name in kept if name not in (device.key_file, RAW_KEY_FILE))
    told = {**_FILES, device.ca_file: _ROOT_ELSEWHERE}
    files = "\n".join(f"- `{name}`: {told[name]}" for name in (*kept, device.ca_file, DEVICE_FILE))
    return _COAP_README.format(
        name=device.name, host=device.host, port=device.port, how=_COAP_HOW[device.auth].format(device=device),
        lines=_blocks(device), files=files, own_key=_OWN_RAW_KEY if brings_key else "",
        secret=_NOTHING_TO_KEEP if device.auth is CredentialKind.NOSEC else _KEEP_SHARED.get(device.auth, _KEEP),
    )  # fmt: skip


def _blocks(device: DeviceFile) -> str:
    """Give the pairs of lines as they stand in a README."""
    first, second = ("Listen in one terminal", "and speak in another")
    found = coap_lines(device)
    if device.auth is CredentialKind.OSCORE:  # one after the other: a context serves one program at a time
        first, second = ("Speak", "and ask for what was said")
        found = [(speak, ask) for ask, speak in found]
    pairs = [f"{first}:\n\n```sh\n{one}\n```\n\n{second}:\n\n```sh\n{other}\n```" for one, other in found]
    return "\n\nOr by another program. ".join(pairs)


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

_COAP_FILES = {
    CredentialKind.PSK: (PSK_FILE, AIOCOAP_FILE),
    CredentialKind.RPK: ("device.key", RAW_KEY_FILE, HUB_KEY_FILE),
    CredentialKind.OSCORE: (OSCORE_FILE, AIOCOAP_FILE),
    CredentialKind.NOSEC: (),
}
_COAP_HOW = {
    CredentialKind.PSK: (
        "(CoAP over DTLS). It proves itself by the key in the file `psk`, which it shares with the hub, under the\n"
        "identity `{device.psk_identity}`. The key is what stands in the file, 32 characters; where a program wants\n"
        "it in hexadecimal: `xxd -p -c 64 psk`.\n"
        "While a command runs, other users of the same machine can see its arguments."
    ),
    CredentialKind.RPK: (
        "(CoAP over DTLS). It proves itself by its key alone, without a certificate; the hub proves itself by the key\n"
        "in `hub.pub.pem`, which the device is to compare (libcoap's client does not)."
    ),
    CredentialKind.OSCORE: (
        "(CoAP). Its messages are protected each by itself (OSCORE, RFC 8613), by the context in `oscore/`.\n"
        "Never use a copy of that folder beside another: a sequence number that is used twice gives its messages away."
    ),
    CredentialKind.NOSEC: (
        "(CoAP) **without any protection**: everybody on the way can read what it says, change it, and speak in its\n"
        "name. "
        "The hub knows it by the address that it sends from. Use it on a wire that nobody else is on, or not at all."
    ),
}

_COAP_README = """\
# {name}

This folder makes a machine the device **{name}** of the hub at `{host}`, UDP port {port}
{how}
It may use the topics under `devices/{name}/`; a topic is an address: `/devices/{name}/hello`.
{own_key}
## Connect

From inside this folder. {lines}

## Files

{files}

{secret}
Is it lost or seen by others, run `lockgate device revoke {name}` on the hub.
"""

_KEEP = "Keep the folder to the device: nobody else has a copy of its secret, the hub included."
_KEEP_SHARED = dict.fromkeys(
    (CredentialKind.PSK, CredentialKind.OSCORE),
    "Keep the folder to the device: nobody else has a copy of its secret but the hub, which keeps it sealed.",
)
_NOTHING_TO_KEEP = "There is no secret in this folder."
_OWN_RAW_KEY = """
The device made its key itself: only the public half was ever here. Put the key beside these files as `device.key`; for
libcoap's clients, `cat device.key device.pub.pem > device.rpk.pem`.
"""

_BY_COAP_AS_WELL = """
## By CoAP as well

The same certificate opens the door for CoAP over DTLS (UDP). {lines}
"""

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
{python}{coap}
## Files

{files}

Keep the folder to the device: nobody else has a copy of its secret, the hub included.
Is it lost or seen by others, run `lockgate device revoke {name}` on the hub.
"""
