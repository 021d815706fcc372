"""The `lockgate` command: one file per noun. Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from lockgate.cli.output import fail
from lockgate.errors import InvalidSettings, LockgateError
from lockgate.lean import load_structlog, without_collector

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

SHORT_HELP = {
    "audit": "Read, export and verify the audit trail.",
    "backup": "Write all of a home into one file, while the hub runs.",
    "ca": "Show and rotate the hub's certificate authority.",
    "claim": "Make tokens by which devices enrol themselves, look at them, take them back.",
    "completion": "Print the completion script of SHELL.",
    "credential": "Look at credentials, add them, let single ones end, or revoke them.",
    "demo": "Show the main job live: devices, messages, refusals.",
    "device": "Add devices, look at them, shut them out.",
    "gateway": "Let a device speak for others, such as sensors behind it that have no network of their own.",
    "group": "Put devices together, look at groups, shut them out.",
    "import": "Take devices and rules over from another broker.",
    "init": "Make a home: all of one hub in one folder.",
    "mqtt": "Take MQTT packets apart.",
    "office": "Run the office by itself; lockgate up does it for you.",
    "policy": "Say who may publish and receive what, and ask why.",
    "restore": "Make a home from a backup.",
    "revoke": "Revoke a device, a credential or a group, and prove it.",
    "scan": "Check whether this home and its running hub are fit to go live.",
    "server-cert": "Show or rotate the hub's own certificate.",
    "service": "Run the hub as a service of this machine (systemd).",
    "up": "Run the hub.",
    "why": "Show why somebody was refused, and what fixes it.",
}
"""What each command says of itself, so that help and completion need not import all of them."""

SERVERS = "demo", "office", "up"
"""Commands that stay to serve."""


class _LazyGroup(click.Group):
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
        load_structlog()
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(without_collector(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands with what they say of themselves, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(SHORT_HELP.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands and the options, likewise."""
        commands = [CompletionItem(n, help=h) for n, h in sorted(SHORT_HELP.items()) if n.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


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
