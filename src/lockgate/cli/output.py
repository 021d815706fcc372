"""What all commands share: where the home is, how facts are printed, how an error ends a command."""

from __future__ import annotations

import getpass
import importlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import msgspec

from lockgate import __version__
from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_F = TypeVar("_F", bound=Callable[..., Any])

WIDE_COLUMNS = 4096
HOT_ROOMS = (
    "lockgate.model.epoch",
    "lockgate.model.principal",
    "lockgate.model.topic",
    "lockgate.net.link",
    "lockgate.net.handshakes",
    "lockgate.net.records",
    "lockgate.net.tls",
    "lockgate.net.turn",
    "lockgate.net.wires",
    "lockgate.net.streams",
    "lockgate.net.udp",
    "lockgate.net.datagrams",
    "lockgate.net.hellos",
    "lockgate.net.dtls_port",
    "lockgate.net.gnutls",
    "lockgate.net.dtls_listener",
    "lockgate.model.message",
    "lockgate.model.delivery",
    "lockgate.adapters.coap.mapping",
    "lockgate.adapters.coap.resources",
    "lockgate.adapters.coap.observing",
    "lockgate.adapters.coap.intake",
    "lockgate.adapters.coap.server",
    "lockgate.adapters.coap.protected",
    "lockgate.adapters.mqtt.exchange",
    "lockgate.adapters.mqtt.wire",
    "lockgate.adapters.mqtt.wire_fields",
    "lockgate.adapters.mqtt.wire_properties",
    "lockgate.adapters.mqtt.wire_session",
    "lockgate.adapters.mqtt.aliases",
    "lockgate.adapters.mqtt.owner",
    "lockgate.adapters.mqtt.protocol",
    "lockgate.adapters.mqtt.mapping",
    "lockgate.adapters.mqtt.intake",
    "lockgate.adapters.mqtt.writing",
    "lockgate.adapters.mqtt.sender",
    "lockgate.adapters.mqtt.server",
    "lockgate.adapters.mqtt.turns",
    "lockgate.hub.ports",
    "lockgate.hub.eviction",
    "lockgate.hub.handover",
    "lockgate.hub.known",
    "lockgate.hub.rates",
    "lockgate.hub.reading",
    "lockgate.hub.shares",
    "lockgate.hub.trie",
    "lockgate.hub.session",
    "lockgate.hub.routes",
    "lockgate.hub.receipts",
    "lockgate.hub.hub",
    "lockgate.hub.rounds",
    "lockgate.adapters.mqtt.admission",
    "lockgate.hub.timers",
    "lockgate.store.batch",
    "lockgate.store.committer",
    "lockgate.store.messages_db",
    "lockgate.identity.x509",
    "lockgate.identity.authenticator",
    "lockgate.adapters.coap.messages",
    "lockgate.adapters.coap.wire",
    "lockgate.adapters.coap.exchange",
    "lockgate.adapters.coap.protocol",
    "lockgate.adapters.coap.blocks",
    "lockgate.adapters.coap.flight",
    "lockgate.adapters.coap.transfer",
)
"""The rooms that mypyc compiles where it can (setup.py has the same list)."""


class Noun(click.Group):
    """A noun of the command line; its help gives each verb's whole first sentence, over several lines if need be."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs; click's own form cuts them off at the edge of the terminal."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, verb.get_short_help_str(limit=WIDE_COLUMNS)) for name, verb in verbs if verb and not verb.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def home_option(command: _F) -> _F:
    """Give a command its --home."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: Path(os.environ.get("LOCKGATE_HOME", "lockgate-home")),
        show_default="LOCKGATE_HOME, then ./lockgate-home",
        help="The hub's folder.",
    )(command)


def json_option(command: _F) -> _F:
    """Give a command its --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")(command)


def console() -> Console:
    """Give a console on standard output; where that is no terminal, a line is as long as it needs to be."""
    from rich.console import Console  # here: who prints nothing in colours does not wait for it

    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, emoji=False, soft_wrap=not is_terminal, width=None if is_terminal else WIDE_COLUMNS)


def print_json(facts: object) -> None:
    """Print facts for programs: one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())


def table(*columns: str) -> Table:
    """Make a table in the house's look."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def safe(text: object) -> str:
    """Make a text that came from outside fit for a terminal: no control characters, no markup."""
    from rich.markup import escape

    return escape(printable(text))


def printable(text: object) -> str:
    """Make a text that came from outside fit for a terminal, where no markup is read: no control characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def moment(seconds: float | None) -> str:
    """Spell a time in unix seconds as a person reads it (UTC), "never" for None."""
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def actor() -> str:
    """Say who runs this command, for the audit trail."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        return f"uid {os.getuid()} (command line)"


def version_line() -> str:
    """Say which lockgate this is, and whether its hot rooms run compiled."""
    compiled = [name for name in HOT_ROOMS if not str(importlib.import_module(name).__file__).endswith(".py")]
    if len(compiled) == len(HOT_ROOMS):
        build = "hot rooms compiled by mypyc"
    elif compiled:
        build = f"{len(compiled)} of {len(HOT_ROOMS)} hot rooms compiled by mypyc"
    else:
        build = "pure Python"
    return f"lockgate {__version__} ({build})"


def fail(error: LockgateError) -> NoReturn:
    """End the command with one clear sentence, what mends it, and exit code 1."""
    from rich.console import Console

    stderr = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    stderr.print(f"[bold red]error:[/] {safe(error)}")
    if error.fix:
        stderr.print(f"[bold]fix:[/] {safe(error.fix)}")
    sys.exit(1)
