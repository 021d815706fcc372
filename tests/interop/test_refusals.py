"""Every refusal three times: what the client sees, what the hub logs, and what `lockgate why` says to do about it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from lockgate.cli import cli
from tests.support import forgery, mosquitto
from tests.support.hub import RunningHub, eventually
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import V5, V311, Heard, PahoClient, Will
from tests.support.peers import ALL_KINDS, WAIT_SECONDS, Login, login, program

BAD_CREDENTIALS, NOT_AUTHORIZED, SUBACK_FAILURE = 0x86, 0x87, 0x80
NO_RULE = "not authorized: no rule allows it"
VERSIONS = [V311, V5]

_numbers = count(1)


class Cast:
    """The people of the play: devices of each kind, and forgers."""

    def __init__(self, hub: RunningHub, folder: Path) -> None:
        self.hub = hub
        self.folders = {kind: hub.add_device(kind, kind) for kind in ALL_KINDS}
        self.forger = forgery.CertificateForger(hub.home, folder)
        for name in ("blocked", "revoked", "removed"):
            for kind in ("x509", "password"):
                self.folders[f"{name}-{kind}"] = hub.add_device(f"{name}-{kind}", kind)
        self.folders["revoked-jwt"] = hub.add_device("revoked-jwt", "jwt-es256")
        hub.lockgate("device", "block", "blocked-x509", "blocked-password")
        hub.lockgate("device", "revoke", "revoked-x509", "revoked-password", "revoked-jwt")
        hub.lockgate("device", "remove", "removed-x509", "removed-password")
        eventually(lambda: len([e for e in hub.events("change.applied") if e["name"] == "removed-password"]) >= 2)
        self.spy = hub.add_device("spy", "x509", "--receive", "forbidden/#", "--publish", "forbidden/#")

    def login(self, name: str) -> Login:
        """Give a device's login, with a client id of its own."""
        return login(self.folders[name], f"try-{next(_numbers)}")

    def key(self, name: str) -> bytes:
        """Give a device's private key."""
        return (self.folders[name] / "device.key").read_bytes()

    def with_token(self, token: Callable[[dict[str, Any]], str], **changes: Any) -> Login:
        """Give the login of the device jwt-es256 with a token made of its claims."""
        return self.login("jwt-es256").but(password=token(forgery.claims("jwt-es256", **changes)))

    def signed(self, **changes: Any) -> Login:
        """Give the login of the device jwt-es256 with a token that it signed."""
        return self.with_token(lambda said: forgery.signed(self.key("jwt-es256"), said), **changes)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that tells of each change too."""
    with RunningHub(tmp_path_factory.mktemp("hub"), settings='[log]\nlevel = "debug"\n') as running:
        yield running


@pytest.fixture(scope="module")
def cast(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return Cast(hub, tmp_path_factory.mktemp("forged"))


def why(hub: RunningHub) -> list[dict[str, Any]]:
    """Run `lockgate why`, in this process: there are many refusals to look up."""
    words = ["why", "--home", str(hub.home), "--last", "20", "--json"]
    text = CliRunner().invoke(cli, words, catch_exceptions=False).stdout
    return msgspec.json.decode(text, type=list[dict[str, Any]])


def explained(hub: RunningHub, reason: str, step: str, **who: str) -> dict[str, Any]:
    """Find a refusal in `lockgate why` and in the log; give what `why` says."""

    def look() -> dict[str, Any] | None:
        for told in why(hub):
            if told["reason"] == reason and all(told[name] == value for name, value in who.items()):
                return told
        return None

    told = eventually(look, 5.0, f"{reason!r} of {who}")
    assert told["step"] == step
    assert told["message"]
    assert told["fix"]
    (line, *_) = [event for event in hub.events("client.refused") if event["reference"] == told["reference"]]
    assert (line["reason"], line["step"], line["client_id"]) == (reason, step, told["client_id"])
    return told


# Who are you?


class Impostor(msgspec.Struct, frozen=True):
    """One way not to be let in, and the answer to it."""

    login: Callable[[Cast], Login]
    reason: str
    code: int = BAD_CREDENTIALS
    step: str = "credential"


IMPOSTORS = {
    "no credentials": Impostor(lambda cast: cast.login("password").anonymous(), "no credentials"),
    "no certificate": Impostor(lambda cast: cast.login("x509").anonymous(), "no credentials"),
    "certificate of ours for an unknown device": Impostor(
        lambda cast: cast.forger.ours(cast.login("x509").but(client_id="stranger"), "stranger"),
        "device not registered",
    ),
    "certificate of ours for another key's device": Impostor(
        lambda cast: cast.forger.ours(cast.login("x509"), "spy", cast.folders["x509"] / "device.key"),
        "certificate does not match the device",
    ),
    "blocked device with its certificate": Impostor(
        lambda cast: cast.login("blocked-x509"), "device blocked", NOT_AUTHORIZED, "policy"
    ),
    "blocked device with its password": Impostor(
        lambda cast: cast.login("blocked-password"), "device blocked", NOT_AUTHORIZED, "policy"
    ),
    "revoked password": Impostor(lambda cast: cast.login("revoked-password"), "credential revoked", NOT_AUTHORIZED),
    "token by a revoked key": Impostor(lambda cast: cast.login("revoked-jwt"), "credential revoked", NOT_AUTHORIZED),
    "wrong password": Impostor(
        lambda cast: cast.login("password").but(password="not-its-password"), "bad user name or password"
    ),
    "password of a removed device": Impostor(
        lambda cast: cast.login("removed-password"), "bad user name or password"
    ),
    "right password, another's client id": Impostor(
        lambda cast: cast.login("password").but(client_id="spy/by-password"),
        "client id belongs to another device", NOT_AUTHORIZED, "client-id",
    ),
    "good certificate, another's client id": Impostor(
        lambda cast: cast.login("x509").but(client_id="spy/by-certificate"),
        "client id belongs to another device", NOT_AUTHORIZED, "client-id",
    ),
    "good token, another's client id": Impostor(
        lambda cast: cast.login("jwt-es256").but(client_id="revoked-jwt/by-token"), "token signature wrong"
    ),
    "expired token": Impostor(lambda cast: cast.signed(begins_in=-7200), "token expired"),
    "token of the future": Impostor(lambda cast: cast.signed(begins_in=7200), "token not yet valid"),
    "token that lives too long": Impostor(lambda cast: cast.signed(life=90_000), "token lifetime too long"),
    "token for another audience": Impostor(lambda cast: cast.signed(audience="elsewhere"), "token audience wrong"),
    "token signed by another key": Impostor(
        lambda cast: cast.with_token(lambda said: forgery.signed(forgery.new_key_pem(), said)),
        "token signature wrong",
    ),
    "token with alg none": Impostor(lambda cast: cast.with_token(forgery.unsigned), "token algorithm not allowed"),
    "token with HS256 and the public key": Impostor(
        lambda cast: cast.with_token(lambda said: forgery.signed_by_public_key(cast.key("jwt-es256"), said)),
        "token algorithm not allowed",
    ),
}  # fmt: skip


@pytest.mark.requirement("Q10", "Q16")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", IMPOSTORS)
def test_connect_is_refused(cast: Cast, name: str, version: int) -> None:
    impostor = IMPOSTORS[name]
    shown = impostor.login(cast)
    answer = PahoClient(shown, version).connect()
    assert answer.code == impostor.code
    told = explained(cast.hub, impostor.reason, impostor.step, client_id=shown.client_id)
    if version == V5:
        assert answer.reason == f"{impostor.reason} (reference {told['reference']})"
    if shown.password:
        assert shown.password not in cast.hub.log()


@pytest.mark.parametrize("name", ["wrong password", "expired token", "blocked device with its certificate"])
def test_mosquitto_and_mqttjs_are_told_the_same(cast: Cast, name: str) -> None:
    impostor = IMPOSTORS[name]
    said = mosquitto.publish(impostor.login(cast), "anything", "hello")
    assert said.returncode == impostor.code
    with NodeClient(impostor.login(cast)) as client:
        assert client.next("error")["code"] == impostor.code
        assert client.next("closed")


def test_why_is_read_by_people(cast: Cast) -> None:
    shown = cast.login("password").but(password="not-its-password")
    PahoClient(shown).connect()
    told = explained(cast.hub, "bad user name or password", "credential", client_id=shown.client_id)
    text = cast.hub.lockgate("why", told["reference"].replace("-", "").lower()).stdout
    for words in (told["reference"], told["reason"], told["fix"], shown.client_id, "claimed, not verified"):
        assert words in text


# Client certificates that do not get through TLS


class Unverified(msgspec.Struct, frozen=True):
    """A client certificate that fails verification: the hub's reason, the alert as node names it, whom `why` names."""

    login: Callable[[Cast, str], Login]
    reason: str
    alert: str
    named: str = ""


