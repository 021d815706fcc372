"""The `lockgate` command: one file per noun. Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from lockgate.cli.output import Noun, fail
from lockgate.errors import InvalidSettings, LockgateError

COMMANDS = {
    "audit": "lockgate.cli.audit:audit",
    "backup": "lockgate.cli.backup:backup",
    "ca": "lockgate.cli.ca:ca",
    "claim": "lockgate.cli.claim:claim",
    "completion": "lockgate.cli.completion:completion",
    "credential": "lockgate.cli.credential:credential",
    "demo": "lockgate.cli.demo:demo",
    "device": "lockgate.cli.device:device",
    "gateway": "lockgate.cli.gateway:gateway",
    "group": "lockgate.cli.group:group",
    "import": "lockgate.cli.import_:import_",
    "init": "lockgate.cli.init:init",
    "mqtt": "lockgate.cli.mqtt:mqtt",
    "office": "lockgate.cli.office:office",
    "policy": "lockgate.cli.policy:policy",
    "restore": "lockgate.cli.backup:restore",
    "revoke": "lockgate.cli.revoke:revoke",
    "scan": "lockgate.cli.scan:scan",
    "server-cert": "lockgate.cli.server_cert:server_cert",
    "service": "lockgate.cli.service:service",
    "up": "lockgate.cli.up:up",
    "why": "lockgate.cli.why:why",
}


SERVERS = "demo", "office", "up"
"""Commands that stay to serve."""


class _LazyGroup(Noun):
    """Imports a command when it is asked for, so that `device token` does not wait for the hub's rooms."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Give the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in SERVERS:
            from lockgate.net.openssl import give_one_ticket

            give_one_ticket()  # before anything else of ours loads OpenSSL
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from lockgate.cli.output import version_line

        click.echo(version_line())
        context.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version, and whether its hot rooms are compiled.",
)  # fmt: skip
def cli() -> None:
    """Lockgate, the secure IoT hub: one identity, one policy, one topic space.

    Begin with `lockgate demo`; then `lockgate init`, `lockgate up`, `lockgate device add`.
    """


def main() -> None:
    """Run the command line; an error becomes one sentence on standard error and exit code 1."""
    try:
        _check_text(sys.argv[1:])
        cli(prog_name="lockgate")
    except LockgateError as error:
        fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        fail(InvalidSettings(problem, fix="check that it is there, and that you may use it"))


def _check_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            fix = "write it in UTF-8, and check the locale: LANG=C.UTF-8"
            raise InvalidSettings(f"the argument {argument!r} is no text in UTF-8", fix=fix) from error
