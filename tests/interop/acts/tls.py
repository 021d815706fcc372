"""Faults before the first byte of MQTT: TCP, TLS, and certificates of both sides."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.interop.acts.stage import (
    FAR_AHEAD,
    Made,
    Stage,
    act,
    mosquitto_says,
    own_address,
    run,
    s_client,
    wait_for,
    works,
)
from tests.support.certificates import Authority, Issued, forged
from tests.support.hub import RunningHub
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import PahoClient
from tests.support.peers import Login, program

IN_1970 = "86400"


# TCP


@act("too many connections from one address")
def too_many_connections(stage: Stage) -> Made:
    hub, address = stage.tight, own_address()
    with ExitStack() as held:
        for _ in range(4):
            words = ["s_client", "-connect", f"127.0.0.1:{hub.port}", "-bind", f"{address}:0", "-quiet"]
            process = subprocess.Popen(
                [program("openssl"), *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            held.callback(process.wait)
            held.callback(process.kill)
            for stream in (process.stdin, process.stderr):
                assert stream is not None
                held.callback(stream.close)
            assert process.stderr is not None
            process.stderr.readline()  # the handshake is done, or refused

    def mend(_told: object) -> None:
        stage.raises("net.max_connections_per_address", 100)
        assert s_client(hub, address).returncode == 0

    return Made({"address": address, "step": "tcp"}, mend, hub)


@act("too many handshakes from one address")
def too_many_handshakes(stage: Stage) -> Made:
    settings = '[log]\nlevel = "debug"\n[net]\n'
    settings += "max_handshakes_per_second_per_address = 1\nmax_handshake_burst_per_address = 5\n"
    hub = RunningHub(stage.folder / "few-handshakes", settings=settings)
    hub.start()
    knocked = ["openssl", "s_time", "-new", "-time", "1", "-connect", f"127.0.0.1:{hub.port}"]
    run(*knocked)

    def mend(told: dict[str, object]) -> None:
        try:
            stage.raises("net.max_handshakes_per_second_per_address", 0, hub)
            works(stage.device("x509", hub=hub))
            run(*knocked)
            again = stage.newest(hub, {"reason": "too many handshakes"})
            assert again is not None
            assert again["count"] == told["count"]
        finally:
            hub.stop()

    return Made({"address": "127.0.0.1", "step": "tcp"}, mend, hub)


# It does not begin


@act("connects and says nothing")
def silent(stage: Stage) -> Made:
    address = own_address()
    with socket.create_connection(("127.0.0.1", stage.tight.port), source_address=(address, 0)) as connection:
        connection.settimeout(10)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    return Made({"address": address}, lambda _told: gets_through(stage.tight, address), stage.tight)


@act("connects and leaves")
def port_check(stage: Stage) -> Made:
    address = own_address()
    socket.create_connection(("127.0.0.1", stage.roomy.port), source_address=(address, 0)).close()
    return Made({"address": address}, lambda _told: None, stage.roomy)


@act("MQTT in plain text")
def plain_mqtt(stage: Stage) -> Made:
    address, hub = own_address(), stage.roomy
    words = ["mosquitto_pub", "-h", "localhost", "-p", str(hub.port), "-A", address, "-t", "x", "-m", "x"]
    assert run(*words).returncode != 0
    shown = stage.device("password")

    def mend(_told: object) -> None:
        secret = ["-u", shown.user_name, "-P", shown.password, "-i", shown.client_id]
        assert run(*words, *secret, "--cafile", str(hub.ca_path)).returncode == 0

    return Made({"address": address}, mend, hub)


@act("HTTP in plain text")
def plain_http(stage: Stage) -> Made:
    address = own_address()
    assert run("curl", "-s", "--interface", address, f"http://127.0.0.1:{stage.roomy.port}/").returncode != 0

    def mend(_told: object) -> None:
        url = f"https://localhost:{stage.roomy.websocket_port}/"
        assert b"MQTT over WebSocket" in run("curl", "-s", "--cacert", str(stage.roomy.ca_path), url).stdout

    return Made({"address": address}, mend, stage.roomy)


# Nothing in common


def gets_through(hub: RunningHub, address: str, *offer: str) -> None:
    """See that openssl finishes its handshake."""
    assert s_client(hub, address, "-verify_return_error", *offer).returncode == 0


def offering(stage: Stage, bad: list[str], good: list[str]) -> Made:
    """Offer what is refused, then what is not."""
    address = own_address()
    assert s_client(stage.roomy, address, *bad).returncode != 0
    return Made({"address": address}, lambda _told: gets_through(stage.roomy, address, *good), stage.roomy)


OLD = ["-cipher", "DEFAULT@SECLEVEL=0"]
MODERN = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]


@act("TLS 1.0")
def tls_1_0(stage: Stage) -> Made:
    return offering(stage, ["-tls1", *OLD], ["-tls1_2"])


@act("TLS 1.1")
def tls_1_1(stage: Stage) -> Made:
    return offering(stage, ["-tls1_1", *OLD], ["-tls1_2"])


@act("cipher suites with CBC")
def cbc(stage: Stage) -> Made:
    return offering(stage, ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384"], MODERN)


@act("cipher suites without forward secrecy")
def static_rsa(stage: Stage) -> Made:
    return offering(stage, ["-tls1_2", "-cipher", "AES128-GCM-SHA256"], MODERN)


@act("finite-field Diffie-Hellman")
def finite_field(stage: Stage) -> Made:
    return offering(stage, ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], MODERN)


@act("an unknown elliptic curve")
def unknown_curve(stage: Stage) -> Made:
    return offering(stage, ["-tls1_3", "-groups", "ffdhe8192"], ["-tls1_3", "-groups", "P-256"])


# The client does not trust the hub


def doubting(stage: Stage, offer: list[str], hub: RunningHub | None = None) -> tuple[str, RunningHub]:
    """Have openssl leave the handshake for the hub's certificate."""
    address, hub = own_address(), hub or stage.roomy
    assert s_client(hub, address, "-verify_return_error", *offer).returncode != 0
    return address, hub