UNVERIFIED = {
    "foreign": Unverified(
        lambda cast, name: cast.forger.foreign(cast.login("x509"), name), "unknown issuer", "ALERT_UNKNOWN_CA"
    ),
    "foreign-with-its-ca": Unverified(
        lambda cast, name: cast.forger.foreign(cast.login("x509"), name, with_ca=True),
        "unknown issuer", "ALERT_UNKNOWN_CA", "lockgate issuing CA",
    ),
    "expired": Unverified(
        lambda cast, name: cast.forger.expired(cast.login("x509"), name),
        "certificate expired", "ALERT_CERTIFICATE_EXPIRED",
    ),
    "future": Unverified(
        lambda cast, name: cast.forger.future(cast.login("x509"), name),
        "certificate not yet valid", "ALERT_BAD_CERTIFICATE",
    ),
    "self-signed": Unverified(
        lambda cast, name: cast.forger.self_signed(cast.login("x509"), name),
        "self-signed certificate", "ALERT_UNKNOWN_CA", "self-signed-device",
    ),
}  # fmt: skip


@pytest.mark.requirement("F14", "T5")
@pytest.mark.parametrize("name", UNVERIFIED)
def test_client_certificate_is_refused_in_the_handshake(cast: Cast, name: str) -> None:
    case = UNVERIFIED[name]
    shown = case.login(cast, f"{name}-device")
    said = mosquitto.publish(shown, "anything", "hello")
    assert said.returncode != 0
    assert "received CONNACK" not in said.stdout
    told = explained(cast.hub, case.reason, "tls", device="" if case.named else f"{name}-device")
    assert (case.named or f"{name}-device") in told["message"]
    assert told["is_verified"] is False
    assert PahoClient(shown).fails_to_connect()
    with NodeClient(shown) as client:
        assert case.alert in client.next("error")["code"]


