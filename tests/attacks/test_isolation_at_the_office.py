"""Threat: a device was taken, with everything in its folder; the thief asks the office for what is another device's.

By EST for another name, with the CA's own extensions, with a key that is not its own, with claim tokens that were not
made for it; by headers that proxies believe, by paths and by requests in requests; and by posing as the hub itself.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lockgate.client.options import tls_context
from lockgate.pki.certificates import DEVICE_URN, PrivateKey, generate_key, private_key_from_pem
from lockgate.provision.est import decode_certificates, encode_request
from lockgate.provision.folder import read_folder
from tests.support.hub import RunningHub, eventually
from tests.support.intruder import Ledger, Thief

pytestmark = [pytest.mark.process, pytest.mark.requirement("I1", "I8")]

EST = "/.well-known/est"
OTHER_NAME = "certificate request names another device"
NOT_OFFERED, NOT_HTTP = "not offered by the office", "not HTTP"
SETTINGS = """
[identity]
wrong_passwords_before_lockout = 10000

[net]
max_handshakes_per_second_per_address = 100000
max_handshake_burst_per_address = 100000
"""


class Answer(msgspec.Struct):
    """What curl got."""

    status: int
    body: bytes


class Counter:
    """The office's counter: a hub with an office, `thief` and `victim` by certificate, `signer` by token."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.ledger = Ledger()
        self.folder = hub.add_device("thief", "x509")
        self.victim = hub.add_device("victim", "x509")
        self.signer = hub.add_device("signer", "jwt-es256")
        self.key = private_key_from_pem((self.folder / "device.key").read_bytes())
        self.certificates = x509.load_pem_x509_certificates((self.victim / "device.crt").read_bytes())
        self.claim = str(self._json("claim", "add", "--name-pattern", "field-*", "--uses", "2", "--json")["token"])
        self.credentials = self.known()

    def _json(self, *words: str) -> dict[str, object]:
        return msgspec.json.decode(self.hub.lockgate(*words).stdout, type=dict[str, object])

    def known(self) -> object:
        """Give the credentials of the victim."""
        return self._json("device", "show", "victim", "--json")["credentials"]

    def curl(self, path: str, *options: str, body: bytes | None = None, shows: Path | None = None) -> Answer:
        """Ask the office, as the device of a folder or as nobody."""
        command = ["curl", "-sS", "--max-time", "20", "--path-as-is", "--cacert", str(self.folder / "ca.pem")]
        command += ["-w", "\n%{http_code}", *options]
        if shows is not None:
            command += ["--cert", str(shows / "device.crt"), "--key", str(shows / "device.key")]
        if body is not None:
            command += ["--data-binary", "@-", "-H", "Content-Type: application/pkcs10"]
        url = f"https://localhost:{self.hub.office_port}{path}"
        done = subprocess.run([*command, url], input=body or b"", capture_output=True, timeout=30)
        text, _, status = done.stdout.rpartition(b"\n")
        assert status, done.stderr.decode()
        return Answer(int(status), text)

    def refuses(
        self, reason: str, path: str, *options: str, body: bytes | None = None, shows: Path | None = None
    ) -> None:
        """See that the office refuses a request for this reason, and tells a reference."""
        self.note(reason, self.curl(path, *options, body=body, shows=shows))

    def note(self, reason: str, answer: Answer) -> None:
        """See that an answer is a refusal, and note it."""
        text = answer.body.decode()
        assert answer.status >= 400, text
        assert "reference: " in text, text
        self.ledger.tried[reason] += 1
        self.ledger.told[text.rpartition("reference: ")[2].split()[0]] = reason


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with RunningHub(tmp_path_factory.mktemp("hub"), settings=SETTINGS, office=True) as hub:
        yield Counter(hub)