@act("a host name that is not in the certificate")
def wrong_name(stage: Stage) -> Made:
    offer = ["-servername", "hub.example", "-verify_hostname", "hub.example"]
    address, hub = doubting(stage, offer)

    def mend(told: dict[str, object]) -> None:
        stage.does_the_fix(told)
        eventually_through(hub, address, *offer)

    return Made({"address": address}, mend, hub)


@act("an address that is not in the certificate")
def wrong_address(stage: Stage) -> Made:
    offer = ["-noservername", "-verify_ip", "192.0.2.9"]
    address, hub = doubting(stage, offer)

    def mend(_told: object) -> None:
        stage.command("server-cert", "add-name", "192.0.2.9")
        eventually_through(hub, address, *offer)

    return Made({"address": address}, mend, hub)


def eventually_through(hub: RunningHub, address: str, *offer: str) -> None:
    """See that openssl gets through as soon as the hub took up a change."""
    wait_for(lambda: s_client(hub, address, "-verify_return_error", *offer).returncode == 0, "the new certificate")


def trusting_others(stage: Stage, *options: str) -> Made:
    """Have mosquitto_pub trust other CAs than ours."""
    address, hub = own_address(), stage.roomy
    shown = stage.device("password")
    words = ["mosquitto_pub", "-h", "localhost", "-p", str(hub.port), "-A", address, "-t", "x", "-m", "x"]
    words += ["-u", shown.user_name, "-P", shown.password, "-i", shown.client_id]
    assert run(*words, *options).returncode != 0

    def mend(_told: object) -> None:
        assert run(*words, "--cafile", str(shown.ca)).returncode == 0

    return Made({"address": address}, mend, hub)


@act("another CA file")
def other_ca(stage: Stage) -> Made:
    path = stage.folder / "other-ca.pem"
    path.write_bytes(Authority("Other CA").pem)
    return trusting_others(stage, "--cafile", str(path))


@act("the system's CAs instead of ours")
def system_cas(stage: Stage) -> Made:
    return trusting_others(stage, "--tls-use-os-certs")


@act("TLS, and then it leaves")
def leaves(stage: Stage) -> Made:
    address = own_address()
    gets_through(stage.roomy, address)  # openssl itself says nothing more
    return Made({"address": address}, lambda _told: works(stage.device("x509")), stage.roomy)


@act("another CA file, and a library that says nothing")
def node_without_ca(stage: Stage) -> Made:
    shown, hub = stage.device("password", hub=stage.tight), stage.tight
    system = stage.folder / "system-ca.pem"
    system.write_bytes(Authority("Other CA").pem)
    with NodeClient(shown.but(ca=system)) as client:
        assert client.next("error")

    def mend(_told: object) -> None:
        with NodeClient(shown) as client:
            assert client.connected()

    return Made({"address": "127.0.0.1", "device": "", "client_id": ""}, mend, hub)


def clock(stage: Stage, seconds: str) -> Made:
    """Have openssl live at another time."""
    offer = ["-servername", "localhost", "-attime", seconds]
    address, hub = doubting(stage, offer)
    return Made({"address": address}, lambda _told: gets_through(hub, address, "-servername", "localhost"), hub)


@act("the client's clock is 30 years ahead")
def clock_ahead(stage: Stage) -> Made:
    return clock(stage, FAR_AHEAD)


