"""`lockgate credential`: every key and password by which a device proves itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

import click

from lockgate.cli.acts import registrar_of
from lockgate.cli.folders import (
    PROVING_KINDS,
    brought_options,
    expires_option,
    look_over,
    make_folder,
    next_identity,
    read_given,
)
from lockgate.cli.moments import end_moment
from lockgate.cli.output import Noun, actor, console, home_option, json_option, moment, print_json, safe, table
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.model.device import Credential, CredentialKind
from lockgate.model.handles import shown_handle
from lockgate.provision.bundle import take_given
from lockgate.registry.journal import CREDENTIAL_SEEN
from lockgate.registry.keys import algorithm_of
from lockgate.registry.passwords import check_password
from lockgate.registry.resealing import reseal
from lockgate.registry.vault import Vault
from lockgate.revocation import settle_without_hub
from lockgate.store.messages_reader import Seen, read_seen


@click.group(cls=Noun)
def credential() -> None:
    """Look at credentials, add them, let single ones end, or revoke them."""


@credential.command()
@click.argument("name")
@click.option(
    "--auth", type=click.Choice(PROVING_KINDS), required=True,
    help="How the device proves who it is by it.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The folder to make for what it gets.")
@brought_options
@expires_option
@click.option("--hub", metavar="HOST_OR_IP", help="The name of the hub for this device, if not the first one.")
@home_option
@json_option
def add(
    name: str,
    auth: str,
    out: Path | None,
    public_key: BinaryIO | None,
    csr: BinaryIO | None,
    certificate: BinaryIO | None,
    password_file: BinaryIO | None,
    psk_file: BinaryIO | None,
    expires: str | None,
    hub: str | None,
    home: Path,
    as_json: bool,
) -> None:
    """Give a device one more key, certificate or password beside those that it has, all of which stay good.

    A key, a certificate or a password that the device brings needs no --out.
    `lockgate device rotate` lets the old ones end.
    """
    opened = Home.open(home)
    kind = CredentialKind(auth)
    given = look_over(opened, kind, name, read_given(public_key, csr, password_file, certificate, psk_file))
    expires_at = end_moment(expires, time.time()) if expires is not None else None
    with registrar_of(home) as registrar:
        device = registrar.device(name)
        registrar.check_room(name)
        if given.password:
            check_password(given.password, name, device.metadata.values())
        identity = next_identity(device) if kind is CredentialKind.PSK else ""
        made: list[Credential] = []
        if out is None:
            made.append(registrar.add_credential(name, take_given(kind, name, given, expires_at, identity)))
        else:
            make_folder(
                opened, kind, name, out, hub, given=given, expires_at=expires_at, identity=identity,
                register=lambda new: made.append(registrar.add_credential(name, new)),
            )  # fmt: skip
    if as_json:
        print_json({**_facts(made[0], {}, time.time()), "folder": None if out is None else str(out)})
        return
    until = f", until {moment(made[0].expires_at)}" if made[0].expires_at is not None else ""
    console().print(f"[green]added[/] credential {made[0].id} of {safe(name)}: {auth}{until}")
    if out is not None:
        console().print(f"it is in {safe(out)}")


@credential.command()
@click.argument("number", type=int)
@click.option("--at", "at", required=True, metavar="WHEN", help="1h, 30d (from now on), or a date (UTC).")
@home_option
@json_option
def expire(number: int, at: str, home: Path, as_json: bool) -> None:
    """Let a single credential end by itself at a time, earlier than it would. Sessions that it proved end with it."""
    end_at = end_moment(at, time.time())
    with registrar_of(home) as registrar:
        owner = registrar.expire_credential(number, end_at)
    if as_json:
        print_json({"credential": number, "device": owner, "expires_at": end_at})
        return
    console().print(f"{number} of {safe(owner)} [green]ends[/] {moment(end_at)}")


@credential.command()
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True, type=int)
@home_option
@json_option
def revoke(numbers: tuple[int, ...], home: Path, as_json: bool) -> None:
    """Make single credentials worthless, for good. Sessions that they proved, and what waits for them, end at once."""
    owners: list[str] = []
    with registrar_of(home) as registrar:
        for number in numbers:
            owners.append(registrar.revoke_credential(number))
            if not as_json:
                console().print(f"[green]revoked[/] {number} of {safe(owners[-1])}")
    settle_without_hub(Home.open(home))
    if as_json:
        print_json([{"credential": n, "device": d, "done": "revoked"} for n, d in zip(numbers, owners, strict=True)])


@credential.command(name="reseal")
@home_option
@json_option
def reseal_all(home: Path, as_json: bool) -> None:
    """Seal what devices share with the hub (psk, oscore) by a new key of secrets.key. Devices notice nothing.

    If somebody may have seen secrets.key and registry.db together, the devices need new secrets: device rotate.
    """
    opened = Home.open(home)
    with opened.registry() as registry:
        done = reseal(registry, Vault(opened.secrets_path), actor=actor(), now=time.time())
    if as_json:
        print_json({"resealed": done.count, "lost": list(done.lost)})
        return
    console().print(f"[green]resealed[/] {done.count} secrets")
    for name in done.lost:
        console().print(f"[red]lost[/]: that of {safe(name)} cannot be opened; lockgate device rotate gives it another")


@credential.command(name="list")
@click.argument("name", metavar="[DEVICE]", required=False)
@click.option("--all", "with_dead", is_flag=True, help="Those that were revoked or have expired as well.")
@home_option
@json_option
def list_credentials(name: str | None, with_dead: bool, home: Path, as_json: bool) -> None:
    """List every key and password, or those of one device: owner, algorithm, made, until, last used."""
    opened = Home.open(home)
    with opened.registry(read_only=True) as registry:
        devices = registry.devices(None if name is None else [name])
    if name is not None and not devices:
        raise NotFound(f"there is no device {name}", fix="lockgate device list shows the devices")
    seen = read_seen(opened.messages_path, name)
    now = time.time()
    found = [
        _facts(each, seen.get(one.name, {}), now)
        for one in devices
        for each in one.credentials
        if with_dead or _state(each, now) == "good"
    ]
    if as_json:
        print_json(found)
        return
    if not found:
        console().print("no credentials that hold")
        return
    made = table("number", "device", "kind", "algorithm", "key", "made", "until", "last used", "state")
    for facts in found:
        made.add_row(
            str(facts["id"]), str(facts["device"]), str(facts["kind"]), str(facts["algorithm"]),
            shown_handle(str(facts["thumbprint"])), _day(facts["created_at"]), _day(facts["expires_at"]),
            _day(facts["last_used"]), str(facts["state"]),
        )  # fmt: skip
    console().print(made)


def _state(found: Credential, now: float) -> str:
    if found.is_revoked:
        return "revoked"
    return "expired" if found.expires_at is not None and found.expires_at <= now else "good"


def _facts(found: Credential, seen: dict[str, Seen], now: float) -> dict[str, object]:
    used = seen.get(f"{CREDENTIAL_SEEN}{found.id}")
    return {
        "id": found.id,
        "device": found.device,
        "kind": found.kind,
        "algorithm": algorithm_of(found),
        "thumbprint": found.thumbprint,
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        "last_used": used.at if used is not None else None,
        "state": _state(found, now),
    }


def _day(seconds: object) -> str:
    return moment(seconds if isinstance(seconds, float) else None)