def csr(key: PrivateKey, *names: str, alternatives: Sequence[x509.GeneralName] | None = None) -> bytes:
    """Make a request for names, as EST carries it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if alternatives is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    return encode_request(builder.sign(key, hashes.SHA256()))


@pytest.mark.parametrize("route", ["simpleenroll", "simplereenroll"])
def test_a_certificate_gets_no_certificate_of_another_name(counter: Counter, route: str) -> None:
    key = generate_key("ec")
    urn = [x509.UniformResourceIdentifier(f"{DEVICE_URN}victim")]
    own = x509.UniformResourceIdentifier(f"{DEVICE_URN}thief")
    requests = [
        csr(key, "victim"), csr(key, "thief", "victim"), csr(key, "victim", "thief"), csr(key, "Thief"),
        csr(key, "thief/../victim"), csr(key, "thief\u200b"), csr(key, "thief", alternatives=urn),
        csr(key, alternatives=urn), csr(key, "thief", alternatives=[own, *urn]),
        csr(key, "thief", alternatives=[x509.DNSName("localhost")]),
        csr(key, "thief", alternatives=[own, x509.DNSName("localhost")]),
        csr(key, "thief", alternatives=[x509.UniformResourceIdentifier(f"{DEVICE_URN.upper()}victim")]),
    ]  # fmt: skip
    for request in requests:
        counter.refuses(OTHER_NAME, f"{EST}/{route}", body=request, shows=counter.folder)


def test_a_request_for_the_victims_key_is_no_proof_of_having_it(counter: Counter) -> None:
    theirs = counter.certificates[0].public_key()
    der = x509.load_der_x509_csr(_der(csr(counter.key, "thief"))).public_bytes(Encoding.DER)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    swapped = der.replace(counter.key.public_key().public_bytes(*form), theirs.public_bytes(*form))
    assert swapped != der
    body = ssl.DER_cert_to_PEM_cert(swapped).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    counter.refuses("no proof of possession", f"{EST}/simplereenroll", body=body, shows=counter.folder)


def test_what_a_request_asks_for_beyond_a_key_is_not_given(counter: Counter) -> None:
    key = generate_key("ec")
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "lockgate")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True)
    )
    body = encode_request(builder.sign(key, hashes.SHA256()))
    answer = counter.curl(f"{EST}/simplereenroll", body=body, shows=counter.folder)
    assert answer.status == 200
    (leaf,) = decode_certificates(answer.body)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    basic = [e.value for e in leaf.extensions if isinstance(e.value, x509.BasicConstraints)]
    assert not any(each.ca for each in basic)
    assert [a.value for a in leaf.subject] == ["thief"]


def test_without_a_certificate_nothing_in_a_folder_enrols(counter: Counter) -> None:
    body = csr(generate_key("ec"), "victim")
    token = counter.hub.token(counter.signer)
    for route in ("simpleenroll", "simplereenroll"):
        expected = "no credentials" if route == "simpleenroll" else "no client certificate"
        counter.refuses(expected, f"{EST}/{route}", body=body)
        counter.refuses(expected, f"{EST}/{route}", "-H", f"Authorization: Bearer {token}", body=body)
        pem = (counter.victim / "device.crt").read_text().replace("\n", "%0A")
        for header in (
            f"X-SSL-Client-Cert: {pem}", f"X-Forwarded-Client-Cert: {pem}", f"Client-Cert: {pem}",
            "X-SSL-Client-Verify: SUCCESS", "X-Client-Verify: SUCCESS", "X-Forwarded-User: victim",
            "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1;proto=https",
        ):  # fmt: skip
            counter.refuses(expected, f"{EST}/{route}", "-H", header, body=body)
    for user in (f"victim:{token}", f"signer:{token}", "victim:victim", "victim:lgc__", "victim:"):
        counter.refuses("wrong claim token", f"{EST}/simpleenroll", "--user", user, body=body)
    counter.refuses("credentials cannot be read", f"{EST}/simpleenroll", "-H", "Authorization: Basic ?", body=body)


def test_a_claim_token_that_was_caught_makes_no_device_anew(counter: Counter) -> None:
    key = generate_key("ec")
    place = f"{EST}/simpleenroll"
    assert counter.curl(place, "--user", f"field-1:{counter.claim}", body=csr(key, "field-1")).status == 200
    other = generate_key("ec")
    for name, reason in (
        ("victim", "claim token is for other names"), ("field-", "claim token is for other names"),
        ("field-1", "device exists already"), ("field-../victim", "name not valid"), ("field-*", "name not valid"),
    ):  # fmt: skip
        counter.refuses(reason, place, "--user", f"{name}:{counter.claim}", body=csr(other, name))
    counter.refuses(OTHER_NAME, place, "--user", f"field-2:{counter.claim}", body=csr(other, "victim"))
    assert counter.curl(place, "--user", f"field-2:{counter.claim}", body=csr(other, "field-2")).status == 200
    again = csr(generate_key("ec"), "field-3")
    counter.refuses("claim token used up", place, "--user", f"field-3:{counter.claim}", body=again)
    with_certificate = counter.curl(
        place, "--user", f"victim:{counter.claim}", body=csr(other, "victim"), shows=counter.folder
    )
    counter.note(OTHER_NAME, with_certificate)  # the certificate says who asks, whatever stands beside it


@pytest.mark.parametrize(
    "path",
    [
        f"/{EST}/simplereenroll", f"{EST}//simplereenroll", f"{EST}/simplereenroll/", f"{EST}/simplereenroll/victim",
        f"{EST}/victim/simplereenroll", f"{EST}/../est/simplereenroll", f"{EST}/%2e%2e/est/simplereenroll",
        f"{EST}/simplereenroll%00", f"{EST}/simplereenroll%2f", f"{EST.upper()}/simplereenroll", "/admin", "/..",
        "/..%2f..%2fhome/ca/issuing.key", "/pki/../../ca/issuing.key", "/ca/issuing.key", "/%5c..%5cregistry.db",
    ],
)  # fmt: skip
def test_a_path_that_means_another_leads_nowhere(counter: Counter, path: str) -> None:
    counter.refuses(NOT_OFFERED, path, body=csr(generate_key("ec"), "victim"), shows=counter.folder)


def test_a_host_header_names_nobody(counter: Counter) -> None:
    body = csr(generate_key("ec"), "victim")
    for host in ("victim", "localhost:1", "victim.localhost", "[::1]", "127.0.0.1, victim"):
        place = f"{EST}/simplereenroll"
        counter.refuses(OTHER_NAME, place, "-H", f"Host: {host}", body=body, shows=counter.folder)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_change_nothing(counter: Counter, method: str) -> None:
    for path in (f"{EST}/simplereenroll", "/pki/root.crt" if method != "GET" else "/pki/x"):
        counter.refuses(NOT_OFFERED, path, "-X", method, shows=counter.folder)


def _smuggled(head: str, body: bytes) -> bytes:
    inner = csr(generate_key("ec"), "victim")
    second = f"POST {EST}/simplereenroll HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(inner)}\r\n\r\n".encode() + inner
    first = f"POST {EST}/simplereenroll HTTP/1.1\r\nHost: hub\r\n{head}\r\n\r\n".encode()
    return first + body + second


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 0\r\nContent-Length: 5", b""),
        ("Content-Length: 0, 5", b""),
        ("Content-Length: +5", b"12345"),
        ("Content-Length: 0x5", b"12345"),
        ("Content-Length : 5", b"12345"),
        ("Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", b"0\r\n\r\n"),
        ("Transfer-Encoding : chunked", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"-1\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"fffffffffffffffffffffffff\r\n"),
        ("X: a\x00b", b""),
        ("X" * 200_000 + ": 1", b""),
        ("Host: other", b""),
    ],
)
def test_a_request_that_two_readers_would_cut_differently_is_refused_whole(
    counter: Counter, head: str, body: bytes
) -> None:
    answer = _say(counter, _smuggled(head, body))
    assert re.findall(rb"HTTP/1.1 \d+", answer) == [b"HTTP/1.1 400"], answer
    counter.note(NOT_HTTP, Answer(400, answer))


def test_a_request_behind_another_is_judged_by_the_same_certificate(counter: Counter) -> None:
    one = csr(generate_key("ec"), "victim")
    head = f"POST {EST}/simplereenroll HTTP/1.1\r\nHost: hub\r\n"
    both = f"{head}Content-Length: {len(one)}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"0\r\n\r\n"
    last = f"{head}Connection: close\r\nContent-Length: {len(one)}\r\n\r\n".encode() + one
    answer = _say(counter, both + last)
    first, second = re.split(rb"HTTP/1.1 (?=\d)", answer)[1:]
    counter.note("not a certificate request", Answer(int(first[:3]), first))
    counter.note(OTHER_NAME, Answer(int(second[:3]), second))


def _say(counter: Counter, data: bytes) -> bytes:
    """Say bytes to the office over TLS with the thief's certificate; give all that it answers."""
    context = tls_context(counter.folder, read_folder(counter.folder))
    with (
        socket.create_connection(("localhost", counter.hub.office_port), 10.0) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as line,
    ):
        line.sendall(data)
        answer = b""
        while True:
            try:
                more = line.recv(65_536)
            except (ssl.SSLError, ConnectionError):
                more = b""
            if not more:
                return answer
            answer += more