@act("the client's clock stands in 1970")
def clock_never_set(stage: Stage) -> Made:
    return clock(stage, IN_1970)


@act("the hub's certificate has expired")
def hub_expired(stage: Stage) -> Made:
    hub = RunningHub(stage.folder / "outlived")
    authority = Authority.from_home(hub.home)
    end = datetime.now(UTC) - timedelta(days=2)
    issued = authority.issue(
        "hub", names=["localhost", "127.0.0.1"], purpose="server", valid_from=end - timedelta(days=9), valid_until=end
    )
    (path,) = hub.home.rglob("server.crt")
    path.write_bytes(issued.certificate_pem)
    path.with_name("server.key").write_bytes(issued.key_pem)
    hub.start()
    address, _ = doubting(stage, ["-servername", "localhost"], hub)

    def mend(told: dict[str, object]) -> None:
        try:
            stage.does_the_fix(told, hub)
            eventually_through(hub, address, "-servername", "localhost")
        finally:
            hub.stop()
            shutil.rmtree(hub.folder)

    return Made({"address": address}, mend, hub)


# The hub does not trust the client


def showing(stage: Stage, shown: Login, who: dict[str, str], *, by_mosquitto: bool = False) -> Made:
    """Show a client certificate that does not get through."""
    if by_mosquitto:
        assert mosquitto_says(shown).returncode != 0
    else:
        assert PahoClient(shown).fails_to_connect()

    def mend(told: dict[str, object]) -> None:
        assert "(unverified)" in " ".join(told["evidence"])  # type: ignore[arg-type]
        assert not told["is_verified"]
        works(stage.device("x509"))  # made by the command that the fix names

    return Made(who, mend, stage.roomy)


def show(stage: Stage, issued: Issued, name: str) -> Login:
    """Give the login of somebody who shows a certificate."""
    certificate, key = issued.write(stage.folder, name)
    device = stage.device("x509")
    return device.anonymous().but(certificate=certificate, key=key)


@act("a client certificate of a foreign CA")
def foreign(stage: Stage) -> Made:
    shown = stage.forger.foreign(stage.device("x509"), "foreign-one")
    return showing(stage, shown, {"device": "foreign-one"}, by_mosquitto=True)


@act("a foreign CA with our CA's name, shown along")
def foreign_with_ca(stage: Stage) -> Made:
    shown = stage.forger.foreign(stage.device("x509"), "foreign-two", with_ca=True)
    return showing(stage, shown, {"step": "tls", "reason": "unknown issuer"}, by_mosquitto=True)


@act("our CA's name and key id over another's signature")
def forged_signature(stage: Stage) -> Made:
    return showing(stage, show(stage, forged(stage.authority, "forged-one"), "forged-one"), {"reason": "bad signature"})


@act("a self-signed client certificate")
def self_signed(stage: Stage) -> Made:
    shown = stage.forger.self_signed(stage.device("x509"), "self-signed-one")
    return showing(stage, shown, {"reason": "self-signed certificate"}, by_mosquitto=True)


@act("an expired client certificate")
def expired(stage: Stage) -> Made:
    return showing(stage, stage.forger.expired(stage.device("x509"), "expired-one"), {"device": "expired-one"})


@act("a client certificate that is not yet valid")
def not_yet_valid(stage: Stage) -> Made:
    return showing(stage, stage.forger.future(stage.device("x509"), "future-one"), {"device": "future-one"})


@act("a certificate for servers, shown by a client")
def for_servers(stage: Stage) -> Made:
    issued = stage.authority.issue("server-one", names=["server-one"], purpose="server")
    return showing(stage, show(stage, issued, "server-one"), {"reason": "wrong purpose"})


@act("a client certificate with RSA 1024")
def weak_key(stage: Stage) -> Made:
    key = rsa.generate_private_key(65_537, 1024)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak-one")]))
        .issuer_name(stage.authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(stage.authority.key, hashes.SHA256())
    )
    paths = stage.folder / "weak-one.pem", stage.folder / "weak-one.key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    address = own_address()
    offer = ["-cert", str(paths[0]), "-key", str(paths[1]), "-cipher", "DEFAULT@SECLEVEL=0"]
    s_client(stage.roomy, address, *offer, data=b"\x10")
    return Made({"address": address}, lambda _told: works(stage.device("x509")), stage.roomy)


@act("a chain that lacks its intermediate")
def lacking_intermediate(stage: Stage) -> Made:
    below = Authority("Intermediate of the factory", stage.authority)
    leaf = below.issue("lonely-one")
    alone = Issued(leaf.certificate, leaf.key)
    return showing(stage, show(stage, alone, "lonely-one"), {"reason": "unknown issuer", "step": "tls"})
