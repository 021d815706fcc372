"""`lockgate up`: run the hub."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from lockgate.app import run_gate
from lockgate.cli.output import console, home_option, safe
from lockgate.home import DoorFacts, Home
from lockgate.net.addresses import machine_addresses

ONE_USER = (
    "      hub and office run as one user, who can read the CA's keys; as two: lockgate service install --office-user"
)


@click.command(short_help="Run the hub.")
@home_option
@click.option(
    "--lab-port", type=click.IntRange(0, 65_535), metavar="PORT",
    help="Also open a plaintext door on this machine's loopback, where everything is allowed. For the lab only.",
)  # fmt: skip
@click.option("--production", is_flag=True, help="Refuse to start while a severe finding of lockgate scan stands.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the open doors as JSON: a line for the hub's, then one for the office's.",
)
@click.option("--no-office", is_flag=True, help="Run no office: it runs as a service of its own, or nobody needs it.")
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
def up(home: Path, lab_port: int | None, production: bool, as_json: bool, no_office: bool, until_eof: bool) -> None:
    """Run the hub and its office, until SIGTERM or Ctrl-C. Events go to standard error."""
    if production:
        if lab_port is not None:
            raise click.UsageError("--lab-port has no place in --production: it lets everybody in")
        from lockgate.cli.scan import existing_home, refuse_unfit  # here: a start does not wait for its checks

        refuse_unfit(existing_home(home))
    opened = Home.open(home)
    names = opened.server_names()

    def announce(doors: tuple[DoorFacts, ...]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({"doors": doors, "names": names}))
            return
        out = console()
        for line in describe(doors, names):
            out.print(line)

    def announce_office(doors: tuple[DoorFacts, ...]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({"doors": doors, "names": names}))
            return
        for line in map(_describe_office, doors):
            console().print(line)
        console().print(ONE_USER)

    run_gate(opened, lab_port, announce, until_eof, None if no_office else announce_office)


def describe(doors: Sequence[DoorFacts], names: Sequence[str]) -> list[str]:
    """Say which doors are open, how each is protected, and by which addresses devices reach them."""
    lines = []
    for door in doors:
        if door.door == "office":
            lines.append(_describe_office(door))
        elif door.transport == "websocket":
            lines.append(
                f"[green]open[/]  MQTT over WebSocket on {_shown(door)} (wss://{_named(names)}:{door.port}/mqtt): "
                "TLS 1.2 and 1.3, every client must prove who it is"
            )
        elif door.protection == "tls":
            lines.append(f"[green]open[/]  MQTT on {_shown(door)}: TLS 1.2 and 1.3, every client must prove who it is")
        else:
            lines.append(
                f"[bold red]open[/]  MQTT on {_shown(door)}: "
                "[bold red]NO ENCRYPTION, NO IDENTITY[/], for experiments on this machine only"
            )
    wide = [d for d in doors if d.address in ("0.0.0.0", "::")]  # noqa: S104
    if wide:
        found = ", ".join(machine_addresses().reachable) or "none but loopback"
        lines.append(f"      this machine's addresses: {safe(found)}")
    lines.append(f"      the certificate is for: {safe(', '.join(names))}")
    return lines


def _describe_office(door: DoorFacts) -> str:
    return f"[green]open[/]  HTTPS on {_shown(door)}: the office, for enrolment (EST), OCSP and CRL"


def _named(names: Sequence[str]) -> str:
    first = names[0] if names else "localhost"
    return safe(f"[{first}]" if ":" in first else first)


def _shown(door: DoorFacts) -> str:
    try:
        is_v6 = ipaddress.ip_address(door.address).version == 6
    except ValueError:
        is_v6 = False
    return f"[{door.address}]:{door.port}".replace("[", r"\[") if is_v6 else f"{door.address}:{door.port}"
