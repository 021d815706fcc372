"""`lockgate service`: run the hub as a service of the machine."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

from lockgate.cli.output import Noun, console, home_option, safe
from lockgate.cli.scan import existing_home, refuse_unfit
from lockgate.errors import InvalidSettings, Unavailable
from lockgate.home import Home, is_authority_key

UNIT = """\
# {description}. Made by `lockgate service install`.
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target time-sync.target
{patience}
[Service]
Type=exec
User={user}
ExecStart={program} {command} --home {home}
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

HUB = "lockgate, the secure IoT hub"
OFFICE = "lockgate's office: enrolment and certificates"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?")


@click.group(cls=Noun)
def service() -> None:
    """Run the hub as a service of this machine (systemd)."""


@service.command()
@home_option
@click.option(
    "--user", metavar="USER", default=getpass.getuser, show_default="you", help="The user that the hub runs as."
)
@click.option(
    "--office-user", metavar="USER",
    help="Run the office as a user of its own, who alone can read the CA's keys: by a second unit, and the home is "
    "laid out for both. Stop the hub first.",
)  # fmt: skip
@click.option("--group", metavar="GROUP", help="The group that both share; without it: the one named as --user.")
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
def install(
    home: Path,
    user: str,
    office_user: str | None,
    group: str | None,
    unit_dir: Path,
    production: bool,
    only_print: bool,
    start: bool,
) -> None:
    """Write a hardened systemd unit for the hub of this home, and start it."""
    if production:
        refuse_unfit(existing_home(home))
    opened = Home.open(home)
    options = " --production" if production else ""
    if office_user is None:
        units = {"lockgate": unit(opened, user, f"up{options}", HUB, production)}
    else:
        units = {
            "lockgate": unit(opened, user, f"up --no-office{options}", HUB, production),
            "lockgate-office": unit(opened, office_user, "office", OFFICE),
        }
    if only_print:
        click.echo("\n".join(units.values()), nl=False)
        return
    if office_user is not None:
        share(opened, user, office_user, group or user)
    out = console()
    for name, text in units.items():
        path = unit_dir / f"{name}.service"
        try:
            path.write_text(text)
        except OSError as error:
            raise InvalidSettings(f"{path} cannot be written: {error.strerror}", fix="run it as root: sudo") from error
        out.print(f"[green]wrote[/] {safe(path)}")
    names = list(units)
    if not start or unit_dir != Path("/etc/systemd/system") or not Path("/run/systemd/system").exists():
        out.print(f"next: [bold]systemctl daemon-reload && systemctl enable --now {' '.join(names)}[/]")
        return
    for command in (["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", *names]):
        if subprocess.run(command, check=False).returncode:
            raise Unavailable(f"{' '.join(command)} failed", fix="see what it said above, and: journalctl -u lockgate")
    out.print("[green]started[/]; events: [bold]journalctl -u lockgate[/]")


def share(home: Home, gate: str, office: str, group: str) -> None:
    """Lay a home out for two users: the office's owns it, the gate's reaches the rest of it through the group.

    The gate may read certificates and write its own files; it can neither read the keys of the CA nor put others in
    their place: the folder `ca` is not the group's to write, and the home is sticky, so that nobody renames what is not
    his.

    Raises:
        InvalidSettings: there is no such user or group, or this is not root.
        Conflict: the hub runs.
    """
    try:
        gate_id, office_id = pwd.getpwnam(gate).pw_uid, pwd.getpwnam(office).pw_uid
        group_id = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise InvalidSettings(
            f"there is no such user or group: {error.args[0]}",
            fix="make them first: docs/guides/service.md has the lines",
        ) from error
    os.close(home.lock())
    try:
        home.office_path.parent.mkdir(exist_ok=True)
        for path in (home.path, *home.path.rglob("*")):
            if not path.is_symlink():
                owner = gate_id if path.name.startswith("messages.db") or path.parent.name == "run" else office_id
                os.chown(path, owner, group_id, follow_symlinks=False)
                path.chmod(_shared_mode(home, path))
    except PermissionError as error:
        raise InvalidSettings(
            f"{error.filename} cannot be given to another user", fix="run it as root: sudo"
        ) from error


def _shared_mode(home: Home, path: Path) -> int:
    inside = path.relative_to(home.path).parts
    if not inside:
        return 0o3770
    if inside[0] == "ca":
        return 0o2750 if path.is_dir() else 0o600 if is_authority_key(path) else 0o640
    if path == home.secrets_path:
        return 0o640  # the gate opens what is sealed by it; the command line seals, as the user who owns the home
    return 0o2770 if path.is_dir() else 0o660


def unit(home: Home, user: str, command: str = "up", description: str = HUB, production: bool = False) -> str:
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
    settings = home.settings()
    ports = [settings.office.port] if "--no-office" not in command else []
    if command != "office":
        ports += [settings.mqtt.port, settings.mqtt.websocket_port if settings.mqtt.websocket_enabled else 0]
        ports.append(settings.coap.port if settings.coap.enabled else 0)
        ports.append(settings.coap.nosec_port if settings.coap.nosec_enabled or settings.coap.oscore_enabled else 0)
    needs_low_port = any(0 < port < 1024 for port in ports)
    return UNIT.format(
        description=description,
        command=command,
        user=user,
        program=program,
        home=path,
        patience="StartLimitIntervalSec=0\n" if production else "",
        restart_seconds=30 if production else 1,
        capabilities="CAP_NET_BIND_SERVICE" if needs_low_port else "",
        protect_home="read-only" if _lives_in_home(path, Path(program.split(" ")[0])) else "yes",
    )


def _lives_in_home(home: Path, program: Path) -> bool:
    """Say whether the hub needs something out of the users' homes: its own home, lockgate, or Python itself."""
    needed = (home, program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix).resolve())
    return any(each.is_relative_to(root) for each in needed for root in ("/home", "/root"))
