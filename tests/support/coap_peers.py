"""Real CoAP clients: libcoap's command line, as a user would call it; and devices for them, registered by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from lockgate.home import Home
from lockgate.model.device import CredentialKind
from lockgate.model.permission import Operation, Rule
from lockgate.provision.folder import read_folder
from lockgate.registry.registrar import Registrar

NOTLS, GNUTLS, OPENSSL = "coap-client-notls", "coap-client-gnutls", "coap-client-openssl"
SECONDS = 20.0


class Shown(msgspec.Struct):
    """A credential to register."""

    kind: CredentialKind
    public: str
    expires_at: float | None = None


def register(home: Path, name: str, kind: CredentialKind, public: str, *filters: str) -> None:
    """Register a device that may publish on, and receive from, what the filters take in."""
    opened = Home.open(home)
    rules = [Rule(f"device:{name}", each, text) for text in filters for each in (Operation.PUBLISH, Operation.RECEIVE)]
    with opened.registry() as database:
        Registrar(database, "test").add_device(name, [Shown(kind, public)], rules=rules)


def coap(program: str, *words: str, body: bytes | None = None, seconds: float = SECONDS) -> str:
    """Call a client of libcoap, for so long at most; give what it prints: the payload, or code and diagnostic text."""
    options = ["-f", "-"] if body is not None else []
    done = subprocess.run(
        [program, "-B", "8", *options, *words], input=body or b"", capture_output=True, timeout=seconds, check=False
    )
    return (done.stdout + done.stderr).decode().strip()


def shown(folder: Path, kind: str) -> list[str]:
    """Give the options by which libcoap's clients show the credentials in a device's folder."""
    if kind == "psk":
        return ["-u", read_folder(folder).psk_identity, "-k", (folder / "psk").read_text()]
    if kind == "rpk":
        return ["-M", str(folder / "device.rpk.pem")]
    return ["-c", str(folder / "device.crt"), "-j", str(folder / "device.key"), "-C", str(folder / "ca.pem")]