@pytest.mark.parametrize("name", ["revoked-x509", "removed-x509"])
def test_a_certificate_that_the_revocation_list_names_is_refused_in_the_handshake(cast: Cast, name: str) -> None:
    shown = cast.login(name)
    said = mosquitto.publish(shown, "anything", "hello")
    assert said.returncode != 0
    assert "received CONNACK" not in said.stdout
    told = explained(cast.hub, "certificate revoked", "tls", device=name)
    assert told["is_verified"] is False
    assert PahoClient(shown).fails_to_connect()
    with NodeClient(shown) as client:
        assert "ALERT_CERTIFICATE_REVOKED" in client.next("error")["code"]


# TLS itself


class Handshake(msgspec.Struct, frozen=True):
    """What openssl s_client is asked to offer, what it reads, and the hub's reason."""

    offer: list[str]
    alert: str
    reason: str


HANDSHAKES = {
    "TLS 1.1": Handshake(
        ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version", "TLS version not offered"
    ),
    "TLS 1.0": Handshake(
        ["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version", "TLS version not offered"
    ),
    "CBC": Handshake(
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384"],
        "alert handshake failure", "no shared cipher suite",
    ),
    "static RSA": Handshake(
        ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384"],
        "alert handshake failure", "no shared cipher suite",
    ),
    "finite-field Diffie-Hellman": Handshake(
        ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], "alert handshake failure", "no shared cipher suite"
    ),
}  # fmt: skip


def own_address() -> str:
    """Give an address of loopback that no other test speaks from, so that its refusals are told apart."""
    return f"127.0.7.{next(_numbers)}"


def s_client(cast: Cast, address: str, *offer: str) -> subprocess.CompletedProcess[str]:
    words = ["s_client", "-connect", f"127.0.0.1:{cast.hub.port}", "-bind", f"{address}:0", "-CAfile"]
    return subprocess.run(
        [program("openssl"), *words, str(cast.hub.ca_path), *offer],
        input="", capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.requirement("F16", "F17", "T8", "T10")
@pytest.mark.parametrize("name", HANDSHAKES)
def test_weak_handshake_is_refused(cast: Cast, name: str) -> None:
    case, address = HANDSHAKES[name], own_address()
    done = s_client(cast, address, *case.offer)
    assert done.returncode != 0
    assert case.alert in done.stderr
    explained(cast.hub, case.reason, "tls", address=address)


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_same_program_gets_through_with_what_we_offer(cast: Cast, version: str) -> None:
    done = s_client(cast, own_address(), version)
    assert done.returncode == 0
    assert "Verify return code: 0 (ok)" in done.stdout


def test_plaintext_on_the_tls_port_is_refused(cast: Cast) -> None:
    address = own_address()
    done = subprocess.run(
        [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(cast.hub.port), "-A", address, "-t", "x", "-m", "x"],
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "connection was lost" in done.stderr
    told = explained(cast.hub, "not TLS", "tls", address=address)
    assert "MQTT CONNECT in plain text" in told["message"]


# May you?


def assert_nobody_heard(cast: Cast, topic: str, act: Callable[[], None]) -> None:
    """Do something that must not reach `topic`: the next that is heard there is what we say after it."""
    with PahoClient(login(cast.spy, f"ear-{next(_numbers)}")) as ear:
        ear.subscribe(topic)
        act()
        ear.publish(topic, "marker")
        assert ear.message().payload == "marker"


def test_forbidden_publish_at_qos_1_is_answered_in_5_0(cast: Cast) -> None:
    shown = cast.login("password")

    def act() -> None:
        with PahoClient(shown) as client:
            answer = client.publish("forbidden/one", "hello", 1)
            assert answer.code == NOT_AUTHORIZED
            told = explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)
            assert answer.reason == f"{NO_RULE} (reference {told['reference']})"
            assert told["fix"] == "lockgate policy allow --device password --publish=forbidden/one"
            assert client.publish("devices/password/x", "still here").code != NOT_AUTHORIZED

    assert_nobody_heard(cast, "forbidden/one", act)


def test_forbidden_publish_at_qos_2_is_answered_in_5_0(cast: Cast) -> None:
    shown = cast.login("jwt-rs256")

    def act() -> None:
        with NodeClient(shown) as client:
            client.connected()
            assert client.publish("forbidden/two", "hello", 2)["code"] == NOT_AUTHORIZED
            pubrec = client.next("pubrec")
            told = explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)
            assert pubrec["code"] == NOT_AUTHORIZED
            assert pubrec["properties"]["reasonString"] == f"{NO_RULE} (reference {told['reference']})"

    assert_nobody_heard(cast, "forbidden/two", act)


