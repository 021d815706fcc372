"""`lockgate up`: run the hub."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec

from lockgate.cli.output import home_option, printable
from lockgate.home import DoorFacts, Home
from lockgate.lean import without_collector
from lockgate.net.addresses import machine_addresses

ONE_USER = (
    "      hub and office run as one user, who can read the CA's keys; as two: lockgate service install --office-user"
)
_OPEN = click.style("open", fg="green")


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
    opened.begin_look()  # SQLite looks at all of the registry while Python imports the hub
    without_collector("lockgate.app")
    from lockgate.app import run_gate

    names = opened.server_names()

    def announce(doors: tuple[DoorFacts, ...]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({"doors": doors, "names": names}))
            return
        say(describe(doors, names))

    def announce_office(doors: tuple[DoorFacts, ...]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({"doors": doors, "names": names}))
            return
        say([*map(_describe_office, doors), ONE_USER])

    run_gate(opened, lab_port, announce, until_eof, None if no_office else announce_office)


def say(lines: Iterable[str]) -> None:
    """Print lines, in colours on a terminal unless NO_COLOR says otherwise.

    By click: rich would take as long to load as the registry of a thousand devices, before the first connection.
    """
    colours = False if os.environ.get("NO_COLOR") else None
    for line in lines:
        click.echo(line, color=colours)


def describe(doors: Sequence[DoorFacts], names: Sequence[str]) -> list[str]:
    """Say which doors are open, how each is protected, and by which addresses devices reach them."""
    lines = []
    for door in doors:
        if door.door == "office":
            lines.append(_describe_office(door))
        elif door.door == "coap":
            lines.append(_describe_coap(door))
        elif door.transport == "websocket":
            lines.append(
                f"{_OPEN}  MQTT over WebSocket on {_shown(door)} (wss://{_named(names)}:{door.port}/mqtt): "
                "TLS 1.2 and 1.3, every client must prove who it is"
            )
        elif door.protection == "tls":
            lines.append(f"{_OPEN}  MQTT on {_shown(door)}: TLS 1.2 and 1.3, every client must prove who it is")
        else:
            lines.append(
                f"{_warning('open')}  MQTT on {_shown(door)}: "
                f"{_warning('NO ENCRYPTION, NO IDENTITY')}, for experiments on this machine only"
            )
    wide = [d for d in doors if d.address in ("0.0.0.0", "::")]  # noqa: S104
    if wide:
        found = ", ".join(machine_addresses().reachable) or "none but loopback"
        lines.append(f"      this machine's addresses: {printable(found)}")
    lines.append(f"      the certificate is for: {printable(', '.join(names))}")
    return lines


def _describe_coap(door: DoorFacts) -> str:
    if door.protection == "dtls":
        return f"{_OPEN}  CoAP on {_shown(door)} (UDP): DTLS 1.2, every client must prove who it is"
    return (
        f"{_warning('open')}  CoAP on {_shown(door)} (UDP): {_warning('NO DTLS')}, "
        "for devices with OSCORE, or given --auth nosec"
    )


def _describe_office(door: DoorFacts) -> str:
    return f"{_OPEN}  HTTPS on {_shown(door)}: the office, for enrolment (EST), OCSP and CRL"


def _warning(text: str) -> str:
    return click.style(text, fg="red", bold=True)


def _named(names: Sequence[str]) -> str:
    first = names[0] if names else "localhost"
    return printable(f"[{first}]" if ":" in first else first)


def _shown(door: DoorFacts) -> str:
    try:
        is_v6 = ipaddress.ip_address(door.address).version == 6
    except ValueError:
        is_v6 = False
    return f"[{door.address}]:{door.port}" if is_v6 else f"{door.address}:{door.port}"
