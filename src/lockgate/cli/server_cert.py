"""`lockgate server-cert`: the hub's own certificate."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lockgate.ca.desk import Desk
from lockgate.ca.rotation import rotate_tickets
from lockgate.cli.output import Noun, actor, console, home_option, json_option, print_json, safe
from lockgate.home import Home, default_names
from lockgate.pki.certificates import certificates_from_pem, describe


@click.group(cls=Noun, name="server-cert", short_help="Show or rotate the hub's own certificate.")
def server_cert() -> None:
    """Show the hub's own certificate, or make it anew; a running hub takes a new one up by itself."""


@server_cert.command()
@home_option
@json_option
def show(home: Path, as_json: bool) -> None:
    """Show the names in the certificate, and until when it is good."""
    opened = Home.open(home)
    leaf = certificates_from_pem(opened.server_path.read_bytes())[0]
    if as_json:
        expires_at = leaf.not_valid_after_utc.timestamp()
        print_json({"names": opened.server_names(), "expires_at": expires_at, "issuer": leaf.issuer.rfc4514_string()})
        return
    console().print(safe(describe(leaf)))


@server_cert.command(name="add-name")
@click.argument("names", metavar="HOST_OR_IP...", nargs=-1, required=True)
@home_option
@json_option
def add_name(home: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Make a new certificate with HOST_OR_IP added to its names."""
    opened = Home.open(home)
    _issue(opened, (*opened.server_names(), *names), as_json)


@server_cert.command()
@click.option("--name", "names", multiple=True, metavar="HOST_OR_IP", help="The names it shall have instead.")
@home_option
@json_option
def rotate(home: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Make a new key and certificate with the same names, or with those given."""
    opened = Home.open(home)
    _issue(opened, names or (opened.server_names() if opened.server_path.exists() else default_names()), as_json)


server_cert.add_command(
    click.Command(
        "renew",
        params=rotate.params,
        callback=rotate.callback,
        help="The same as `rotate`, by its older name.",
        hidden=True,
    )
)


@server_cert.command(name="rotate-tickets")
@home_option
@json_option
def rotate_ticket_keys(home: Path, as_json: bool) -> None:
    """Have a running hub take new keys for session tickets; older tickets fall back to a full handshake.

    It does so by itself every net.ticket_key_hours, and whenever its certificates change.
    """
    opened = Home.open(home)
    with opened.registry() as registry:
        rotate_tickets(registry, actor(), time.time())
    if as_json:
        print_json({"done": "rotated"})
        return
    console().print("[green]rotated[/] the keys of session tickets; connections stay as they are")


def _issue(home: Home, names: tuple[str, ...], as_json: bool) -> None:
    with home.registry() as registry:
        covered = Desk(home, registry, actor()).issue_server(tuple(dict.fromkeys(names)), time.time())
    if as_json:
        print_json({"names": covered})
    else:
        console().print(f"[green]issued[/] for: {safe(', '.join(covered))}")
