"""What a rotation does to those who are connected: lockgate beside Debian's mosquitto, set up as well as it can be.

Run it with `python -m bench.rotation_beside`, from the top of the source; with --keep it writes the table into
docs/explain/rotation.md. The same steps are taken on each broker, by the same client, over TLS with client
certificates; on mosquitto each step ends with SIGHUP, for it offers nothing else. What is seen is seen from outside.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from pathlib import Path
from typing import Protocol

import click
import msgspec

from bench.report import replace_table
from bench.revocation_beside import (
    DAY,
    EVERYBODY,
    HUSH_SECONDS,
    READER,
    RULES,
    VICTIM,
    WATCHER,
    WORDS,
    WRITER,
    Broker,
    Mosquitto,
    Pass,
    Peer,
    mosquitto_version,
    run_program,
)
from lockgate.adapters.mqtt.packets import Pingreq
from lockgate.ca.desk import Desk
from lockgate.home import Home
from lockgate.pki.certificates import certificate_thumbprint, generate_key, private_key_to_pem
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from lockgate.provision.folder import CERTIFICATE_FILE, KEY_FILE, PASSWORD_FILE
from tests.support.fleet import enlist
from tests.support.hub import RunningHub

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "explain" / "rotation.md"
STEADY = (VICTIM, WATCHER, WRITER)
WELCOME, OUT = "let in", "refused"
ENDS, GOES_ON = "ends", "goes on"


class Row(msgspec.Struct, frozen=True):
    """What was seen of one broker, in words; the fields are the lines of the table."""

    broker: str
    server_certificate: str
    tickets_before: str
    tickets: str
    rule: str
    rule_live: str
    key_live: str
    key_old: str
    key_end: str
    password_live: str
    password_old: str
    authority_new: str
    authority_live: str
    authority_full: str
    authority_ticket: str
    list_live: str
    list_full: str
    list_ticket: str
    list_outdated: str
    broken: str
    dropped: str


WORDING = {
    "server_certificate": "a new server certificate: new handshakes show",
    "tickets_before": "a TLS ticket, before anything changes",
    "tickets": "new ticket keys: an old ticket",
    "rule": "a new denial: what is published against it",
    "rule_live": "and the live session of who published",
    "key_live": "a device's new key and certificate: its live session",
    "key_old": "its old certificate meanwhile",
    "key_end": "its old certificate, once it is ended",
    "password_live": "a device's new password: its live session",
    "password_old": "its old password meanwhile",
    "authority_new": "another CA: its device",
    "authority_live": "the CA of before is taken away: its device's live session",
    "authority_full": "its device, full handshake",
    "authority_ticket": "its device, with a ticket",
    "list_live": "a certificate on the revocation list: its live session",
    "list_full": "its device, full handshake",
    "list_ticket": "its device, with a ticket",
    "list_outdated": "the revocation list has run out: who is not on it",
    "broken": "a certificate file that cannot be read: new connections",
    "dropped": "live sessions that were to stay, and ended",
}


class Trust(Broker, Protocol):
    """A broker whose trust can be rotated; each act comes back when the broker was told.

    `worded` is what logs in by password; on mosquitto that is the victim as well.
    """

    worded: str

    def change_server_certificate(self) -> None:
        """Give it a new key and certificate."""
        ...

    def change_ticket_keys(self) -> None:
        """Make old tickets worthless."""
        ...

    def deny(self) -> None:
        """The victim may no longer publish WORDS."""
        ...

    def change_key(self) -> Pass:
        """Give the victim a new key, the old one holding for a while if that can be."""
        ...

    def change_password(self) -> Pass:
        """Give `worded` a new password, the old one holding for a while if that can be."""
        ...

    def end_old_key(self, old: Pass) -> None:
        """Let what the victim had before hold no longer."""
        ...

    def change_authority(self) -> dict[str, Pass]:
        """Believe another CA too; give what it issued for the devices that stay."""
        ...

    def retire_authority(self) -> None:
        """Believe the CA of before no longer."""
        ...

    def list_victim(self, shown: Pass) -> None:
        """Put a certificate of the victim on the revocation list."""
        ...

    def let_list_run_out(self) -> None:
        """Have a list in force that should have been replaced by now."""
        ...

    def break_file(self) -> None:
        """Have it read a server certificate that is none."""
        ...


class Lockgate:
    """Our own hub."""

    name = "lockgate"
    worded = "worded"

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self._count = 0
        self.port = hub.port
        self.ca = hub.ca_path
        self.passes = {n: Pass(p) for n, p in enlist(Home.open(hub.home), folder, EVERYBODY, rules=RULES).items()}
        secret = hub.add_device(self.worded, "password") / PASSWORD_FILE
        self.passes[self.worded] = Pass(None, self.worded, secret.read_bytes())

    def revoke(self) -> None:
        """Revoke the victim."""
        self._do("revoke", VICTIM)

    def grant_anew(self) -> Pass:
        """Give the victim a new key."""
        return self._rotate(VICTIM)

    def change_server_certificate(self) -> None:
        """Run the command."""
        self._do("server-cert", "rotate")

    def change_ticket_keys(self) -> None:
        """Run the command."""
        self._do("server-cert", "rotate-tickets")

    def deny(self) -> None:
        """Add a rule."""
        self._do("policy", "deny", "--device", VICTIM, "--publish", WORDS)

    def change_key(self) -> Pass:
        """Rotate, with an overlap."""
        return self._rotate(VICTIM)

    def change_password(self) -> Pass:
        """Rotate, with an overlap."""
        secret = self._rotated(self.worded, "password") / PASSWORD_FILE
        return Pass(None, self.worded, secret.read_bytes())

    def end_old_key(self, old: Pass) -> None:
        """Revoke the credential."""
        self._revoke_credential(old)

    def change_authority(self) -> dict[str, Pass]:
        """Rotate the issuing CA, and give those who stay new certificates."""
        self._do("ca", "rotate")
        return {name: self._rotate(name) for name in STEADY}

    def retire_authority(self) -> None:
        """Retire the older issuing CA, though a device still rests on it."""
        old = next((self._hub.home / "ca" / "old").glob("*.crt")).stem
        self._do("ca", "retire", old, "--force")

    def list_victim(self, shown: Pass) -> None:
        """Revoke the credential: its certificate goes on the list."""
        self._revoke_credential(shown)

    def _revoke_credential(self, shown: Pass) -> None:
        thumbprint = certificate_thumbprint(shown.certificate)
        with Home.open(self._hub.home).registry(read_only=True) as registry:
            device = registry.device(VICTIM)
        assert device is not None
        self._do("credential", "revoke", *(str(c.id) for c in device.credentials if c.thumbprint == thumbprint))

    def let_list_run_out(self) -> None:
        """Make lists that were good for a second."""
        with Home.open(self._hub.home).registry() as registry:
            Desk(Home.open(self._hub.home), registry, "bench").publish_crls(time.time() - 60, 1)
        time.sleep(HUSH_SECONDS)

    def break_file(self) -> None:
        """Write nonsense over it, and have all files read again."""
        (self._hub.home / "server.crt").write_text("nonsense")
        self.change_ticket_keys()

    def _rotate(self, name: str) -> Pass:
        out = self._rotated(name, "x509")
        pem = out.with_suffix(".pem")
        pem.write_bytes((out / KEY_FILE).read_bytes() + (out / CERTIFICATE_FILE).read_bytes())
        return Pass(pem)

    def _rotated(self, name: str, auth: str) -> Path:
        self._count += 1
        out = self._folder / f"new{self._count}"
        self._do("device", "rotate", name, "--out", str(out), "--hub", "localhost", "--auth", auth)
        return out

    def _do(self, *words: str) -> None:
        self._hub.lockgate(*words)
        time.sleep(HUSH_SECONDS)


class RotatedMosquitto(Mosquitto):
    """Debian's mosquitto, told of each change by its files and SIGHUP, or by its plug-in where that knows of it."""

    worded = VICTIM

    def __init__(self, folder: Path, has_plugin: bool) -> None:
        super().__init__(folder, has_plugin)
        self._other = Home.create(folder / "other", ["localhost"], time.time(), "bench", 0)
        self._listed: list[tuple[Home, int]] = []
        self._count = 0

    def change_server_certificate(self) -> None:
        """Replace certificate and key in its files."""
        self._home.issue_server_certificate(["localhost"], time.time(), "bench")
        self._hang_up()

    def change_ticket_keys(self) -> None:
        """Nothing but SIGHUP is there to be sent."""
        self._hang_up()

    def deny(self) -> None:
        """Take the right away, or write the ACL file without it."""
        if self._has_plugin:
            self._control("addRoleACL", f"role-{VICTIM}", "publishClientSend", WORDS, "deny", "10")
        else:
            rules = self._folder / "rules"
            rules.write_text(rules.read_text().replace(f"user {VICTIM}\n", f"user {VICTIM}\ntopic deny {WORDS}\n"))
            self._hang_up()

    def change_key(self) -> Pass:
        """Issue another certificate; the broker need not be told."""
        return self._issue(self._home, VICTIM, self.passes[VICTIM].password)

    def change_password(self) -> Pass:
        """Set another password: there is one for each user."""
        word = "another secret"
        if self._has_plugin:
            self._control("setClientPassword", VICTIM, word)
        else:
            run_program("mosquitto_passwd", "-b", str(self._passwords), VICTIM, word)
            self._hang_up()
        return Pass(None, VICTIM, word.encode())

    def end_old_key(self, old: Pass) -> None:
        """Put the old certificate on the list."""
        self._list(self._home, old)

    def change_authority(self) -> dict[str, Pass]:
        """Write the other CA into the file as well, and give those who stay a certificate of it."""
        self._write_anchors(self._home, self._other)
        return {name: self._issue(self._other, name, self.passes[name].password) for name in STEADY}

    def retire_authority(self) -> None:
        """Leave the first CA out of the file."""
        self._write_anchors(self._other)

    def list_victim(self, shown: Pass) -> None:
        """Put the victim's certificate on its CA's list."""
        self._list(self._other, shown)

    def _write_anchors(self, *homes: Home) -> None:
        pem = b"".join(home.root_path.read_bytes() + home.issuing_path.read_bytes() for home in homes)
        (self._folder / "anchors.pem").write_bytes(pem)
        self._hang_up()

    def _issue(self, home: Home, name: str, password: bytes) -> Pass:
        self._count += 1
        key, authority = generate_key("ec"), home.authority()
        leaf = authority.issue_device(name, key.public_key(), now=time.time())
        pem = self._folder / f"new{self._count}.pem"
        pem.write_bytes(private_key_to_pem(key) + authority.chain_pem(leaf))
        return Pass(pem, name, password)

    def _list(self, home: Home, shown: Pass) -> None:
        self._listed.append((home, shown.certificate.serial_number))
        self._write_crl()
        self._hang_up()

    def let_list_run_out(self) -> None:
        """Write lists that were good for a second."""
        self._write_crl(time.time() - 60, 1)
        self._hang_up()

    def break_file(self) -> None:
        """Write nonsense over it."""
        self._home.server_path.write_text("nonsense")
        self._hang_up()

    def _write_crl(self, now: float | None = None, life_seconds: float = DAY) -> None:
        at = time.time() if now is None else now
        lists = []
        for home in (self._home, self._other):
            bad = [RevokedCertificate(serial, at) for of, serial in self._listed if of is home]
            lists.append(build_crl(home.authority(), bad, len(self._listed) + 1, at, life_seconds))
        (self._folder / "crl.pem").write_bytes(crls_to_pem(lists))