def _der(body: bytes) -> bytes:
    done = subprocess.run(["openssl", "base64", "-d"], input=body, capture_output=True, timeout=10, check=True)
    return done.stdout


# Without the office


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("taken_at", ["mqtt", "websocket", "office"])
@pytest.mark.parametrize("shown_at", ["mqtt", "websocket", "office"])
def test_a_ticket_makes_nobody_else(
    counter: Counter, tmp_path: Path, taken_at: str, shown_at: str, version: str
) -> None:
    hub = counter.hub
    ports = {"mqtt": hub.port, "websocket": hub.websocket_port, "office": hub.office_port}
    ticket, ca = tmp_path / "ticket", str(counter.folder / "ca.pem")

    def s_client(door: str, *options: str, said: bytes) -> bytes:
        command = ["openssl", "s_client", "-connect", f"localhost:{ports[door]}", "-CAfile", ca, version, "-ign_eof"]
        done = subprocess.run([*command, *options], input=said, capture_output=True, timeout=30)
        return done.stdout

    def words(door: str, body: bytes) -> bytes:
        if door != "office":
            return b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = f"POST {EST}/simplereenroll HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    own = ("-cert", str(counter.folder / "device.crt"), "-key", str(counter.folder / "device.key"))
    body = csr(generate_key("ec"), "victim")
    s_client(taken_at, *own, "-sess_out", str(ticket), said=words(taken_at, body))
    _count_words(counter, taken_at, has_certificate=True)
    assert ticket.exists()
    answer = s_client(shown_at, "-sess_in", str(ticket), said=words(shown_at, body))
    is_resumed = b"Reused, " in answer
    assert not is_resumed or taken_at == shown_at, "a ticket of one door opens another"
    _count_words(counter, shown_at, has_certificate=is_resumed)
    assert b"-----BEGIN PKCS7" not in answer
    assert b"200 OK" not in answer


