"""`lockgate service`: run the hub as a service of the machine."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

from lockgate.cli.output import console, home_option, safe
from lockgate.cli.scan import existing_home, refuse_unfit
from lockgate.errors import InvalidSettings, Unavailable
from lockgate.home import Home

UNIT = """\
# lockgate, the secure IoT hub. Made by `lockgate service install`.
[Unit]
Description=lockgate, the secure IoT hub
Wants=network-online.target
After=network-online.target time-sync.target
{patience}
[Service]
Type=exec
User={user}
ExecStart={program} up{options} --home {home}
Restart=on-failure
RestartSec={restart_seconds}
TimeoutStopSec=20
LimitNOFILE=262144

# It needs the network, its home, and nothing else.
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectSystem=strict
ReadWritePaths={home}
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?")


@click.group()
def service() -> None:
    """Run the hub as a service of this machine (systemd)."""


@service.command()
@home_option
@click.option("--user", default=getpass.getuser, show_default="you", help="The user that the hub runs as.")
@click.option(
    "--unit-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("/etc/systemd/system"),
    show_default=True, help="Where the unit goes.",
)  # fmt: skip
@click.option(
    "--production", is_flag=True,
    help="Start the hub with --production: not while a severe finding of lockgate scan stands.",
)  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print the unit, and change nothing.")
@click.option("--start/--no-start", default=True, show_default=True, help="Enable and start it, where systemd runs.")
def install(home: Path, user: str, unit_dir: Path, production: bool, only_print: bool, start: bool) -> None:
    """Write a hardened systemd unit for the hub of this home, and start it."""
    if production:
        refuse_unfit(existing_home(home))
    opened = Home.open(home)
    text = unit(opened, user, production)
    if only_print:
        click.echo(text, nl=False)
        return
    path = unit_dir / "lockgate.service"
    try:
        path.write_text(text)
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be written: {error.strerror}", fix="run it as root: sudo") from error
    out = console()
    out.print(f"[green]wrote[/] {safe(path)}")
    if not start or unit_dir != Path("/etc/systemd/system") or not Path("/run/systemd/system").exists():
        out.print("next: [bold]systemctl daemon-reload && systemctl enable --now lockgate[/]")
        return
    for command in (["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "lockgate"]):
        if subprocess.run(command, check=False).returncode:
            raise Unavailable(f"{' '.join(command)} failed", fix="see what it said above, and: journalctl -u lockgate")
    out.print("[green]started[/]; events: [bold]journalctl -u lockgate[/]")


def unit(home: Home, user: str, production: bool = False) -> str:
    """Give the unit's text for a home.

    With `production` a start that is refused is tried again every 30 s, for ever: a machine whose clock is wrong until
    it hears from the network finds its certificates invalid at first.
    """
    path = home.path.resolve()
    beside = Path(sys.executable).with_name("lockgate")
    program = str(beside) if beside.exists() else shutil.which("lockgate") or f"{sys.executable} -m lockgate"
    if any(character.isspace() or character in "%\"'\\" for character in f"{path}{program.split(' ')[0]}"):
        raise InvalidSettings(f"the path {path} holds a character that a unit cannot", fix="use a home without it")
    if not _USER.fullmatch(user):
        raise InvalidSettings(f"{user!r} is no name of a user", fix="name a user of this machine with --user")
    # Only a port below 1024 needs a capability; everything else about the network does not.
    mqtt = home.settings().mqtt
    needs_low_port = 0 < mqtt.port < 1024 or (mqtt.websocket_enabled and 0 < mqtt.websocket_port < 1024)
    return UNIT.format(
        user=user,
        program=program,
        home=path,
        options=" --production" if production else "",
        patience="StartLimitIntervalSec=0\n" if production else "",
        restart_seconds=30 if production else 1,
        capabilities="CAP_NET_BIND_SERVICE" if needs_low_port else "",
        protect_home="read-only" if _lives_in_home(path, Path(program.split(" ")[0])) else "yes",
    )


def _lives_in_home(home: Path, program: Path) -> bool:
    """Say whether the hub needs something out of the users' homes: its own home, lockgate, or Python itself."""
    needed = (home, program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix).resolve())
    return any(each.is_relative_to(root) for each in needed for root in ("/home", "/root"))
