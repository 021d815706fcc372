"""`lockgate server-cert`: the hub's own certificate."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lockgate.cli.output import actor, console, home_option, json_option, print_json, safe
from lockgate.home import Home, default_names
from lockgate.pki.certificates import certificates_from_pem, describe


@click.group(name="server-cert", short_help="Show or renew the hub's own certificate.")
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
        expires_at = leaf.not_valid_after_utc.isoformat()
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
def renew(home: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Make a new key and certificate with the same names, or with those given."""
    opened = Home.open(home)
    _issue(opened, names or (opened.server_names() if opened.server_path.exists() else default_names()), as_json)


def _issue(home: Home, names: tuple[str, ...], as_json: bool) -> None:
    covered = home.issue_server_certificate(tuple(dict.fromkeys(names)), time.time(), actor())
    if as_json:
        print_json({"names": covered})
    else:
        console().print(f"[green]issued[/] for: {safe(', '.join(covered))}")
