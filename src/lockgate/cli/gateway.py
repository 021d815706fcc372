"""`lockgate gateway`: devices that speak for others."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate.cli.acts import add_pair_act
from lockgate.cli.output import Noun, console, home_option, json_option, print_json, table
from lockgate.home import Home
from lockgate.store.groups import bindings


@click.group(cls=Noun)
def gateway() -> None:
    """Let a device speak for others, such as sensors behind it that have no network of their own."""


add_pair_act(
    gateway, ("gateway", "device"), "bind", "Let GATEWAY, a device itself, speak for devices.", "bound",
    "bound {each} to {first}",
    lambda registrar, speaker, device: registrar.bind_gateway(device, speaker),
)  # fmt: skip
add_pair_act(
    gateway, ("gateway", "device"), "unbind", "Let GATEWAY speak for devices no longer.", "unbound",
    "unbound {each} from {first}",
    lambda registrar, speaker, device: registrar.unbind_gateway(device, speaker),
)  # fmt: skip


@gateway.command(name="list")
@click.argument("name", metavar="[GATEWAY]", required=False)
@home_option
@json_option
def list_gateways(name: str | None, home: Path, as_json: bool) -> None:
    """List the gateways, or one, with the devices that each may speak for."""
    with Home.open(home).registry(read_only=True) as registry:
        found: dict[str, list[str]] = {}
        for speaker, device in bindings(registry, name):
            found.setdefault(speaker, []).append(device)
    if as_json:
        print_json([{"gateway": speaker, "devices": devices} for speaker, devices in found.items()])
        return
    if not found:
        console().print("no gateways: lockgate gateway bind GATEWAY DEVICE")
        return
    made = table("gateway", "speaks for")
    for speaker, devices in found.items():
        made.add_row(speaker, ", ".join(devices))
    console().print(made)