class Watched:
    """The live sessions of a broker, and what is seen of them."""

    def __init__(self, broker: Trust) -> None:
        self.broker = broker
        self.passes = dict(broker.passes)
        self.dropped: list[str] = []
        self.live: dict[str, Peer] = {}
        for name in dict.fromkeys((*EVERYBODY, broker.worded)):
            self.come(name)
        self.live[WATCHER].subscribe("devices/#")

    def come(self, name: str) -> None:
        """Connect a device as it should be connected."""
        peer = Peer(self.broker, self.passes[name], name)
        assert peer.is_in, (self.broker.name, name, peer.connack)
        self.live[name] = peer

    def count_dropped(self, step: str, *names: str) -> None:
        """See who of those that should be connected no longer is, after a step; they come again."""
        for name in names or STEADY:
            if self.is_over(name):
                self.dropped.append(step)
                self.come(name)
                if name == WATCHER:
                    self.live[name].subscribe("devices/#")

    def is_over(self, name: str) -> bool:
        """Say whether a device's live session has ended."""
        peer = self.live[name]
        peer.listen(0.1)
        if not peer.is_closed:
            peer.send(Pingreq())
            peer.listen(0.3)
        return peer.is_closed

    def session(self, name: str) -> str:
        """Say in a word what became of a device's live session."""
        return ENDS if self.is_over(name) else GOES_ON

    def try_in(self, shown: Pass, name: str) -> str:
        """Say whether a pass opens the door."""
        peer = Peer(self.broker, shown, f"{name}/aside")
        is_in = peer.is_in
        _end(peer)
        return WELCOME if is_in else OUT

    def ticket(self, name: str) -> tuple[ssl.SSLContext, ssl.SSLSession | None]:
        """Give a fresh ticket of a device."""
        peer = Peer(self.broker, self.passes[name], f"{name}/aside")
        assert peer.is_in, (self.broker.name, name, peer.connack)
        ticket = peer.context, peer.socket.session
        _end(peer)
        return ticket

    def try_ticket(self, name: str, ticket: tuple[ssl.SSLContext, ssl.SSLSession | None]) -> str:
        """Say what a ticket does: it resumes, falls back to a full handshake, or ends in a refusal."""
        context, session = ticket
        peer = Peer(self.broker, self.passes[name], f"{name}/aside", context=context, session=session)
        if not peer.is_in:
            _end(peer)
            return OUT
        how = "resumes" if peer.socket.session_reused else "full handshake"
        _end(peer)
        return f"{WELCOME} ({how})"

    def chain(self) -> str:
        """Give the certificate that a new handshake shows."""
        peer = Peer(self.broker, self.passes[WATCHER], f"{WATCHER}/aside")
        assert peer.is_in, (self.broker.name, peer.connack)
        shown = ssl.DER_cert_to_PEM_cert(peer.socket.getpeercert(True) or b"")
        _end(peer)
        return shown


