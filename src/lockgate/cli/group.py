"""`lockgate group`: devices that belong together, for rules and for shutting them out together."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate.cli.acts import add_act, add_pair_act
from lockgate.cli.output import Noun, console, home_option, json_option, moment, print_json, safe, table
from lockgate.errors import NotFound
from lockgate.home import Home
from lockgate.store.groups import Group, groups


@click.group(cls=Noun)
def group() -> None:
    """Put devices together, look at groups, shut them out."""


add_act(
    group, "group", "add", "Make a group. One exists as well as soon as a device joins it.", "added",
    lambda registrar, name: registrar.add_group(name),
)  # fmt: skip


@group.command(name="list")
@home_option
@json_option
def list_groups(home: Path, as_json: bool) -> None:
    """List the groups: how many devices each has, whether it is blocked."""
    with Home.open(home).registry(read_only=True) as registry:
        found = groups(registry)
    if as_json:
        print_json([_facts(each) for each in found])
        return
    if not found:
        console().print("no groups yet: lockgate group join GROUP DEVICE")
        return
    made = table("group", "devices", "state")
    for each in found:
        made.add_row(each.name, str(len(each.members)), _state(each))
    console().print(made)


@group.command()
@click.argument("name", metavar="GROUP")
@home_option
@json_option
def show(name: str, home: Path, as_json: bool) -> None:
    """Show one group: its devices and its rules."""
    with Home.open(home).registry(read_only=True) as registry:
        found = groups(registry, name)
        rules = registry.rules(f"group:{name}")
    if not found:
        raise NotFound(f"there is no group {name}", fix="lockgate group list shows the groups")
    if as_json:
        print_json({**_facts(found[0]), "rules": [str(rule) for rule in rules]})
        return
    out = console()
    out.print(f"[bold]{safe(name)}[/]  {_state(found[0])}  made {moment(found[0].created_at)}")
    out.print(f"devices: {safe(', '.join(found[0].members)) or 'none'}")
    for rule in rules:
        out.print(f"may: {safe(rule)}")


add_pair_act(
    group, ("group", "device"), "join", "Make devices members of a group.", "joined", "joined {each} to {first}",
    lambda registrar, name, device: registrar.join(device, name),
)  # fmt: skip
add_pair_act(
    group, ("group", "device"), "leave", "Take devices out of a group.", "left", "took {each} out of {first}",
    lambda registrar, name, device: registrar.leave(device, name),
)  # fmt: skip
add_act(
    group, "group", "block",
    "Shut all devices of a group out until `unblock`, and who joins it. Live sessions end at once; what waits stays.",
    "blocked", lambda registrar, name: registrar.block_group(name),
)  # fmt: skip
add_act(
    group, "group", "unblock", "Let the devices of a group in again, save those that are blocked themselves.",
    "unblocked", lambda registrar, name: registrar.unblock_group(name),
)  # fmt: skip
add_act(
    group, "group", "revoke",
    "Make all credentials of all devices of a group worthless, for good: `lockgate revoke --group G` for several, "
    "without a report.",
    "revoked", lambda registrar, name: registrar.revoke_group(name),
    is_final=True,
)  # fmt: skip
add_act(
    group, "group", "remove", "Forget a group and its rules. Its devices stay registered.", "removed",
    lambda registrar, name: registrar.remove_group(name),
)  # fmt: skip


def _state(found: Group) -> str:
    return "[red]blocked[/]" if found.is_blocked else "[green]good[/]"


def _facts(found: Group) -> dict[str, object]:
    return {
        "group": found.name,
        "is_blocked": found.is_blocked,
        "created_at": found.created_at,
        "devices": found.members,
    }
