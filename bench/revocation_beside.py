"""What remains after a revocation: lockgate beside Debian's mosquitto, set up as well as it can be.

Run it with `python -m bench.revocation_beside`, from the top of the source; with --keep it writes the table into
docs/explain/revocation.md. The same steps are taken on each broker, by the same client, over TLS with client
certificates: a device with a live connection, a will, a retained message and an absent session with a queue is revoked
in every way that the broker offers. Then the table says what is still there, as seen from outside.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self

import click
import msgspec
from cryptography import x509

from bench.report import replace_table
from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import (
    V5,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    WillPacket,
)
from lockgate.home import Home
from lockgate.model.permission import Operation, Rule
from lockgate.model.topic import topic_name
from lockgate.pki.certificates import generate_key, private_key_to_pem
from lockgate.pki.revocation import RevokedCertificate, build_crl, crls_to_pem
from tests.support.fleet import enlist
from tests.support.hub import RunningHub, eventually

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "explain" / "revocation.md"
PLUGIN = Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")
VICTIM, WATCHER, WRITER, READER = "victim", "watcher", "writer", "reader"
EVERYBODY = (VICTIM, WATCHER, WRITER, READER)
IN, WORDS, WILL = "devices/victim/in", "devices/victim/words", "devices/victim/will"
RULES = {
    WATCHER: [Rule(f"device:{WATCHER}", Operation.RECEIVE, "devices/#")],
    READER: [Rule(f"device:{READER}", Operation.RECEIVE, "devices/#")],
    WRITER: [Rule(f"device:{WRITER}", Operation.PUBLISH, "devices/+/in")],
}
DAY = 86_400
PATIENCE_SECONDS = 3.0
HUSH_SECONDS = 0.7
ANY_SIZE = 268_435_460


class Pass(msgspec.Struct, frozen=True):
    """What a client shows: a certificate, if any, and a user name and password where the broker wants them."""

    pem: Path | None
    user: str = ""
    password: bytes = b""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that is shown."""
        assert self.pem is not None
        return x509.load_pem_x509_certificates(self.pem.read_bytes())[0]


class Row(msgspec.Struct, frozen=True):
    """What was seen of one broker, in words."""

    broker: str
    live: str
    again: str
    ticket: str
    queue: str
    retained: str
    will: str

    @property
    def is_silent(self) -> bool:
        """Say whether nothing at all remained."""
        rest = (self.again, self.ticket, self.queue, self.retained, self.will)
        return self.live.startswith("ended") and all(each.startswith(("refused", "gone")) for each in rest)


class Door(Protocol):
    """Where a client goes, and the root by which it checks who is there."""

    port: int
    ca: Path