def _count_words(counter: Counter, door: str, has_certificate: bool) -> None:
    reasons = {
        "mqtt": "not MQTT",
        "websocket": "unknown WebSocket path",
        "office": OTHER_NAME if has_certificate else "no client certificate",
    }
    counter.ledger.tried[reasons[door]] += 1


def test_a_devices_certificate_does_not_pose_as_the_hub(counter: Counter) -> None:
    """The name is right: a device may be called `localhost`, and some libraries fall back on the common name."""
    for name in ("thief", "localhost"):
        folder = counter.folder if name == "thief" else counter.hub.add_device("localhost", "x509")
        false = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        false.load_cert_chain(folder / "device.crt", folder / "device.key")
        with socket.create_server(("localhost", 0)) as server:
            threading.Thread(target=_greet, args=(server, false), daemon=True).start()
            context = tls_context(counter.victim, read_folder(counter.victim))
            with socket.create_connection(server.getsockname(), 10.0) as raw, pytest.raises(ssl.SSLError) as caught:
                context.wrap_socket(raw, server_hostname="localhost")
            assert "certificate verify failed" in str(caught.value)
        with socket.create_server(("localhost", 0)) as server:
            threading.Thread(target=_greet, args=(server, false), daemon=True).start()
            port = str(server.getsockname()[1])
            words = ["mosquitto_pub", "-h", "localhost", "-p", port, "--cafile", str(counter.victim / "ca.pem")]
            done = subprocess.run([*words, "-t", "x", "-m", "x"], capture_output=True, text=True, timeout=20)
            assert done.returncode != 0
            assert "TLS error" in done.stderr


