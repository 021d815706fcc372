"""`lockgate office`: run the office by itself."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lockgate.cli.output import home_option
from lockgate.cli.up import describe, say
from lockgate.home import DoorFacts, Home
from lockgate.office import run_office


@click.command(short_help="Run the office by itself; lockgate up does it for you.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print the open doors as one line of JSON.")
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
def office(home: Path, as_json: bool, until_eof: bool) -> None:
    """Run the office: enrolment (EST), OCSP and CRL by HTTPS, until SIGTERM or Ctrl-C.

    `lockgate up` runs it beside the hub. By itself it is for a service that runs hub and office as two users, so that
    the hub cannot read the key of the certificate authority; the hub then runs by `lockgate up --no-office`.
    """
    opened = Home.open(home)
    names = opened.server_names()

    def announce(doors: tuple[DoorFacts, ...]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({"doors": doors, "names": names}))
            return
        say(describe(doors, names))

    run_office(opened, announce, until_eof)
