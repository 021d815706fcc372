"""`lockgate init`: make a home."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe
from lockgate.home import Home


@click.command(short_help="Make a home: all of one hub in one folder.")
@home_option
@click.option(
    "--name", "names", multiple=True, metavar="HOST_OR_IP",
    help="A name or address by which devices reach this hub; goes into its certificate. Repeat it for more; the first "
    "one is printed in command lines. Without it: host name, host.local, localhost and this machine's addresses.",
)  # fmt: skip
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8883,
    show_default=True,
    metavar="PORT",
    help="Port of MQTT over TLS; MQTT over WebSocket gets the next one. 0: free ones.",
)
@click.option(
    "--office-port", type=click.IntRange(0, 65_535), metavar="PORT", show_default="8443",
    help="Port of the office (HTTPS); a second hub on one machine needs another.",
)  # fmt: skip
@click.option(
    "--coap-port", type=click.IntRange(0, 65_535), metavar="PORT", show_default="5684, or PORT of --port",
    help="Port of CoAP over DTLS (UDP); a second hub on one machine needs another.",
)  # fmt: skip
@json_option
def init(
    home: Path, names: tuple[str, ...], port: int, office_port: int | None, coap_port: int | None, as_json: bool
) -> None:
    """Make a home: settings, certificate authority, server certificate, databases.

    Everything of one hub is in this folder, readable by you alone.
    """
    made = Home.create(home, names, time.time(), actor(), port, office_port, coap_port)
    covered = made.server_names()
    if as_json:
        print_json({"home": str(home), "names": covered, "port": port})
        return
    out = console()
    out.print(f"[green]made[/] {safe(home)}, for: {safe(', '.join(covered))}")
    option = "" if str(home) == "lockgate-home" else f" --home {safe(home)}"
    out.print(f"next: [bold]lockgate up{option}[/]")
    out.print(f"and:  [bold]lockgate device add sensor --auth x509 --out ./sensor{option}[/]")