def _greet(server: socket.socket, context: ssl.SSLContext) -> None:
    try:
        raw, _ = server.accept()
        with raw:
            raw.settimeout(10.0)
            context.wrap_socket(raw, server_side=True).close()
    except (ssl.SSLError, OSError):
        return


def test_a_certificate_that_was_told_to_end_does_not_outlive_its_end_by_renewing_itself(counter: Counter) -> None:
    folder = counter.hub.add_device("lost", "x509")
    new = counter.hub.folder / "found"
    counter.hub.lockgate("device", "rotate", "lost", "--out", str(new), "--overlap", "1h", "--hub", "localhost")
    reason = "credential is being replaced"
    counter.refuses(reason, f"{EST}/simplereenroll", body=csr(generate_key("ec"), "lost"), shows=folder)
    answer = eventually(lambda: _renewed(counter, new))
    assert answer.status == 200


def _renewed(counter: Counter, folder: Path) -> Answer | None:
    answer = counter.curl(f"{EST}/simplereenroll", body=csr(generate_key("ec"), "lost"), shows=folder)
    if answer.status != 200:  # the office reads the registry every 20 ms
        counter.note("device not registered", answer)
        return None
    return answer


@pytest.mark.parametrize("kind", ["x509", "jwt-es256", "jwt-rs256", "jwt-eddsa", "password", "scram-sha-256"])
def test_a_folder_holds_nothing_of_others(counter: Counter, kind: str) -> None:
    hub = counter.hub
    folder = hub.add_device(f"look-{kind}", kind)
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    everything = b"".join(files.values())
    assert everything.count(b"PRIVATE KEY-----\n") == (0 if "password" in files else 2)
    certificates = x509.load_pem_x509_certificates(files["ca.pem"] + files.get("device.crt", b""))
    secrets = [
        path.read_bytes().strip()
        for path in [*hub.home.rglob("*.key"), *hub.folder.glob("device-*/device.key"), *hub.folder.glob("*/password")]
        if folder not in path.parents
    ]
    assert len(secrets) >= 5
    assert not [secret for secret in secrets if secret in everything]
    root = x509.load_pem_x509_certificate((hub.home / "ca" / "root.crt").read_bytes())
    issuing = x509.load_pem_x509_certificate((hub.home / "ca" / "issuing.crt").read_bytes())
    assert certificates == [root] if kind != "x509" else certificates[::2] == [root, issuing]
    others = [name for name in ("thief", "victim", "signer") if name.encode() in everything]
    assert others == []


def test_the_victim_is_as_it_was_and_every_attempt_is_on_record(counter: Counter) -> None:
    assert counter.known() == counter.credentials
    counter.ledger.compare(counter.hub)
    with Thief(counter.hub, counter.victim, False, counter.ledger).enters() as line:
        assert line.is_alive()
