"""The home: the folder that holds all of one hub.

    lockgate.toml        settings
    registry.db          devices, credentials, rules, audit trail
    messages.db          sessions, queues, retained messages, refusals
    ca/                  root and issuing CAs (the gate reads their certificates, never their keys), what they revoked
    server.crt, .key     the hub's own certificate, with the issuing CA's behind it
    secrets.key          seals what devices share with the hub (psk, oscore); made when the first of them is added
    hub.key              the hub's raw public key, for devices that know it by that (rpk); made when it is needed
    run/                 doors.json, office.json, coap.sock, the lock of the hub that runs; how far OSCORE's numbers are

It belongs to one user: 0700, its files 0600. Or to two, who share it through a group: the office's user owns it, the
gate's may read and write what it needs, and neither read nor replace the keys of the CA (`lockgate service install`
lays it out).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lockgate.errors import Conflict, InvalidSettings, Unavailable
from lockgate.events import Event
from lockgate.net.addresses import machine_addresses
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import (
    certificates_from_pem,
    generate_key,
    names_of,
    private_key_from_pem,
    private_key_to_pem,
    public_key_to_pem,
)
from lockgate.registry.issued import issued
from lockgate.registry.vault import SECRETS_FILE
from lockgate.settings import Settings, load_settings
from lockgate.store.certificates import AUTHORITY, SERVER, record
from lockgate.store.messages_db import MessagesDb
from lockgate.store.registry_db import ChangeKind, RegistryDb
from lockgate.store.sqlite import Check, look_over

if TYPE_CHECKING:
    from lockgate.provision.folder import HubAddress

SETTINGS_TEXT = """\
# Settings of this hub; what is not here has its default. All of them: docs/reference/settings.md

