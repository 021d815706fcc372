"""Faults at the door of CoAP: DTLS in each of its modes, and what the door itself refuses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec

from tests.interop.acts.stage import FAR_AHEAD, Made, Stage, Told, act, own_address, reference_in, run, wait_for
from tests.support.certificates import Authority, Issued, forged, self_signed
from tests.support.coap_peers import GNUTLS, OPENSSL, coap, shown
from tests.support.hub import RunningHub
from tests.support.peers import program

_numbers = count(1)


class Guest(msgspec.Struct, frozen=True):
    """A device for CoAP, as it was provisioned."""

    name: str
    folder: Path
    kind: str

    @property
    def key(self) -> str:
        """Its pre-shared key."""
        return (self.folder / "psk").read_text()

    @property
    def words(self) -> list[str]:
        """The options by which libcoap's clients show who it is."""
        return shown(self.folder, self.kind)


def guest(stage: Stage, kind: str, hub: RunningHub | None = None) -> Guest:
    """Provision a device."""
    login = stage.device(kind, hub=hub)
    return Guest(login.client_id, login.ca.parent, kind)


def asks(hub: RunningHub, address: str, name: str, *words: str, client: str = GNUTLS) -> str:
    """Let a client of libcoap say something on a device's own topic, from an address; give what it was told."""
    url = f"coaps://127.0.0.1:{hub.coap_port}/devices/{name}/x"
    return coap(program(client), "-B", "4", "-a", address, *words, "-m", "put", "-e", "1", url)


def is_in(hub: RunningHub, who: Guest, client: str = GNUTLS) -> None:
    """See that a device gets through, as soon as the hub knows it."""
    wait_for(lambda: asks(hub, own_address(), who.name, *who.words, client=client) == "", f"an answer to {who.name}")


def refused(
    stage: Stage, name: str, words: list[str], mend: Callable[[Told], None], *, client: str = GNUTLS,
    hub: RunningHub | None = None,
) -> Made:  # fmt: skip
    """Come with something that DTLS refuses."""
    address, hub = own_address(), hub or stage.roomy
    assert asks(hub, address, name, *words, client=client) != ""
    return Made({"address": address, "door": "coap"}, mend, hub)


def newly(stage: Stage, kind: str, client: str = GNUTLS) -> Callable[[Told], None]:
    """Give what mends it where the fix is a device registered anew: it gets through."""
    return lambda _told: is_in(stage.roomy, guest(stage, kind), client)


def hands_out(stage: Stage, who: Guest, kind: str) -> Callable[[Told], None]:
    """Give what mends it where the fix is a command that hands out a folder: it is run, and the folder used."""

    def mend(told: Told) -> None:
        start, _, rest = told["fix"].partition("lockgate ")
        assert rest, start
        out = stage.folder / f"new-{next(_numbers)}"
        words = (
            rest.partition(";")[0].rstrip(".").replace("--out DIR", f"--out {out}").replace("NAME", who.name).split()
        )
        stage.command(*words, "--hub", "localhost")
        is_in(stage.roomy, Guest(who.name, out, kind))

    return mend


def s_client(hub: RunningHub, address: str, *offer: str) -> str:
    """Run openssl s_client over DTLS, from an address."""
    target = ["-connect", f"127.0.0.1:{hub.coap_port}", "-bind", f"{address}:0", "-CAfile", str(hub.ca_path)]
    version = [] if "-dtls1" in offer else ["-dtls1_2"]
    done = run("openssl", "s_client", *version, *target, *offer)
    return (done.stdout + done.stderr).decode(errors="replace")


def shaken(stage: Stage, *offer: str) -> Made:
    """Shake hands by openssl with an offer that comes to nothing, from a device that has a good key."""
    who, address, hub = guest(stage, "psk"), own_address(), stage.roomy
    s_client(hub, address, *offer)
    return Made({"address": address, "door": "coap"}, lambda _told: is_in(hub, who, OPENSSL), hub)


def by_certificate(stage: Stage, issued: Issued, *, client: str = GNUTLS) -> Made:
    """Show a certificate that DTLS refuses."""
    certificate, key = issued.write(stage.folder, f"coap-{next(_numbers)}")
    words = ["-c", str(certificate), "-j", str(key), "-C", str(stage.roomy.ca_path)]

    def mend(told: Told) -> None:
        assert "(unverified)" in " ".join(told["evidence"])
        assert not told["is_verified"]
        is_in(stage.roomy, guest(stage, "x509"), client)

    return refused(stage, "nobody", words, mend, client=client)