def _end(peer: Peer) -> None:
    if not peer.is_closed:
        peer.is_cut()


def observe(broker: Trust) -> Row:
    """Take the steps; say what was seen."""
    watched = Watched(broker)
    old = watched.ticket(VICTIM)
    before = watched.try_ticket(VICTIM, old)
    old_chain = watched.chain()
    broker.change_ticket_keys()
    tickets = watched.try_ticket(VICTIM, old)
    watched.count_dropped("ticket keys")
    broker.change_server_certificate()
    chain = "the new one" if watched.chain() != old_chain else "the old one, until a restart"
    watched.count_dropped("server certificate")
    rule = _observe_rule(watched)
    key = _observe_key(watched)
    authority = _observe_authority(watched)
    listed = _observe_list(watched)
    broker.break_file()
    broken = watched.try_in(watched.passes[WRITER], WRITER)
    watched.count_dropped("broken file", WATCHER, WRITER)
    for peer in watched.live.values():
        _end(peer)
    dropped = ", ".join(f"{watched.dropped.count(step)} ({step})" for step in dict.fromkeys(watched.dropped)) or "none"
    return Row(broker.name, chain, before, tickets, *rule, *key, *authority, *listed, broken, dropped)


def _observe_rule(watched: Watched) -> tuple[str, str]:
    watched.broker.deny()
    session = watched.session(VICTIM)
    if session == ENDS:
        watched.dropped.append("rule")
        watched.come(VICTIM)
    watcher = watched.live[WATCHER]
    watcher.heard.clear()
    watched.live[VICTIM].publish(WORDS, b"denied")
    watcher.listen(HUSH_SECONDS)
    is_heard = any(topic == WORDS for topic, _ in watcher.heard)
    watched.count_dropped("rule")
    return "is heard" if is_heard else "is not heard", session