[mqtt]
port = {port}
websocket_port = {websocket_port}
"""
OFFICE_TEXT = """\
office.port = {port}
"""
COAP_TEXT = """\
coap.port = {port}
"""
USUAL_PORT = 8883


class DoorFacts(msgspec.Struct, frozen=True):
    """One open door, as `run/doors.json` and `lockgate up` tell of it.

    `protection` is "tls", "dtls" or "none"; `transport`, under the protocol that gives the door its name, "tcp",
    "websocket", "udp" or "https" (the office's).
    """

    door: str
    address: str
    port: int
    protection: str
    transport: str = "tcp"


class RunFacts(msgspec.Struct, frozen=True):
    """What `run/doors.json` holds while the hub runs, and `run/office.json` while the office does."""

    pid: int
    doors: tuple[DoorFacts, ...] = ()


class Home:
    """One hub's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_path = path / "lockgate.toml"
        self.registry_path = path / "registry.db"
        self.messages_path = path / "messages.db"
        self.root_path = path / "ca" / "root.crt"
        self.root_key_path = path / "ca" / "root.key"
        self.issuing_path = path / "ca" / "issuing.crt"
        self.issuing_key_path = path / "ca" / "issuing.key"
        self.bundle_path = path / "ca" / "bundle.crt"
        self.crl_path = path / "ca" / "crl.pem"
        self.next_issuing_path = path / "ca" / "issuing-under-new-root.crt"
        self.old_authorities_path = path / "ca" / "old"
        self.trusted_path = path / "ca" / "trusted"
        self.staple_path = path / "run" / "server.ocsp"
        self.server_path = path / "server.crt"
        self.server_key_path = path / "server.key"
        self.secrets_path = path / SECRETS_FILE
        self.raw_key_path = path / "hub.key"
        self.doors_path = path / "run" / "doors.json"
        self.office_path = path / "run" / "office.json"
        self.hatch_path = path / "run" / "coap.sock"
        self.lock_path = path / "run" / "lock"
        self.oscore_path = path / "run" / "oscore"
        self._looked: Future[None] | None = None

    @classmethod
    def create(
        cls, path: Path, names: Sequence[str], now: float, actor: str, port: int = USUAL_PORT,
        office_port: int | None = None, coap_port: int | None = None,
    ) -> Home:  # fmt: skip
        """Make a home: settings, CA, server certificate, databases.

        Args:
            path: a folder that does not exist yet, or is empty.
            names: host names and addresses by which devices reach the hub; none takes what this machine has.
            now: unix seconds.
            actor: who does it, for the audit trail.
            port: the port of MQTT over TLS; MQTT over secure WebSocket gets the next one. 0: free ones, for all doors.
            office_port: the port of the office, if not the usual one.
            coap_port: the port of CoAP; without it, the usual one, or the number of `port` where that is not the usual.

        Raises:
            Conflict: there is something at `path` already.
            InvalidSettings: a name is neither a host name nor an address, or the folder cannot be written.
        """
        path = Path(os.path.abspath(path))
        if (path / "lockgate.toml").exists():
            raise Conflict(f"{path} is a home already", fix="use it as it is, or name another with --home")
        if path.exists() and (not path.is_dir() or any(path.iterdir()) or path.samefile(Path.cwd())):
            raise Conflict(f"{path} exists and is no home", fix="name a folder that does not exist yet with --home")
        mark = secrets.token_hex(2).upper()  # so that the CAs of two homes are not confused
        root = Authority.create_root(f"lockgate root CA {mark}", now=now)
        issuing = root.create_issuing(f"lockgate issuing CA {mark}", now=now)
        key = generate_key("ec")
        certificate = issuing.issue_server(names or default_names(), key.public_key(), now=now)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # 0700
            try:
                home = cls(made)
                write_private(home.root_path, root.certificate_pem())
                write_private(home.root_key_path, root.key_pem())
                write_private(home.issuing_path, issuing.certificate_pem())
                write_private(home.issuing_key_path, issuing.key_pem())
                write_private(home.bundle_path, issuing.certificate_pem())
                write_private(home.server_path, issuing.chain_pem(certificate))
                write_private(home.server_key_path, private_key_to_pem(key))
                text = SETTINGS_TEXT.format(port=port, websocket_port=_port_beside(port))
                if coap_port is None and port != USUAL_PORT:
                    coap_port = port
                if coap_port is not None:
                    text = text.replace("\n[mqtt]", f"\n{COAP_TEXT.format(port=coap_port)}\n[mqtt]", 1)
                if office_port is None and port == 0:
                    office_port = 0
                if office_port is not None:
                    office_text = OFFICE_TEXT.format(port=office_port)
                    text = text.replace("\n[mqtt]", f"\n{office_text}\n[mqtt]", 1)  # [mqtt] stays the last
                write_private(home.settings_path, text.encode())
                with home.registry() as registry, registry.write() as write:
                    record(write, issued(issuing.certificate, root.certificate, AUTHORITY, now))
                    record(write, issued(certificate, issuing.certificate, SERVER, now))
                    write.note_change(ChangeKind.SERVER_CERTIFICATE, "server.crt")
                    write.note_audit(Event.HOME_CREATED, "server.crt", actor, now)
                MessagesDb(home.messages_path).close()
                _sync_folder(made)
                made.rename(path)
                _sync_folder(path.parent)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)  # no keys are left behind
                raise
        except OSError as error:
            raise InvalidSettings(f"{path} cannot be made: {error.strerror}", fix="name another with --home") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Home:
        """Give an existing home.

        Raises:
            InvalidSettings: there is none, or others than its owner can read it.
        """
        home = cls(path)
        if not home.settings_path.is_file():
            raise InvalidSettings(f"there is no home at {path}", fix=f"lockgate init --home {path}")
        is_shared = is_shared_folder(path)
        for each in (path, *home._secrets()):
            forbidden = 0o007 if is_shared and not is_authority_key(each) else 0o077
            if _mode(each) & forbidden:
                raise InvalidSettings(
                    f"{each} can be read by other users: it holds secrets",
                    fix=f"chmod {'go=' if is_authority_key(each) else 'o='} {shlex.quote(str(each))}"
                    if is_shared
                    else f"chmod -R go= {shlex.quote(str(path))}",
                )
        return home

    def settings(self) -> Settings:
        """Read lockgate.toml."""
        return load_settings(self.settings_path)

    def registry(self, read_only: bool = False, check: Check = "small") -> RegistryDb:
        """Open the registry's database."""
        return RegistryDb(self.registry_path, read_only, check)

    def begin_look(self) -> None:
        """Begin to look the whole registry over, in a thread; `bring_up_to_date` waits for it, and tells of damage."""
        if self.registry_path.exists():
            self._looked = Future()
            threading.Thread(target=self._look, args=(self._looked,), name="lockgate-look").start()

    def _look(self, looked: Future[None]) -> None:
        try:
            look_over(self.registry_path, "registry")
        except BaseException as error:
            looked.set_exception(error)
        else:
            looked.set_result(None)

    def bring_up_to_date(self) -> None:
        """Look the whole registry over before the hub starts, and bring an older one up to date.

        Raises:
            StoreDamaged: it is damaged; nothing was changed.
            InvalidSettings: it is not there.
        """
        if not self.registry_path.exists():
            raise InvalidSettings(
                f"{self.registry_path} is missing: it holds all devices and rules",
                fix="restore it from a backup, or make a new home with lockgate init --home ANOTHER",
            )
        if self._looked is None:
            look_over(self.registry_path, "registry")
        else:
            self._looked.result()
        RegistryDb(self.registry_path, check="none").close()

    def authority(self) -> Authority:
        """Read the issuing CA with its key: for `lockgate.ca`, which records what it issues, never for the gate."""
        public_url = self.settings().pki.public_url
        try:
            return Authority.from_pem(self.issuing_path.read_bytes(), self.issuing_key_path.read_bytes(), public_url)
        except OSError as error:
            raise InvalidSettings(
                f"the issuing CA cannot be read: {error}", fix="restore the folder ca/ of this home"
            ) from error

    def root_pem(self) -> bytes:
        """Give the root certificate, by which devices check the hub."""
        try:
            return self.root_path.read_bytes()
        except OSError as error:
            raise InvalidSettings(f"the root certificate cannot be read: {error}", fix="restore ca/root.crt") from error

    def raw_key(self) -> Path:
        """Give the file of the key that the hub proves itself by to devices with a raw public key; made if need be.

        It is not the server certificate's: that changes with each renewal, and these devices know the hub by the key
        alone.
        """
        if not self.raw_key_path.exists():
            key = generate_key("ec")
            try:
                write_private(self.raw_key_path, private_key_to_pem(key), is_first=True)
            except OSError as error:
                raise InvalidSettings(
                    f"{self.raw_key_path} cannot be made: {error.strerror}",
                    fix="run this as the user who owns the home",
                ) from error
        return self.raw_key_path

    def raw_public_pem(self) -> bytes:
        """Give the public half of that key, by which such devices check the hub."""
        try:
            return public_key_to_pem(private_key_from_pem(self.raw_key().read_bytes()).public_key())
        except OSError as error:
            raise InvalidSettings(f"the hub's raw key cannot be read: {error}", fix="restore hub.key") from error

    def server_names(self) -> tuple[str, ...]:
        """Give the names and addresses in the server certificate, the preferred one first."""
        fix = "lockgate server-cert rotate --name HOST_OR_IP"
        try:
            return names_of(certificates_from_pem(self.server_path.read_bytes())[0])
        except OSError as error:
            raise InvalidSettings(f"the server certificate cannot be read: {error}", fix=fix) from error
        except InvalidSettings as error:
            raise InvalidSettings(f"{self.server_path}: {error}", fix=fix) from error

    def issue_server_certificate(self, names: Sequence[str], now: float, actor: str) -> tuple[str, ...]:
        """Make a new server key and certificate for `names`; a running hub takes it up by itself."""
        key = generate_key("ec")
        authority = self.authority()
        certificate = authority.issue_server(names, key.public_key(), now=now)
        write_private(self.server_key_path, private_key_to_pem(key))
        write_private(self.server_path, authority.chain_pem(certificate))
        with self.registry() as registry, registry.write() as write:
            record(write, issued(certificate, authority.certificate, SERVER, now))
            write.note_change(ChangeKind.SERVER_CERTIFICATE, "server.crt")
            write.note_audit(Event.SERVER_CERTIFICATE_ISSUED, "server.crt", actor, now, {"names": ", ".join(names)})
        return names_of(certificate)

    def running(self) -> RunFacts | None:
        """Give what a running hub wrote about itself, None when none runs."""
        return self._running(self.doors_path)

    def running_office(self) -> RunFacts | None:
        """Give what a running office wrote about itself, None when none runs."""
        return self._running(self.office_path)

    def _running(self, path: Path) -> RunFacts | None:
        try:
            facts = msgspec.json.decode(path.read_bytes(), type=RunFacts)
            os.kill(facts.pid, 0)
        except PermissionError:
            return facts
        except (OSError, msgspec.MsgspecError):
            return None
        return facts

    def hub_address(self) -> HubAddress:
        """Give where devices reach the hub: the preferred name of its certificate, and the ports open or set."""
        from lockgate.provision.folder import HubAddress  # here: the gate has no use for what provisions

        running = self.running()
        doors = running.doors if running is not None else ()
        settings = self.settings()
        coap = settings.coap
        open_ports = {(d.door, d.protection): d.port for d in reversed(doors) if d.transport != "websocket"}
        port = open_ports.get(("mqtt", "tls"), settings.mqtt.port)
        coap_port = open_ports.get(("coap", "dtls"), coap.port if coap.enabled else 0)
        is_plain_open = coap.nosec_enabled or coap.oscore_enabled
        plain_coap_port = open_ports.get(("coap", "none"), coap.nosec_port if is_plain_open else 0)
        if port == 0:
            raise Unavailable(
                "the hub's port is not known: mqtt.port is 0 and no hub runs here",
                fix="start the hub first, or set mqtt.port in lockgate.toml",
            )
        return HubAddress(self.server_names()[0], port, coap_port, plain_coap_port)

    def lock(self) -> int:
        """Take the home for one running hub; give the descriptor that holds it.

        Raises:
            Conflict: another hub runs here.
        """
        self.lock_path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            running = self.running()
            which = f" (process {running.pid})" if running is not None else ""
            raise Conflict(f"a hub{which} runs on {self.path} already", fix="stop it, or use another --home") from error
        return descriptor

    def _secrets(self) -> tuple[Path, ...]:
        return (
            self.settings_path, self.registry_path, self.messages_path, self.root_key_path,
            self.issuing_key_path, self.server_key_path, self.secrets_path, self.raw_key_path,
        )  # fmt: skip


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0