# Pre-shared keys


@act("DTLS: an identity that no device has")
def unknown_identity(stage: Stage) -> Made:
    return refused(stage, "nobody", ["-u", "nobody", "-k", "a key of sixteen"], newly(stage, "psk"))


@act("DTLS: the identity of a device that has no pre-shared key")
def other_kind(stage: Stage) -> Made:
    who = guest(stage, "rpk")
    words = ["-u", who.name, "-k", "a key of sixteen"]
    return refused(stage, who.name, words, hands_out(stage, who, "psk"), client=OPENSSL)


@act("DTLS: identity and key in each other's place")
def mixed_up(stage: Stage) -> Made:
    who = guest(stage, "psk")

    def mend(told: Told) -> None:
        assert who.key not in msgspec.json.encode(told).decode()
        is_in(stage.roomy, who)

    return refused(stage, who.name, ["-u", who.key, "-k", who.name], mend)


@act("DTLS: a wrong pre-shared key")
def wrong_key(stage: Stage) -> Made:
    who = guest(stage, "psk")
    return refused(stage, who.name, ["-u", who.name, "-k", who.key[::-1]], hands_out(stage, who, "psk"))


@act("DTLS: a wrong pre-shared key, by another library")
def wrong_key_of_openssl(stage: Stage) -> Made:
    who = guest(stage, "psk")
    words = ["-u", who.name, "-k", who.key[::-1]]
    return refused(stage, who.name, words, hands_out(stage, who, "psk"), client=OPENSSL)


def revoked(stage: Stage, kind: str) -> Made:
    """Come with what was revoked."""
    who = guest(stage, kind)
    stage.command("device", "revoke", who.name)
    wait_for(lambda: asks(stage.roomy, own_address(), who.name, *who.words) != "", "the revocation")
    return refused(stage, who.name, who.words, hands_out(stage, who, kind))


@act("DTLS: a revoked pre-shared key")
def revoked_key(stage: Stage) -> Made:
    return revoked(stage, "psk")


# Raw public keys


@act("DTLS: a raw public key that nobody registered")
def unknown_raw_key(stage: Stage) -> Made:
    who = guest(stage, "rpk", hub=stage.tight)  # another hub's
    return refused(stage, who.name, who.words, newly(stage, "rpk"))


@act("DTLS: a revoked raw public key")
def revoked_raw_key(stage: Stage) -> Made:
    return revoked(stage, "rpk")


# Certificates


@act("DTLS: a client certificate of a foreign CA")
def foreign(stage: Stage) -> Made:
    return by_certificate(stage, Authority("Other CA").issue("sensor"))


@act("DTLS: a client certificate of a foreign CA, by another library")
def foreign_of_openssl(stage: Stage) -> Made:
    return by_certificate(stage, Authority("Other CA").issue("sensor"), client=OPENSSL)


@act("DTLS: our CA's name and key id over another's signature")
def forged_signature(stage: Stage) -> Made:
    return by_certificate(stage, forged(stage.authority, "sensor"))


@act("DTLS: a self-signed client certificate")
def signed_itself(stage: Stage) -> Made:
    return by_certificate(stage, self_signed("sensor"))


@act("DTLS: an expired client certificate")
def expired(stage: Stage) -> Made:
    return by_certificate(stage, stage.authority.issue_expired("sensor", purpose="client"))


@act("DTLS: a client certificate that is not yet valid")
def not_yet_valid(stage: Stage) -> Made:
    return by_certificate(stage, stage.authority.issue_future("sensor", purpose="client"))


@act("DTLS: a certificate for servers, shown by a client")
def for_servers(stage: Stage) -> Made:
    return by_certificate(stage, stage.authority.issue("sensor", purpose="server"))


@act("DTLS: a revoked certificate")
def revoked_certificate(stage: Stage) -> Made:
    return revoked(stage, "x509")


@act("DTLS: no client certificate")
def no_certificate(stage: Stage) -> Made:
    address, hub = own_address(), stage.roomy
    s_client(hub, address)
    return Made({"address": address, "door": "coap"}, newly(stage, "x509", OPENSSL), hub)


