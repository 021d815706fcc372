"""What commands that give a device a credential share: what it brings, when it ends, and the folder that is made."""

from __future__ import annotations

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
from lockgate.model.device import CredentialKind
from lockgate.provision.bundle import NOTHING, Given, NewCredential, make_bundle
from lockgate.provision.folder import HubAddress

MAX_FILE_BYTES = 65_536
_F = TypeVar("_F", bound=Callable[..., object])

expires_option = click.option(
    "--expires", metavar="WHEN",
    help="When it ends: 30d (from now on), or a date (UTC). Without it: never, a certificate after ten years.",
)  # fmt: skip


def brought_options(command: _F) -> _F:
    """Add the options for what a device, or its maker, brings: `public_key`, `csr`, `certificate`, `password_file`."""
    for option in (
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
            help="A key that the device made itself: its public half, or a certificate over it (jwt-*).",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def read_given(
    public_key: BinaryIO | None,
    csr: BinaryIO | None,
    password_file: BinaryIO | None,
    certificate: BinaryIO | None = None,
) -> Given:
    """Give what a device brings.

    Raises:
        InvalidSettings: when a file is empty, too large, or no text.
    """
    return Given(_text(public_key), _text(csr), _text(password_file).rstrip("\r\n"), _text(certificate))


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
    expires_at: float | None = None,
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
    """
    address = hub_address(home, hub)
    audience = home.settings().identity.jwt_audience
    with home.registry() as registry:
        issuer = Desk(home, registry, actor()) if kind is CredentialKind.X509 else None
        make_bundle(
            kind, name, out, address, issuer, home.root_pem(), audience, time.time(),
            register=register, given=given, with_nvs=with_nvs, expires_at=expires_at,
        )  # fmt: skip


def hub_address(home: Home, hub: str | None) -> HubAddress:
    """Give where a device reaches the hub: by the name `hub`, None: by the first one.

    Raises:
        NotFound: the hub's certificate is not for that name.
    """
    address = home.hub_address()
    return address if hub is None else HubAddress(_covered(home, hub), address.port)


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
