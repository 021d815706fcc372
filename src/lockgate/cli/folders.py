"""What commands that give a device a credential share: what it brings, when it ends, and the folder that is made."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import click
import msgspec

from lockgate.ca.brought import check_brought
from lockgate.ca.desk import Desk
from lockgate.cli.output import actor
from lockgate.errors import InvalidSettings, NotFound
from lockgate.home import Home
from lockgate.model.device import CredentialKind, Device
from lockgate.model.handles import psk_handle
from lockgate.provision.bundle import NOTHING, Given, NewCredential, make_bundle
from lockgate.provision.folder import HubAddress

MAX_FILE_BYTES = 65_536
PROVING_KINDS = [kind.value for kind in CredentialKind if kind is not CredentialKind.NOSEC]
"""What a command takes that is not to make a device without any protection; `device add` alone does that."""
_F = TypeVar("_F", bound=Callable[..., object])

expires_option = click.option(
    "--expires", metavar="WHEN",
    help="When it ends: 30d (from now on), or a date (UTC). Without it: never, a certificate after ten years.",
)  # fmt: skip


def brought_options(command: _F) -> _F:
    """Add the options for what a device, or its maker, brings, for `read_given`: `public_key`, `csr` and others."""
    for option in (
        click.option(
            "--psk-file", type=click.File("rb"), metavar="FILE",
            help="A pre-shared key set elsewhere, in hexadecimal, - for standard input (psk).",
        ),
        click.option(
            "--password-file", type=click.File("rb"), metavar="FILE",
            help="A password set elsewhere, - for standard input (password, scram-sha-256).",
        ),
        click.option(
            "--certificate", type=click.File("rb"), metavar="FILE",
            help="A certificate that it has from a CA that is trusted (x509); its key stays where it is.",
        ),
        click.option(
            "--csr", type=click.File("rb"), metavar="FILE", help="A certificate request made on the device (x509)."
        ),
        click.option(
            "--public-key", "public_key", type=click.File("rb"), metavar="FILE",
            help="A key that the device made itself: its public half, or a certificate over it (jwt-*, rpk).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def read_given(
    public_key: BinaryIO | None,
    csr: BinaryIO | None,
    password_file: BinaryIO | None,
    certificate: BinaryIO | None = None,
    psk_file: BinaryIO | None = None,
) -> Given:
    """Give what a device brings.

    Raises:
        InvalidSettings: when a file is empty, too large, or no text.
    """
    return Given(
        _text(public_key), _text(csr), _text(password_file).rstrip("\r\n"), _text(certificate), _text(psk_file).strip()
    )


def look_over(home: Home, kind: CredentialKind, name: str, given: Given) -> Given:
    """Give what a device brings, when the gate would believe the certificate that is among it.

    Raises:
        InvalidSettings: see `ca.brought.check_brought`.
    """
    if kind is not CredentialKind.X509 or not given.certificate:
        return given
    return msgspec.structs.replace(given, certificate=check_brought(home, name, given.certificate, time.time()))


def make_folder(
    home: Home, kind: CredentialKind, name: str, out: Path, hub: str | None,
    register: Callable[[NewCredential], object], given: Given = NOTHING, with_nvs: bool = False,
    expires_at: float | None = None, identity: str = "",
) -> None:  # fmt: skip
    """Make a device's folder with a new secret, or what it brings, and register that.

    Args:
        home: the hub's.
        kind: how the device proves itself by it.
        name: the device's name.
        out: the folder to make.
        hub: the name of the hub for this device; None: the first one.
        register: told what the registry is to remember; if it raises, the folder is removed again.
        given: what the device brings.
        with_nvs: add the table for an ESP32.
        expires_at: the unix second at which the credential ends, if it shall.
        identity: under which a pre-shared key is used, if not the device's name.
    """
    address = hub_address(home, hub)
    audience = home.settings().identity.jwt_audience
    with home.registry() as registry:
        issuer = Desk(home, registry, actor()) if kind is CredentialKind.X509 else None
        make_bundle(
            kind, name, out, address, issuer, home.root_pem(), audience, time.time(),
            register=register, given=given, with_nvs=with_nvs, expires_at=expires_at, identity=identity,
            hub_key_pem=home.raw_public_pem() if kind is CredentialKind.RPK else b"",
        )  # fmt: skip


def next_identity(device: Device) -> str:
    """Give the identity of a device's next pre-shared key: its name, unless an earlier one has, or had, that.

    Each key has an identity of its own, so that an old and a new one hold side by side while the device changes over.
    """
    had = {credential.thumbprint for credential in device.credentials}
    return device.name if psk_handle(device.name) not in had else f"{device.name}/{secrets.token_hex(4)}"


def hub_address(home: Home, hub: str | None) -> HubAddress:
    """Give where a device reaches the hub: by the name `hub`, None: by the first one.

    Raises:
        NotFound: the hub's certificate is not for that name.
    """
    address = home.hub_address()
    return address if hub is None else msgspec.structs.replace(address, host=_covered(home, hub))


def _text(file: BinaryIO | None) -> str:
    if file is None:
        return ""
    content = file.read(MAX_FILE_BYTES + 1)
    try:
        if content and len(content) <= MAX_FILE_BYTES:
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidSettings(f"{file.name} is empty, too large, or no text", fix="name a PEM file, or one with a password")


def _covered(home: Home, name: str) -> str:
    names = home.server_names()
    if name.lower() not in names:
        raise NotFound(
            f"the hub's certificate is not for {name!r}, but for: {', '.join(names)}",
            fix=f"lockgate server-cert add-name {name}",
        )
    return name