def _observe_key(watched: Watched) -> tuple[str, str, str, str, str]:
    old = watched.passes[VICTIM]
    watched.passes[VICTIM] = watched.broker.change_key()
    session, meanwhile = watched.session(VICTIM), watched.try_in(old, VICTIM)
    _end(watched.live[VICTIM])
    watched.come(VICTIM)
    watched.broker.end_old_key(old)
    end = watched.try_in(old, VICTIM)
    watched.count_dropped("key")
    name = watched.broker.worded
    of_old = watched.passes[name]
    word = watched.broker.change_password()
    watched.passes[name] = msgspec.structs.replace(word, pem=of_old.pem)
    password_session, password_old = watched.session(name), watched.try_in(of_old, name)
    if password_session == ENDS:
        watched.dropped.append("password")
        watched.come(name)
    assert watched.try_in(watched.passes[name], name) == WELCOME
    return session, meanwhile, end, password_session, password_old


def _observe_authority(watched: Watched) -> tuple[str, str, str, str]:
    renewed = watched.broker.change_authority()
    for name in STEADY:
        renewed[name] = msgspec.structs.replace(renewed[name], password=watched.passes[name].password)
    watched.count_dropped("another CA", *STEADY, READER)
    new = watched.try_in(renewed[WRITER], WRITER)
    ticket = watched.ticket(READER)
    for name in STEADY if new == WELCOME else ():
        watched.passes[name] = renewed[name]
        _end(watched.live[name])
        watched.come(name)
    watched.live[WATCHER].subscribe("devices/#")
    watched.broker.retire_authority()
    live = watched.session(READER)
    full, resumed = watched.try_in(watched.passes[READER], READER), watched.try_ticket(READER, ticket)
    watched.count_dropped("retired CA")
    return new, live, full, resumed


