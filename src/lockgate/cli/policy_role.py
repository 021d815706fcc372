"""`lockgate policy role`: rules under one name, and who holds them."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate.cli.output import Noun, actor, console, home_option, json_option, print_json, safe, table
from lockgate.home import Home
from lockgate.registry.rules import RoleBook
from lockgate.store.rules import held_roles, roles


@click.group(cls=Noun)
def role() -> None:
    """Hold rules together under a name, and let devices and groups hold that."""


@role.command()
@click.argument("name")
@home_option
@json_option
def add(name: str, home: Path, as_json: bool) -> None:
    """Make the role NAME. `policy allow --role NAME` gives it rules."""
    with Home.open(home).registry() as registry:
        RoleBook(registry, actor()).add_role(name)
    _say({"role": name, "done": "added"}, f"the role {name}", as_json)


@role.command()
@click.argument("name")
@home_option
@json_option
def remove(name: str, home: Path, as_json: bool) -> None:
    """Remove the role NAME with its rules; nobody holds it any longer."""
    with Home.open(home).registry() as registry:
        RoleBook(registry, actor()).remove_role(name)
    _say({"role": name, "done": "removed"}, f"the role {name}", as_json)


@role.command(name="list")
@home_option
@json_option
def list_roles(home: Path, as_json: bool) -> None:
    """List the roles: their rules, and who holds them."""
    with Home.open(home).registry(read_only=True) as registry:
        names, held, rules = roles(registry), held_roles(registry), registry.rules()
    holders = {name: [each.holder for each in held if each.role == name] for name in names}
    of_role = {name: [rule for rule in rules if rule.subject == f"role:{name}"] for name in names}
    if as_json:
        print_json([{"role": name, "held_by": holders[name], "rules": of_role[name]} for name in names])
        return
    if not names:
        console().print("no roles yet: lockgate policy role add NAME")
        return
    made = table("role", "held by", "rules")
    for name in names:
        said = "\n".join(safe(str(rule).removeprefix(f"role:{name}: ")) for rule in of_role[name])
        made.add_row(name, "\n".join(holders[name]), said)
    console().print(made)


@role.command()
@click.argument("name")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="To this device.")
@click.option("--group", "groups", multiple=True, metavar="G", help="To all devices of this group.")
@home_option
@json_option
def grant(name: str, devices: tuple[str, ...], groups: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Let devices and groups hold the role NAME. A running hub follows at once."""
    holders = _holders(devices, groups)
    with Home.open(home).registry() as registry:
        book = RoleBook(registry, actor())
        for holder in holders:
            book.grant(name, holder)
    for holder in holders if not as_json else ():
        console().print(f"[green]granted[/] {safe(name)} to {safe(holder)}")
    if as_json:
        print_json([{"role": name, "holder": holder, "done": "granted"} for holder in holders])


@role.command()
@click.argument("name")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="From this device.")
@click.option("--group", "groups", multiple=True, metavar="G", help="From this group.")
@home_option
@json_option
def revoke(name: str, devices: tuple[str, ...], groups: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Take the role NAME from devices and groups. A running hub follows at once."""
    holders = _holders(devices, groups)
    with Home.open(home).registry() as registry:
        book = RoleBook(registry, actor())
        for holder in holders:
            book.revoke(name, holder)
    for holder in holders if not as_json else ():
        console().print(f"[green]revoked[/] {safe(name)} from {safe(holder)}")
    if as_json:
        print_json([{"role": name, "holder": holder, "done": "revoked"} for holder in holders])


def _holders(devices: tuple[str, ...], groups: tuple[str, ...]) -> list[str]:
    holders = [*(f"device:{name}" for name in devices), *(f"group:{name}" for name in groups)]
    if not holders:
        raise click.UsageError("say who: --device NAME, --group G, or several of them")
    return holders


def _say(facts: dict[str, str], what: str, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        console().print(f"[green]{facts['done']}[/] {safe(what)}")