class Peer:
    """A client of MQTT 5.0 over TLS that does one thing at a time."""

    def __init__(
        self, broker: Door, shown: Pass, client_id: str, *, expiry: int = 0, will: bool = False,
        context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None,
    ) -> None:  # fmt: skip
        self.heard: list[tuple[str, bytes]] = []
        self.is_closed = False
        self.connack: Connack | None = None
        self._buffer = b""
        self.context = context or _context(broker.ca, shown)
        plain = socket.create_connection(("127.0.0.1", broker.port), timeout=PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = self.context.wrap_socket(plain, server_hostname="localhost", session=session)
        except OSError:
            plain.close()
            self.is_closed = True
            return
        words = WillPacket(topic_name(WILL), b"gone", 1) if will else None
        self.send(
            Connect(
                V5,
                client_id,
                not expiry,
                0,
                shown.user or None,
                shown.password or None,
                words,
                Properties(session_expiry_interval=expiry),
            )
        )
        answer = self._wait_for(Connack)
        self.connack = answer if isinstance(answer, Connack) else None

    @property
    def is_in(self) -> bool:
        """Whether the broker let it in."""
        return self.connack is not None and self.connack.code == 0

    def send(self, packet: Packet) -> None:
        """Send one packet, as far as that goes."""
        try:
            self.socket.sendall(wire.encode(packet, V5))
        except OSError:
            self.is_closed = True

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1."""
        self.send(Subscribe(1, (SubscriptionRequest(topic_filter, 1),)))
        assert self._wait_for(Suback) is not None

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int | None:
        """Publish at QoS 1; give the answer's reason code, None when none came as long as patience lasts."""
        self.send(Publish(topic_name(topic), payload, 1, retain, False, 7))
        answer = self._wait_for(Puback)
        return answer.code if isinstance(answer, Puback) else None

    def listen(self, seconds: float) -> None:
        """Hear what comes for a while, or until the broker closes the connection."""
        deadline = time.monotonic() + seconds
        while not self.is_closed and time.monotonic() < deadline:
            self._read(max(0.01, deadline - time.monotonic()))

    def says_goodbye(self) -> None:
        """Leave in order; the session waits."""
        self.send(Disconnect())
        self.socket.close()

    def is_cut(self) -> None:
        """Be gone without a word."""
        with suppress(OSError):
            self.socket.close()

    def _wait_for(self, kind: type[Packet]) -> Packet | None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_closed and time.monotonic() < deadline:
            found = self._read(max(0.01, deadline - time.monotonic()))
            for packet in found:
                if isinstance(packet, kind):
                    return packet
        return None

    def _read(self, seconds: float) -> list[Packet]:
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return []
        self._buffer += data
        packets: list[Packet] = []
        while (found := wire.decode(self._buffer, 0, V5, ANY_SIZE)) is not None:
            packet, end = found
            self._buffer = self._buffer[end:]
            packets.append(packet)
            if isinstance(packet, Publish):
                self.heard.append((packet.topic, packet.payload))
                if packet.qos:
                    self.send(Puback(packet.packet_id))
        return packets


class Broker(Door, Protocol):
    """What the steps need of a broker."""

    name: str
    passes: dict[str, Pass]

    def revoke(self) -> None:
        """Revoke the victim, in every way there is; come back when the broker was told."""
        ...

    def grant_anew(self) -> Pass:
        """Let the victim's name in again, by a new certificate and password."""
        ...


class Lockgate:
    """Our own hub."""

    name = "lockgate"

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self.port = hub.port
        self.ca = hub.ca_path
        home = Home.open(hub.home)
        self.passes = {name: Pass(pem) for name, pem in enlist(home, folder, EVERYBODY, rules=RULES).items()}

    def revoke(self) -> None:
        """Run the command."""
        self._hub.lockgate("revoke", VICTIM)

    def grant_anew(self) -> Pass:
        """Give the device a new key."""
        out = self._folder / "anew"
        self._hub.lockgate("device", "rotate", VICTIM, "--out", str(out), "--hub", "localhost", "--auth", "x509")
        pem = self._folder / "anew.pem"
        pem.write_bytes((out / "device.key").read_bytes() + (out / "device.crt").read_bytes())
        time.sleep(HUSH_SECONDS)
        return Pass(pem)


class Mosquitto:
    """Debian's mosquitto: certificates with a revocation list, passwords, and rules in files or in its plug-in.

    Args:
        folder: an empty folder.
        has_plugin: passwords and rules in the dynamic-security plug-in, else in files.
    """

    def __init__(self, folder: Path, has_plugin: bool) -> None:
        self.name = "mosquitto, " + ("dynamic-security plug-in, CRL" if has_plugin else "files, CRL, SIGHUP")
        self._folder = folder
        self._has_plugin = has_plugin
        self._home = Home.create(folder / "home", ["localhost"], time.time(), "bench", 0)
        self.ca = self._home.root_path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        pems = enlist(self._home, folder / "keys", [*EVERYBODY, "admin"])
        self.passes = {name: Pass(pem, name, f"secret of {name}".encode()) for name, pem in pems.items()}
        self._bad: list[RevokedCertificate] = []
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Run it for a `with` block."""
        self._write_crl()
        anchors = self._home.root_path.read_bytes() + self._home.issuing_path.read_bytes()
        (self._folder / "anchors.pem").write_bytes(anchors)
        config = self._folder / "mosquitto.conf"
        config.write_text("\n".join(self._config()) + "\n")
        if self._has_plugin:
            run_program("mosquitto_ctrl", "dynsec", "init", str(self._dynsec), "admin", "secret of admin")
        else:
            self._passwords.touch(0o600)
            for name in EVERYBODY:
                run_program("mosquitto_passwd", "-b", str(self._passwords), name, f"secret of {name}")
            self._write_rules(EVERYBODY)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([_program("mosquitto"), "-c", str(config)], stdout=log, stderr=log)
        try:
            eventually(self._is_open, 10.0, "mosquitto")
            if self._has_plugin:
                for name in EVERYBODY:
                    self._add_client(name)
            yield self
        finally:
            self._process.terminate()
            self._process.wait()

    def revoke(self) -> None:
        """Take its password and its rules away, put its certificate on the list, and tell the broker."""
        certificate = self.passes[VICTIM].certificate
        self._bad.append(RevokedCertificate(certificate.serial_number, time.time()))
        self._write_crl()
        if self._has_plugin:
            self._control("deleteClient", VICTIM)
        else:
            run_program("mosquitto_passwd", "-D", str(self._passwords), VICTIM)
            self._write_rules([name for name in EVERYBODY if name != VICTIM])
        self._hang_up()

    def grant_anew(self) -> Pass:
        """Give the name a new certificate and password."""
        now = time.time()
        key, authority = generate_key("ec"), self._home.authority()
        pem = self._folder / "anew.pem"
        leaf = authority.issue_device(VICTIM, key.public_key(), now=now)
        pem.write_bytes(private_key_to_pem(key) + authority.chain_pem(leaf))
        if self._has_plugin:
            self._add_client(VICTIM)
        else:
            run_program("mosquitto_passwd", "-b", str(self._passwords), VICTIM, f"secret of {VICTIM}")
            self._write_rules(EVERYBODY)
            self._hang_up()
        return Pass(pem, VICTIM, f"secret of {VICTIM}".encode())

    @property
    def _passwords(self) -> Path:
        return self._folder / "passwords"

    @property
    def _dynsec(self) -> Path:
        return self._folder / "dynsec.json"

    def _config(self) -> list[str]:
        lines = [
            f"listener {self.port} 127.0.0.1", "allow_anonymous false", "persistence false", "log_type error",
            f"cafile {self._folder / 'anchors.pem'}", f"certfile {self._home.server_path}",
            f"keyfile {self._home.server_key_path}", "require_certificate true", f"crlfile {self._folder / 'crl.pem'}",
        ]  # fmt: skip
        if self._has_plugin:
            lines += [f"plugin {PLUGIN}", f"plugin_opt_config_file {self._dynsec}"]
        else:
            lines += [f"password_file {self._passwords}", f"acl_file {self._folder / 'rules'}"]
        return lines + (["user root"] if os.geteuid() == 0 else [])

    def _write_rules(self, names: tuple[str, ...] | list[str]) -> None:
        allowed = {
            VICTIM: "topic readwrite devices/victim/#",
            WATCHER: "topic read devices/#",
            READER: "topic read devices/#",
            WRITER: "topic write devices/+/in",
        }
        text = "".join(f"user {name}\n{allowed[name]}\n\n" for name in names)
        (self._folder / "rules").write_text(text)
        (self._folder / "rules").chmod(0o600)

    def _write_crl(self) -> None:
        crl = build_crl(self._home.authority(), self._bad, len(self._bad) + 1, time.time())
        (self._folder / "crl.pem").write_bytes(crls_to_pem([crl]))

    def _add_client(self, name: str) -> None:
        receive = {VICTIM: "devices/victim/#", WATCHER: "devices/#", READER: "devices/#"}.get(name)
        send = {VICTIM: "devices/victim/#", WRITER: "devices/+/in"}.get(name)
        self._control("createClient", name, "-p", f"secret of {name}")
        with suppress(RuntimeError):  # it is there already
            self._control("createRole", f"role-{name}")
        rights = (("publishClientSend", send), ("publishClientReceive", receive), ("subscribePattern", receive))
        for kind, topic in rights:
            if topic is not None:
                self._control("addRoleACL", f"role-{name}", kind, topic, "allow")
        self._control("addClientRole", name, f"role-{name}")

    def _control(self, *words: str) -> None:
        admin = self.passes["admin"]
        run_program(
            "mosquitto_ctrl", "-h", "localhost", "-p", str(self.port), "--cafile", str(self.ca), "--cert",
            str(admin.pem), "--key", str(admin.pem), "-u", "admin", "-P", "secret of admin", "dynsec", *words,
        )  # fmt: skip

    def _hang_up(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        time.sleep(HUSH_SECONDS)

    def _is_open(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def observe(broker: Broker) -> Row:
    """Take the steps; say what remained."""
    shown = broker.passes
    watcher, writer = Peer(broker, shown[WATCHER], WATCHER), Peer(broker, shown[WRITER], WRITER)
    assert watcher.is_in, watcher.connack
    assert writer.is_in, writer.connack
    watcher.subscribe("devices/#")
    absent = Peer(broker, shown[VICTIM], f"{VICTIM}/absent", expiry=DAY)
    absent.subscribe(IN)
    absent.says_goodbye()
    live = Peer(broker, shown[VICTIM], VICTIM, expiry=DAY, will=True)
    assert live.is_in, live.connack
    live.subscribe(IN)
    live.publish(WORDS, b"kept", retain=True)
    writer.publish(IN, b"before")
    live.listen(HUSH_SECONDS)
    assert (IN, b"before") in live.heard
    ticket = live.socket.session

    broker.revoke()
    live.listen(HUSH_SECONDS)
    writer.publish(IN, b"after")
    live.listen(HUSH_SECONDS)
    if live.is_closed:
        end = "ended"
    else:
        live.publish(WORDS, b"after")
        hears = (IN, b"after") in live.heard
        watcher.listen(HUSH_SECONDS)
        speaks = (WORDS, b"after") in watcher.heard
        end = f"goes on, {'hears' if hears else 'hears nothing'} and {'speaks' if speaks else 'is not heard'}"
    again = Peer(broker, shown[VICTIM], f"{VICTIM}/again")
    resumed = Peer(broker, shown[VICTIM], f"{VICTIM}/resumed", context=live.context, session=ticket)
    is_reused = not resumed.is_closed and resumed.socket.session_reused
    live.is_cut()
    watcher.listen(2 * HUSH_SECONDS)
    reader = Peer(broker, shown[READER], READER)
    reader.subscribe(WORDS)
    reader.listen(HUSH_SECONDS)

    anew = Peer(broker, broker.grant_anew(), f"{VICTIM}/absent", expiry=DAY)
    assert anew.is_in, anew.connack
    anew.listen(HUSH_SECONDS)
    waited = [payload.decode() for _, payload in anew.heard]
    is_present = anew.connack is not None and anew.connack.session_present
    return Row(
        broker.name,
        end,
        "let in" if again.is_in else "refused",
        "resumes, and is let in" if resumed.is_in else "resumes, then CONNECT is refused" if is_reused else "refused",
        f"the session waits, with {' and '.join(map(repr, waited)) or 'nothing'}" if is_present else "gone",
        "stays" if any(topic == WORDS for topic, _ in reader.heard) else "gone",
        "goes out" if any(topic == WILL for topic, _ in watcher.heard) else "gone",
    )


def observe_all(folder: Path) -> list[Row]:
    """Take the steps on lockgate and on both forms of mosquitto."""
    rows: list[Row] = []
    with RunningHub(folder / "lockgate") as hub:
        rows.append(observe(Lockgate(hub, folder / "keys")))
    for has_plugin in (True, False):
        place = folder / f"mosquitto-{has_plugin}"
        place.mkdir()
        with Mosquitto(place, has_plugin).running() as broker:
            rows.append(observe(broker))
    return rows


def table(rows: list[Row], version: str) -> str:
    """Give the table of the page."""
    words = {
        "live": "live connection",
        "again": "a new connection, full handshake",
        "ticket": "its TLS ticket",
        "queue": "its absent session and queue",
        "retained": "retained message that it published",
        "will": "its will",
    }
    lines = ["| | " + " | ".join(row.broker for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += [f"| {text} | " + " | ".join(getattr(row, field) for row in rows) + " |" for field, text in words.items()]
    return "\n".join([*lines, "", f"Seen with {version}.", ""])


def mosquitto_version() -> str:
    """Give what mosquitto calls itself."""
    told = subprocess.run([_program("mosquitto"), "-h"], capture_output=True, text=True, check=False).stdout
    return told.splitlines()[0].strip()


def _context(ca: Path, shown: Pass) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if shown.pem is not None:
        context.load_cert_chain(shown.pem)
    return context


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run make peers")
    return found


def run_program(name: str, *words: str) -> None:
    """Run one of mosquitto's programs, and see that it did not fail."""
    done = subprocess.run([_program(name), *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {words} ended with {done.returncode}: {done.stdout}{done.stderr}")


@click.command()
@click.option("--keep", is_flag=True, help=f"Write the table into {PAGE.relative_to(TOP)}.")
def main(keep: bool) -> None:
    """See what remains after a revocation, beside mosquitto."""
    with tempfile.TemporaryDirectory() as folder:
        rows = observe_all(Path(folder))
    text = table(rows, mosquitto_version())
    click.echo(text)
    if keep and not replace_table(PAGE, text):
        raise click.ClickException(f"{PAGE} has no marks for the table")


if __name__ == "__main__":
    main()
