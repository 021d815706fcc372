"""`lockgate credential`: every key and password by which a device proves itself."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lockgate.cli.acts import registrar_of
from lockgate.cli.output import console, home_option, json_option, moment, print_json, safe, table
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.model.device import Credential
from lockgate.registry.journal import CREDENTIAL_SEEN
from lockgate.registry.keys import algorithm_of
from lockgate.revocation import settle_without_hub
from lockgate.store.messages_reader import Seen, read_seen


@click.group()
def credential() -> None:
    """Look at credentials, add them, revoke single ones."""


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
            str(facts["thumbprint"])[:16], _day(facts["created_at"]), _day(facts["expires_at"]),
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