def _observe_list(watched: Watched) -> tuple[str, str, str, str]:
    ticket = watched.ticket(VICTIM)
    watched.broker.list_victim(watched.passes[VICTIM])
    live = watched.session(VICTIM)
    full, resumed = watched.try_in(watched.passes[VICTIM], VICTIM), watched.try_ticket(VICTIM, ticket)
    watched.count_dropped("revocation list", WATCHER, WRITER)
    watched.broker.let_list_run_out()
    return live, full, resumed, watched.try_in(watched.passes[WRITER], WRITER)


def observe_all(folder: Path) -> list[Row]:
    """Take the steps on lockgate and on both forms of mosquitto."""
    rows: list[Row] = []
    with RunningHub(folder / "lockgate") as hub:
        rows.append(observe(Lockgate(hub, folder / "keys")))
    for has_plugin in (True, False):
        place = folder / f"mosquitto-{has_plugin}"
        place.mkdir()
        with RotatedMosquitto(place, has_plugin).running() as broker:
            rows.append(observe(broker))
    return rows


def table(rows: list[Row], version: str) -> str:
    """Give the table of the page."""
    lines = ["| | " + " | ".join(row.broker for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += [
        f"| {text} | " + " | ".join(getattr(row, field) for row in rows) + " |" for field, text in WORDING.items()
    ]
    return "\n".join([*lines, "", f"Seen with {version}.", ""])


@click.command()
@click.option("--keep", is_flag=True, help=f"Write the table into {PAGE.relative_to(TOP)}.")
def main(keep: bool) -> None:
    """See what a rotation does to live sessions, beside mosquitto."""
    with tempfile.TemporaryDirectory() as folder:
        rows = observe_all(Path(folder))
    text = table(rows, mosquitto_version())
    click.echo(text)
    if keep and not replace_table(PAGE, text):
        raise click.ClickException(f"{PAGE} has no marks for the table")


if __name__ == "__main__":
    main()