@pytest.mark.parametrize("qos", [1, 2])
def test_mosquitto_pub_says_that_it_may_not(cast: Cast, qos: int) -> None:
    said = mosquitto.publish(cast.login("x509"), "forbidden/pub", "hello", qos=qos)
    assert "Publish 1 failed: Not authorized." in said.stderr


def test_forbidden_publish_at_qos_0_is_dropped_and_logged_in_5_0(cast: Cast) -> None:
    shown = cast.login("x509")

    def act() -> None:
        with PahoClient(shown) as client:
            client.publish("forbidden/zero", "hello", 0)
            assert client.publish("devices/x509/x", "still here").code != NOT_AUTHORIZED
        explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)

    assert_nobody_heard(cast, "forbidden/zero", act)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_forbidden_publish_closes_the_connection_in_3_1_1(cast: Cast, qos: int) -> None:
    shown = cast.login("x509")

    def act() -> None:
        client = PahoClient(shown, V311)
        assert client.connect().code == 0
        client.send("forbidden/old", "hello", qos)
        assert client.end().code != 0
        client.close()
        explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)

    assert_nobody_heard(cast, "forbidden/old", act)


@pytest.mark.parametrize(("version", "code"), [(V311, SUBACK_FAILURE), (V5, NOT_AUTHORIZED)])
@pytest.mark.parametrize("topic_filter", ["forbidden/#", "#", "devices/+/x", "devices/spy/#"])
def test_forbidden_subscribe_is_answered(cast: Cast, topic_filter: str, version: int, code: int) -> None:
    shown = cast.login("x509")
    with PahoClient(shown, version) as client:
        answer = client.subscribe(topic_filter)
        assert answer.code == code
        with PahoClient(login(cast.spy, "mouth")) as mouth:
            mouth.publish("forbidden/secret", "hello")
        told = explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)
        assert told["evidence"]["topic"] == topic_filter
        if version == V5:
            assert answer.reason == f"{NO_RULE} (reference {told['reference']})"
        client.subscribe("devices/x509/#")
        client.publish("devices/x509/own", "mine")
        assert client.message() == Heard("devices/x509/own", "mine", 1)


@pytest.mark.parametrize("version", [mosquitto.V311, mosquitto.V5])
def test_mosquitto_sub_says_that_it_may_not(cast: Cast, version: str) -> None:
    words = [*mosquitto.options(cast.login("password"), version), "-q", "1", "-t", "forbidden/#"]
    done = subprocess.run(
        [program("mosquitto_sub"), *words], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert "All subscription requests were denied." in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_will_on_a_forbidden_topic_is_refused_at_connect(cast: Cast, version: int) -> None:
    shown = cast.login("password")

    def act() -> None:
        answer = PahoClient(shown, version, will=Will("forbidden/will", "gone")).connect()
        assert answer.code == NOT_AUTHORIZED
        told = explained(cast.hub, NO_RULE, "policy", client_id=shown.client_id)
        assert told["evidence"]["topic"] == "forbidden/will"
        if version == V5:
            assert answer.reason == f"{NO_RULE} (reference {told['reference']})"

    assert_nobody_heard(cast, "forbidden/will", act)
