"""Faults in who a client says it is: passwords, tokens, certificates, client ids."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

from lockgate.adapters.mqtt.packets import V311, Connect
from lockgate.adapters.mqtt.wire import encode
from tests.interop.acts.stage import (
    Made,
    Stage,
    Told,
    act,
    connects,
    is_refused,
    mosquitto_says,
    node_is_refused,
    own_address,
    reference_in,
    speaks,
    wait_for,
    works,
)
from tests.support import forgery
from tests.support.mqttjs import SCRIPT
from tests.support.paho_client import PahoClient
from tests.support.peers import WAIT_SECONDS, Login, login, program

HOUR = 3600


def refused_by_mosquitto(stage: Stage, bad: Login, good: Login) -> Made:
    """Connect with mosquitto_pub, wrongly and then rightly."""
    assert mosquitto_says(bad).returncode != 0

    def mend(_told: Told) -> None:
        assert mosquitto_says(good, f"devices/{good.client_id.partition('/')[0]}/x").returncode == 0

    return Made({"client_id": bad.client_id}, mend, stage.roomy)


def refused_by_paho(stage: Stage, bad: Login, good: Login) -> Made:
    """Connect with paho, wrongly and then rightly."""
    reference = is_refused(bad)
    assert reference
    return Made({"client_id": bad.client_id}, lambda _told: works(good), stage.roomy, reference)


@act("nothing shown")
def nothing(stage: Stage) -> Made:
    shown = stage.device("password")
    return refused_by_mosquitto(stage, shown.anonymous(), shown)


@act("wrong password")
def wrong_password(stage: Stage) -> Made:
    shown = stage.device("password")
    return refused_by_mosquitto(stage, shown.but(password="guess"), shown)


@act("unknown user name")
def unknown_user(stage: Stage) -> Made:
    shown = stage.device("password")
    return refused_by_mosquitto(stage, shown.but(user_name="nobody", client_id="nobody"), shown)


@act("another device's user name")
def another_user(stage: Stage) -> Made:
    shown, other = stage.device("password"), stage.device("password")
    return refused_by_paho(stage, shown.but(user_name=other.user_name), shown)


@act("too many wrong passwords")
def locked_out(stage: Stage) -> Made:
    shown = stage.device("password", hub=stage.tight)
    for _ in range(3):
        is_refused(shown.but(password="guess"))
    code, reference = connects(shown)
    assert code == 0x89

    def mend(_told: Told) -> None:
        wait_for(lambda: connects(shown)[0] == 0, "the end of the lock-out")

    return Made({"client_id": shown.client_id}, mend, stage.tight, reference)


# Tokens


def token(stage: Stage, make: Callable[[bytes, dict[str, Any]], str], **said: Any) -> Made:
    """Connect with a token made so, and then with a good one."""
    shown = stage.device("jwt-es256")
    claims = forgery.claims(shown.client_id, **said)
    bad = shown.but(password=make(stage.key(shown), claims))
    return refused_by_paho(stage, bad, shown)


@act("token: expired")
def expired(stage: Stage) -> Made:
    return token(stage, forgery.signed, begins_in=-1000, life=600)


@act("token: the device's clock is 3 h behind")
def clock_behind(stage: Stage) -> Made:
    return token(stage, forgery.signed, begins_in=-3 * HOUR, life=HOUR)


@act("token: the device's clock is 3 h ahead")
def clock_ahead(stage: Stage) -> Made:
    shown = stage.device("jwt-es256")
    claims = forgery.claims(shown.client_id, begins_in=3 * HOUR)
    made = refused_by_mosquitto(stage, shown.but(password=forgery.signed(stage.key(shown), claims)), shown)

    def mend(told: Told) -> None:
        assert "the device's clock is 3 h ahead" in told["message"]
        made.mend(told)

    return Made(made.who, mend, made.hub)


@act("token: the device's clock was never set")
def clock_never_set(stage: Stage) -> Made:
    return token(stage, forgery.signed, begins_in=-time.time() + 100)


@act("token: lives too long")
def too_long(stage: Stage) -> Made:
    return token(stage, forgery.signed, life=90_000)


@act("token: for another audience")
def other_audience(stage: Stage) -> Made:
    return token(stage, forgery.signed, audience="elsewhere")


@act("token: no end")
def no_end(stage: Stage) -> Made:
    return token(stage, lambda key, said: forgery.signed(key, {k: v for k, v in said.items() if k != "exp"}))


@act("token: another subject")
def other_subject(stage: Stage) -> Made:
    return token(stage, lambda key, said: forgery.signed(key, {**said, "sub": "somebody-else"}))


@act("token: alg none")
def alg_none(stage: Stage) -> Made:
    return token(stage, lambda _key, said: forgery.unsigned(said))


@act("token: HS256 with the public key")
def hs256(stage: Stage) -> Made:
    return token(stage, forgery.signed_by_public_key)


@act("token: signed by another key")
def other_key(stage: Stage) -> Made:
    shown = stage.device("jwt-es256")
    bad = shown.but(password=forgery.signed(forgery.new_key_pem(), forgery.claims(shown.client_id)))
    reference = node_is_refused(bad)
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.roomy, reference)


@act("token: cut off")
def cut_off(stage: Stage) -> Made:
    return token(stage, lambda key, said: forgery.signed(key, said).partition(".")[0] + ".e30x.")


@act("token: of a device without a key")
def no_key(stage: Stage) -> Made:
    shown, other = stage.device("jwt-es256"), stage.device("password")
    return refused_by_paho(stage, shown.but(client_id=other.client_id), shown)


@act("a token that ends during the session")
def ends_during_session(stage: Stage) -> Made:
    shown = stage.device("jwt-es256", hub=stage.tight)
    said = forgery.claims(shown.client_id, life=1)
    client = PahoClient(shown.but(password=forgery.signed(stage.key(shown), said)))
    assert client.connect().code == 0
    end = client.end()
    client.close()
    assert reference_in(end.reason)
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.tight, reference_in(end.reason))


# Enhanced authentication


@act("SCRAM: wrong password")
def scram(stage: Stage) -> Made:
    shown = stage.device("scram-sha-256")
    folder = stage.folder_of(shown)
    (folder / "node_modules").symlink_to(SCRIPT.parent / "node_modules")

    def publishes() -> int:
        words = [program("node"), "client.mjs", "publish", f"devices/{shown.client_id}/x", "hello"]
        return subprocess.run(words, cwd=folder, capture_output=True, timeout=WAIT_SECONDS).returncode

    secret = (folder / "password").read_text()
    (folder / "password").write_text("wrong")
    assert publishes() != 0

    def mend(_told: Told) -> None:
        (folder / "password").write_text(secret)
        assert publishes() == 0

    return Made({"device": shown.client_id}, mend, stage.roomy)


@act("an unknown authentication method")
def unknown_method(stage: Stage) -> Made:
    shown = stage.device("password")
    reference = node_is_refused(shown, properties={"authenticationMethod": "GS2-KRB5"})
    return Made({"client_id": shown.client_id}, lambda _told: works(shown), stage.roomy, reference)


# Certificates of ours


@act("our certificate for a device that nobody registered")
def unregistered(stage: Stage) -> Made:
    shown = stage.device("x509")
    stranger = stage.forger.ours(shown.but(client_id="stranger-one"), "stranger-one")
    made = refused_by_paho(stage, stranger, shown)

    def mend(told: Told) -> None:
        out = stage.folder / "stranger-one"
        words = told["fix"].removeprefix("lockgate ").replace("DIR", str(out)).split()
        stage.command(*words, "--hub", "localhost")
        shown = login(out).but(port=stage.roomy.port)
        wait_for(lambda: connects(shown)[0] == 0, "its admission")

    return Made(made.who, mend, made.hub, made.reference)


def shut_out_by_tls(stage: Stage, shown: Login) -> dict[str, str]:
    """Knock until TLS refuses a certificate; give who that was."""
    who = {"device": shown.client_id, "step": "tls"}
    wait_for(lambda: mosquitto_says(shown).returncode != 0 and stage.newest(stage.roomy, who), "the revocation list")
    return who


@act("a removed device's certificate")
def removed(stage: Stage) -> Made:
    shown = stage.device("x509")
    name = shown.client_id
    stage.command("device", "remove", name)
    who = shut_out_by_tls(stage, shown)

    def mend(told: Told) -> None:
        assert "if it was removed, add it again" in told["fix"]
        out = stage.folder / f"{name}-again"
        stage.command("device", "add", name, "--auth", "x509", "--out", str(out), "--hub", "localhost")
        again = login(out).but(port=stage.roomy.port)
        wait_for(lambda: connects(again)[0] == 0, "its admission")

    return Made(who, mend, stage.roomy)


@act("a revoked certificate")
def revoked_certificate(stage: Stage) -> Made:
    shown = stage.device("x509")
    stage.command("device", "revoke", shown.client_id)
    return Made(shut_out_by_tls(stage, shown), lambda told: anew(stage, told), stage.roomy)


@act("our certificate that names another device")
def names_another(stage: Stage) -> Made:
    shown, other = stage.device("x509"), stage.device("x509")
    bad = stage.forger.ours(shown, other.client_id, stage.folder_of(shown) / "device.key")
    return refused_by_paho(stage, bad, shown)


def anew(stage: Stage, told: Told) -> None:
    """Give a device a new key, as the fix says."""
    out = stage.folder / f"{told['reference']}-anew"
    command = told["fix"].partition("lockgate ")[2].partition(" gives ")[0].partition(";")[0]
    stage.command(*command.replace("DIR", str(out)).replace("NAME", told["device"]).split())
    shown = login(out).but(port=stage.roomy.port)
    wait_for(lambda: connects(shown)[0] == 0, "its admission")


@act("a revoked key")
def revoked(stage: Stage) -> Made:
    shown = stage.device("jwt-es256")
    stage.command("device", "revoke", shown.client_id)
    wait_for(lambda: connects(shown)[0] != 0, "the revocation")
    reference = is_refused(shown)
    return Made({"client_id": shown.client_id}, lambda told: anew(stage, told), stage.roomy, reference)


@act("a key whose overlap is over")
def outlived_key(stage: Stage) -> Made:
    shown = stage.device("jwt-es256")
    out = stage.folder / f"{shown.client_id}-next"
    stage.command("device", "rotate", shown.client_id, "--out", str(out), "--overlap", "1s", "--hub", "localhost")
    wait_for(lambda: connects(shown)[0] != 0, "the end of the overlap")
    reference = is_refused(shown)

    def mend(_told: Told) -> None:
        works(login(out).but(port=stage.roomy.port))

    return Made({"client_id": shown.client_id}, mend, stage.roomy, reference)


@act("revoked while connected")
def revoked_while_connected(stage: Stage) -> Made:
    shown = stage.device("x509")
    client = PahoClient(shown)
    assert client.connect().code == 0
    stage.command("device", "revoke", shown.client_id)
    end = client.end()
    client.close()
    reference = reference_in(end.reason)
    assert reference
    return Made({"client_id": shown.client_id}, lambda told: anew(stage, told), stage.roomy, reference)


@act("a credential that ends while it is in use")
def ended_while_connected(stage: Stage) -> Made:
    shown = stage.device("x509")
    client = PahoClient(shown)
    assert client.connect().code == 0
    stage.ends_soon(shown)
    end = client.end()
    client.close()
    reference = reference_in(end.reason)
    assert reference
    return Made({"client_id": shown.client_id}, lambda told: anew(stage, told), stage.roomy, reference)


# Client ids


@act("another device's client id")
def another_client_id(stage: Stage) -> Made:
    shown, other = stage.device("x509"), stage.device("x509")
    return refused_by_mosquitto(stage, shown.but(client_id=f"{other.client_id}/x"), shown)


@act("a wildcard in the client id")
def wildcard_id(stage: Stage) -> Made:
    shown = stage.device("x509")
    return refused_by_paho(stage, shown.but(client_id=f"{shown.client_id}/+"), shown)


@act("a client id of 300 characters")
def long_id(stage: Stage) -> Made:
    shown = stage.device("x509")
    return refused_by_paho(stage, shown.but(client_id=f"{shown.client_id}/{'x' * 300}"), shown)


@act("no client id, and a session to be kept (3.1.1)")
def no_client_id(stage: Stage) -> Made:
    address = own_address()
    speaks(stage.roomy, address, encode(Connect(V311, "", clean_start=False), V311))
    return Made({"address": address}, lambda _told: works(stage.device("x509")), stage.roomy)