# The client does not trust the hub


def doubting(stage: Stage, *offer: str) -> Made:
    """Have openssl, with a good certificate, find fault with the hub's."""
    who, address, hub = guest(stage, "x509"), own_address(), stage.roomy
    proof = ["-cert", str(who.folder / "device.crt"), "-key", str(who.folder / "device.key")]
    assert "verify error" in s_client(hub, address, *proof, "-verify_return_error", *offer)
    return Made({"address": address, "door": "coap"}, lambda _told: is_in(hub, who, OPENSSL), hub)


@act("DTLS: another CA file")
def other_ca(stage: Stage) -> Made:
    path = stage.folder / "other-ca-for-coap.pem"
    path.write_bytes(Authority("Other CA").pem)
    return doubting(stage, "-CAfile", str(path))


@act("DTLS: a host name that is not in the certificate")
def other_name(stage: Stage) -> Made:
    return doubting(stage, "-verify_hostname", "hub.elsewhere")


@act("DTLS: the client's clock is 30 years ahead")
def clock_ahead(stage: Stage) -> Made:
    return doubting(stage, "-attime", FAR_AHEAD)


# The two find nothing in common


@act("DTLS 1.0")
def old_version(stage: Stage) -> Made:
    return shaken(stage, "-dtls1", "-cipher", "DEFAULT:@SECLEVEL=0")


@act("DTLS: cipher suites with CBC")
def cbc(stage: Stage) -> Made:
    return shaken(stage, "-cipher", "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256")


@act("DTLS: a suite of pre-shared keys with CBC")
def cbc_of_keys(stage: Stage) -> Made:
    return shaken(stage, "-psk", "00" * 16, "-psk_identity", "x", "-cipher", "PSK-AES128-CBC-SHA256:@SECLEVEL=0")


@act("DTLS: an unknown elliptic curve")
def other_curve(stage: Stage) -> Made:
    return shaken(stage, "-curves", "X448")


@act("DTLS: a mode that is switched off")
def mode_off(stage: Stage) -> Made:
    talkative = '[log]\nlevel = "debug"\n'
    hub = RunningHub(stage.folder / "few-modes", coap=("psk_enabled = false",), settings=talkative)
    hub.start()
    who = guest(stage, "psk", hub)

    def mend(told: Told) -> None:
        try:
            setting = told["fix"].partition("(")[2].partition(" in ")[0]
            path = hub.home / "lockgate.toml"
            path.write_text(path.read_text().replace(setting.replace("true", "false"), setting))
            hub.restart()
            is_in(hub, who)
        finally:
            hub.stop()

    return refused(stage, who.name, who.words, mend, hub=hub)


# The door


def told_of(stage: Stage, who: Guest, mend: Callable[[Told], None], topic: str, *words: str) -> Made:
    """Let a device that is in ask for something that it does not get."""
    url = f"coaps://127.0.0.1:{stage.roomy.coap_port}/{topic}"
    said = coap(program(GNUTLS), *who.words, *words, url)
    return Made({"device": who.name, "door": "coap"}, mend, stage.roomy, reference_in(said))


@act("CoAP: a PUT that no rule allows")
def no_rule(stage: Stage) -> Made:
    who = guest(stage, "psk")
    topic = f"elsewhere/{who.name}"

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        url = f"coaps://127.0.0.1:{stage.roomy.coap_port}/{topic}"
        wait_for(lambda: coap(program(GNUTLS), *who.words, "-m", "put", "-e", "1", url) == "", "what is allowed now")

    return told_of(stage, who, mend, topic, "-m", "put", "-e", "1")


@act("CoAP: a blocked device")
def blocked(stage: Stage) -> Made:
    who = guest(stage, "rpk")
    stage.command("device", "block", who.name)
    wait_for(lambda: asks(stage.roomy, own_address(), who.name, *who.words) != "", "the block")

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        is_in(stage.roomy, who)

    return told_of(stage, who, mend, f"devices/{who.name}/x", "-m", "put", "-e", "1")


@act("CoAP: a wildcard in a topic")
def wildcard(stage: Stage) -> Made:
    who = guest(stage, "psk")
    topic = f"devices/{who.name}"
    return told_of(stage, who, lambda _told: is_in(stage.roomy, who), f"{topic}/%2B", "-m", "put", "-e", "1")