def default_names() -> tuple[str, ...]:
    """Give the names and addresses of this machine, the one that a command line should use first."""
    machine = machine_addresses()
    preferred = next((name for name in machine.names if _resolves(name)), "localhost")
    return tuple(dict.fromkeys((preferred, *machine.names, *machine.addresses)))


def _port_beside(port: int) -> int:
    return port + 1 if 0 < port < 65_535 else 0


def is_shared_folder(path: Path) -> bool:
    """Say whether a home is laid out for two users: its group may do all, and what is made in it is the group's."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_ISGID) and mode & 0o070 == 0o070


def is_authority_key(path: Path) -> bool:
    """Say whether a file of a home holds a key of the CA: nobody but its owner may ever read that."""
    return path.suffix == ".key" and "ca" in (path.parent.name, path.parent.parent.name)


def write_private(path: Path, content: bytes, is_first: bool = False, is_durable: bool = True) -> None:
    """Write a file that only its owner may read (and the group of a shared folder), whole or not at all.

    With `is_first` what is there already stays: of several who come at once, one makes it. It outlasts a power cut too,
    unless it is not worth waiting for the disk.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    with os.fdopen(descriptor, "wb") as file:
        folder = path.parent.stat().st_mode
        if folder & stat.S_ISGID and not is_authority_key(path):
            os.fchmod(file.fileno(), 0o600 | (folder & 0o060))
        file.write(content)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())
    if is_first:
        with suppress(FileExistsError):
            os.link(temporary, path)
        os.unlink(temporary)
    else:
        os.replace(temporary, path)
    if is_durable:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Make the names in a folder outlast a power cut, as the files' content does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
