"""Gathers the facts of a home, its machine and its running hub, for the scanner to judge.

What cannot be learnt is left out, with the reason: a damaged file must not keep the other checks from being made.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import shutil
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.backends.openssl import backend

from lockgate.ca.desk import read_crls
from lockgate.errors import LockgateError
from lockgate.events import Event
from lockgate.home import Home, RunFacts
from lockgate.hub import hub as hot_room
from lockgate.model.device import Device
from lockgate.model.permission import Rule
from lockgate.net.addresses import machine_addresses
from lockgate.pki.certificates import certificates_from_pem, names_of, private_key_from_pem
from lockgate.registry.shared_keys import examine_secrets
from lockgate.registry.trail import Trail
from lockgate.registry.vault import Vault
from lockgate.scan.prober import DoorProber
from lockgate.scan.subject import Door, FileFacts, Identity, Machine, Seen, Subject
from lockgate.scan.vulnerabilities import VULNERABILITIES
from lockgate.store.messages_reader import read_seen
from lockgate.store.rules import held_roles, roles

_T = TypeVar("_T")

NOT_RUNNING = "no hub runs on this home"
_TIME_ERROR = 5  # sys/timex.h: the clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex has


def gather(home: Home, now: float) -> Subject:
    """Give the facts about a home and, where one runs, its hub. Opens nothing for writing.

    Args:
        home: the hub's folder; it need not be in order.
        now: unix seconds.
    """
    facts = _Facts()
    running = home.running()
    doors = _doors(running)
    if running is None:
        facts.reasons["doors"] = NOT_RUNNING
    with_registry = facts.learn("registry", lambda: _read_registry(home))
    devices, rules = with_registry if with_registry is not None else (None, None)
    server = facts.learn("server", lambda: _identity(home.server_path, home.server_key_path))
    root = facts.learn("root", lambda: _identity(home.root_path))
    return Subject(
        now=now,
        target=str(home.path),
        files=facts.learn("files", lambda: _files(home.path)),
        parents=facts.learn("files", lambda: tuple(_file(each) for each in home.path.resolve().parents)),
        server=server,
        issuing=facts.learn("issuing", lambda: _identity(home.issuing_path)),
        root=root,
        settings=facts.learn("settings", home.settings),
        settings_path=str(home.settings_path),
        devices=devices,
        rules=rules,
        seen=facts.learn("seen", lambda: _read_seen(home)),
        machine=facts.learn("machine", lambda: _machine(home.path)),
        roles=facts.learn("registry", lambda: _roles(home)),
        revocation_lists=facts.learn("revocation lists", lambda: tuple(read_crls(home.crl_path))),
        foreign=facts.learn("foreign authorities", lambda: _foreign(home)),
        backed_up_at=facts.learn("registry", lambda: _backed_up_at(home)),
        examine_secrets=lambda credentials: examine_secrets(credentials, Vault(home.secrets_path)),
        verify_audit=lambda: _verify(home),
        doors=doors,
        hub_user=_user(running),
        office_user=_user(home.running_office()),
        prober=_prober(home, server) if doors is not None else None,
        reasons=facts.reasons,
    )


class _Facts:
    """Learns one fact after the other; what goes wrong becomes the reason why one is missing."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {"disk": "the disk cannot be asked", "clock": "the kernel cannot be asked"}

    def learn(self, name: str, how: Callable[[], _T]) -> _T | None:
        try:
            return how()
        except (LockgateError, OSError, ValueError) as error:
            self.reasons[name] = str(error)
            return None


def _files(path: Path) -> tuple[FileFacts, ...]:
    return (_file(path), *(_file(each) for each in sorted(path.rglob("*"))))


def _file(path: Path) -> FileFacts:
    found = path.lstat()
    return FileFacts(str(path), found.st_mode & 0o7777, found.st_uid, path.is_dir(), path.is_symlink())


def _identity(path: Path, key_path: Path | None = None) -> Identity:
    chain = certificates_from_pem(path.read_bytes())
    try:
        key = None if key_path is None else private_key_from_pem(key_path.read_bytes()).public_key()
    except (LockgateError, OSError):
        key = None
    return Identity(str(path), chain, key)


def _read_registry(home: Home) -> tuple[tuple[Device, ...], tuple[Rule, ...]]:
    with home.registry(read_only=True) as registry:
        snapshot = registry.snapshot()
    return tuple(snapshot.devices), tuple(snapshot.rules)


def _roles(home: Home) -> dict[str, tuple[str, ...]]:
    with home.registry(read_only=True) as registry:
        holders: dict[str, tuple[str, ...]] = dict.fromkeys(roles(registry), ())
        for each in held_roles(registry):
            holders[each.role] = (*holders.get(each.role, ()), each.holder)
    return holders


def _foreign(home: Home) -> tuple[Identity, ...]:
    return tuple(_identity(path) for path in sorted(home.trusted_path.glob("*.crt")))


def _backed_up_at(home: Home) -> float:
    with home.registry(read_only=True) as registry:
        rows = registry.query("SELECT coalesce(max(at), 0.0) FROM audit WHERE event = ?", (str(Event.HOME_BACKED_UP),))
        return max(float(at) for (at,) in rows)


def _verify(home: Home) -> tuple[str, ...]:
    with Trail(home.registry_path, home.messages_path) as trail:
        return trail.verify().problems


def _read_seen(home: Home) -> dict[str, Seen]:
    seen = read_seen(home.messages_path)
    return {name: Seen(kinds["connect"].at if "connect" in kinds else None) for name, kinds in seen.items()}


def _machine(path: Path) -> Machine:
    here = machine_addresses()
    try:
        disk = shutil.disk_usage(path)
    except OSError:
        disk = None
    return Machine(
        names=here.names,
        addresses=here.addresses,
        user=os.getuid(),
        free_bytes=disk.free if disk is not None else None,
        disk_bytes=disk.total if disk is not None else None,
        clock_synchronised=_clock_synchronised(),
        python=sys.version_info[:2],
        python_program=sys.executable,
        packages=_packages(),
        openssl=(backend.openssl_version_text().split()[1], ssl.OPENSSL_VERSION.split()[1]),
        is_compiled=not str(hot_room.__file__).endswith(".py"),
    )


def _packages() -> dict[str, str]:
    found = {}
    for name in {flaw.package for flaw in VULNERABILITIES.flaws}:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _clock_synchronised() -> bool | None:
    """Ask the kernel, which needs no right (adjtimex(2)); None where it does not say."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else bool(answer != _TIME_ERROR)


def _doors(running: RunFacts | None) -> tuple[Door, ...] | None:
    if running is None:
        return None
    return tuple(
        Door(d.door, d.address, d.port, d.protection == "tls", d.transport, d.protection == "dtls")
        for d in running.doors
    )


def _user(running: RunFacts | None) -> int | None:
    try:
        return None if running is None else os.stat(f"/proc/{running.pid}").st_uid
    except OSError:
        return None


def _prober(home: Home, server: Identity | None) -> DoorProber | None:
    try:
        root = home.root_pem().decode()
    except LockgateError:
        return None
    names = names_of(server.chain[0]) if server is not None else ()
    return DoorProber(root, names[0] if names else "localhost")
