"""EST as curl and openssl speak it: enrolled by claim and by certificate, and every way of being refused."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.certificates import Authority, forged
from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process

EST = "/.well-known/est"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("hub"), office=True) as running:
        yield running


class Answer(msgspec.Struct):
    status: int
    headers: str
    body: bytes


class Person:
    """Somebody with openssl and curl, and a folder."""

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self.hub = hub
        self.folder = folder

    def openssl(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def request(self, name: str, *options: str, key: str = "device.key") -> bytes:
        """Make a key unless there is one, and a request in base64."""
        if not (self.folder / key).exists():
            self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        self.openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-outform", "DER", "-out", "r.der", *options)
        return self.openssl("base64", "-in", "r.der")

    def curl(self, path: str, *options: str | Path, body: bytes | None = None) -> Answer:
        url = f"https://localhost:{self.hub.office_port}{path}"
        command = ["curl", "-sS", "--max-time", "20", "--cacert", str(self.hub.ca_path), "-D", "headers"]
        command += map(str, options)
        if body is not None:
            command += ["--data-binary", "@-", "-H", "Content-Type: application/pkcs10"]
        done = subprocess.run([*command, url], cwd=self.folder, input=body, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        headers = (self.folder / "headers").read_text()
        return Answer(int(headers.split()[1]), headers.lower(), done.stdout)

    def enroll(self, name: str, token: str, request: bytes | None = None, **options: str) -> Answer:
        body = self.request(name) if request is None else request
        return self.curl(f"{EST}/simpleenroll", "--user", f"{name}:{token}", body=body)

    def keep(self, answer: Answer, name: str = "device.crt") -> None:
        """Write the certificate that came as PEM."""
        assert answer.status == 200, answer
        assert "content-type: application/pkcs7-mime; smime-type=certs-only" in answer.headers
        der = self.openssl("base64", "-d", stdin=answer.body)
        pem = self.openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=der)
        (self.folder / name).write_bytes(pem)


def claim(hub: RunningHub, pattern: str, *options: str) -> str:
    done = hub.lockgate("claim", "add", "--name-pattern", pattern, "--json", *options)
    return str(msgspec.json.decode(done.stdout)["token"])


@pytest.fixture
def person(hub: RunningHub, tmp_path: Path) -> Person:
    return Person(hub, tmp_path)


@pytest.fixture(scope="module")
def token(hub: RunningHub) -> str:
    return claim(hub, "est-*", "--uses", "100", "--group", "hall")


def with_certificate(name: str = "device") -> tuple[str, ...]:
    return ("--cert", f"{name}.crt", "--key", f"{name}.key")


@pytest.mark.requirement("I3")
def test_a_claim_gives_a_certificate_that_openssl_verifies(hub: RunningHub, person: Person, token: str) -> None:
    person.keep(person.enroll("est-1", token))
    issuing = str(hub.home / "ca" / "issuing.crt")
    root = str(hub.home / "ca" / "root.crt")
    said = person.openssl(
        "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, "-untrusted", issuing, "device.crt"
    )
    assert b"device.crt: OK" in said
    text = person.openssl("x509", "-in", "device.crt", "-noout", "-subject", "-ext", "subjectAltName").decode()
    assert "urn:lockgate:device:est-1" in text
    shown = msgspec.json.decode(hub.lockgate("device", "show", "est-1", "--json").stdout)
    assert shown["groups"] == ["hall"]


def test_a_certificate_renews_itself_and_both_are_good(hub: RunningHub, person: Person, token: str) -> None:
    person.keep(person.enroll("est-2", token))
    request = person.request("est-2", key="next.key")

    def renew() -> Answer | None:
        answer = person.curl(f"{EST}/simplereenroll", *with_certificate(), body=request)
        return None if answer.status == 401 else answer  # the office reads the registry every 20 ms

    person.keep(eventually(renew), "next.crt")
    eventually(lambda: person.curl("/health", *with_certificate("next")).status == 200 or None)
    for name in ("device", "next"):
        request = person.request("est-2", key=f"{name}-2.key")
        answer = person.curl(f"{EST}/simpleenroll", *with_certificate(name), body=request)
        assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [("gateway", 403, "claim token is for other names"), ("a b", 400, "name not valid"), ("", 400, "name not valid")],
)
def test_a_wrong_name_is_refused(person: Person, token: str, name: str, status: int, reason: str) -> None:
    answer = person.enroll(name, token, person.request("est-x"))
    assert answer.status == status
    assert answer.body.decode().startswith(reason)


def test_a_refusal_is_found_by_the_reference_that_the_device_was_told(
    hub: RunningHub, person: Person, token: str
) -> None:
    answer = person.enroll("gateway", token)
    reference = answer.body.decode().rpartition("reference: ")[2].strip()
    found = eventually(lambda: next((r for r in hub.why() if r["reference"] == reference), None))
    assert (found["door"], found["step"], found["is_verified"]) == ("office", "credential", False)
    assert found["evidence"]["pattern"] == "est-*"
    assert "lockgate claim add" in found["fix"]


def test_a_wrong_token_is_refused_with_the_way_to_authenticate(person: Person, token: str) -> None:
    for wrong in (token[:-1], "x", ""):
        answer = person.enroll("est-3", wrong, person.request("est-3"))
        assert (answer.status, b"wrong claim token" in answer.body) == (401, True)
    assert "www-authenticate: basic realm=" in answer.headers
    assert person.curl(f"{EST}/simpleenroll", body=person.request("est-3")).status == 401


def test_an_expired_a_revoked_and_a_used_up_token_are_refused(hub: RunningHub, person: Person) -> None:
    used = claim(hub, "once-*")
    person.keep(person.enroll("once-1", used))
    other = Person(hub, person.folder / "other")
    other.folder.mkdir()
    assert b"claim token used up" in other.enroll("once-2", used).body
    short = claim(hub, "brief-*", "--for", "1s")
    revoked = claim(hub, "gone-*")
    hub.lockgate("claim", "revoke", revoked.split("_")[1])
    assert b"claim token revoked" in other.enroll("gone-1", revoked).body
    eventually(lambda: "expired" in hub.lockgate("claim", "show", short.split("_")[1]).stdout or None)
    assert b"claim token expired" in other.enroll("brief-1", short).body


def test_a_request_of_somebody_else_is_refused(person: Person, token: str) -> None:
    answer = person.enroll("est-4", token, person.request("est-5"))
    assert (answer.status, b"names another device" in answer.body) == (400, True)


def test_a_weak_key_is_refused_with_the_reason(person: Person, token: str) -> None:
    person.openssl("genrsa", "-out", "weak.key", "1024")
    answer = person.enroll("est-6", token, person.request("est-6", key="weak.key"))
    assert answer.status == 400
    assert b"at least 2048 bits" in answer.body


@pytest.mark.parametrize("body", [b"", b"hello", b"A" * 60_000])
def test_what_is_no_request_is_refused(person: Person, token: str, body: bytes) -> None:
    answer = person.enroll("est-7", token, body)
    assert (answer.status, b"openssl req" in answer.body) == (400, True)


def test_a_body_that_is_too_long_is_refused(person: Person, token: str) -> None:
    answer = person.enroll("est-8", token, b"A" * 70_000)
    assert answer.status == 413
    assert b"reference: " in answer.body


def test_a_revoked_devices_certificate_renews_nothing(hub: RunningHub, person: Person, token: str) -> None:
    person.keep(person.enroll("est-9", token))
    hub.lockgate("device", "revoke", "est-9")
    command = [
        "curl", "-sS", "--max-time", "10", "--cacert", str(hub.ca_path), *with_certificate(), "--data-binary", "@-",
        f"https://localhost:{hub.office_port}{EST}/simplereenroll",
    ]  # fmt: skip
    asked = person.request("est-9", key="n.key")

    def refused() -> bool:
        done = subprocess.run(command, cwd=person.folder, input=asked, capture_output=True, timeout=20)
        assert b"PKCS7" not in done.stdout
        return b"certificate revoked" in done.stderr  # by the registry at once, and by TLS with the next list

    assert eventually(refused, 10.0)
    assert eventually(lambda: [r for r in hub.why() if r["door"] == "office" and "revoked" in r["reason"]] or None)


def test_a_blocked_devices_certificate_renews_nothing(hub: RunningHub, person: Person, token: str) -> None:
    person.keep(person.enroll("est-10", token))
    hub.lockgate("device", "block", "est-10")

    def renew() -> Answer | None:
        answer = person.curl(f"{EST}/simplereenroll", *with_certificate(), body=person.request("est-10", key="n.key"))
        return answer if b"blocked" in answer.body else None

    assert eventually(renew).status == 403


def test_a_certificate_that_another_ca_made_gets_no_further_than_tls(hub: RunningHub, person: Person) -> None:
    foreign = forged(Authority.from_home(hub.home), "est-1")
    foreign.write(person.folder, "foreign")
    command = [
        "curl", "-sS", "--max-time", "10", "--cacert", str(hub.ca_path),
        "--cert", "foreign.pem", "--key", "foreign.key.pem",
        f"https://localhost:{hub.office_port}{EST}/simplereenroll", "--data-binary", "x",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=person.folder, capture_output=True, timeout=20)
    assert done.returncode != 0
    assert b"alert" in done.stderr
    assert eventually(lambda: [r for r in hub.why() if r["door"] == "office" and r["step"] == "tls"] or None)


def test_no_token_is_in_any_log_or_output(hub: RunningHub, token: str) -> None:
    secret = token.rpartition("_")[2]
    assert secret not in hub.log()
    assert secret not in hub.lockgate("claim", "list", "--json").stdout
    assert secret not in hub.lockgate("why", "--last", "1000", "--json").stdout
    for file in hub.home.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
