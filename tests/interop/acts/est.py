"""Faults in enrolment: what curl and openssl are told by EST, and by TLS before it."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from tests.interop.acts.stage import (
    Made,
    Stage,
    Told,
    act,
    own_address,
    run,
    wait_for,
)
from tests.support.hub import RunningHub
from tests.support.peers import Login, login

EST = "/.well-known/est"
ON_P256 = ("ecparam", "-name", "prime256v1", "-genkey", "-noout")


class Headless:
    """A device that nobody has registered, with openssl and curl; each has a name and an address of its own."""

    def __init__(self, stage: Stage) -> None:
        self.hub: RunningHub = stage.roomy
        self.address = own_address()
        self.name = f"headless-{self.address.replace('.', '-')}"
        self.folder: Path = stage.folder / self.name
        self.folder.mkdir()
        self._stage = stage

    @property
    def who(self) -> dict[str, str]:
        """How `why` knows it."""
        return {"address": self.address, "door": "office"}

    def claim(self, pattern: str = "", *options: str) -> str:
        """Make a claim for it, or for a pattern; give the token."""
        said = self._stage.command("claim", "add", "--name-pattern", pattern or self.name, "--json", *options)
        return str(msgspec.json.decode(said)["token"])

    def claim_by(self, fix: str) -> str:
        """Make a claim by the command that a fix ends with."""
        words = shlex.split(fix[fix.index("lockgate claim add") :].replace("NAME", self.name))
        return str(msgspec.json.decode(self._stage.command(*words[1:], "--json"))["token"])

    def request(self, name: str = "", *, is_weak: bool = False) -> bytes:
        """Make a key (on P-256, or RSA with 1024 bits) and a request for its certificate; give that in base64."""
        key, der = str(self.folder / "device.key"), str(self.folder / "request.der")
        make = ["genrsa", "-out", key, "1024"] if is_weak else [*ON_P256, "-out", key]
        assert run("openssl", *make).returncode == 0
        asked = ["-new", "-key", key, "-subj", f"/CN={name or self.name}", "-outform", "DER", "-out", der]
        assert run("openssl", "req", *asked).returncode == 0
        return run("openssl", "base64", "-in", der).stdout

    def posts(self, path: str, body: bytes, *options: str) -> tuple[str, str]:
        """Post a request with curl; give the status ("000" when TLS refused it) and the reference in the answer."""
        words = [
            "-s",
            "-m",
            "10",
            "--interface",
            self.address,
            "--cacert",
            str(self.hub.ca_path),
            "--data-binary",
            "@-",
        ]
        words += ["-w", "\nstatus %{http_code}", "-H", "Content-Type: application/pkcs10", *options]
        url = f"https://localhost:{self.hub.office_port}{EST}/{path}"
        text, _, status = run("curl", *words, url, data=body).stdout.decode().rpartition("\nstatus ")
        return status, text.partition("reference: ")[2][:9]

    def enrols(self, token: str, body: bytes | None = None) -> tuple[str, str]:
        """Ask for a first certificate by a token."""
        asked = self.request() if body is None else body
        return self.posts("simpleenroll", asked, "--user", f"{self.name}:{token}")

    def renews(self, shown: Login, body: bytes | None = None) -> tuple[str, str]:
        """Ask for the next certificate by one."""
        asked = self.request(shown.client_id) if body is None else body
        return self.posts("simplereenroll", asked, "--cert", str(shown.certificate), "--key", str(shown.key))

    def refused(self, answer: tuple[str, str], status: str, token: str = "") -> Made:
        """See that an answer was a refusal; by the fix, or by `token`, it enrols."""
        assert answer[0] == status, answer

        def mend(told: Told) -> None:
            assert self.enrols(token or self.claim_by(told["fix"]))[0] == "200"

        return Made(self.who, mend, self.hub, answer[1])


@act("EST: a wrong claim token")
def wrong_token(stage: Stage) -> Made:
    device = Headless(stage)
    return device.refused(device.enrols(device.claim()[:-1] + "x"), "401")


@act("EST: a claim token that is used up")
def used_up(stage: Stage) -> Made:
    first, device = Headless(stage), Headless(stage)
    token = device.claim("headless-*")
    assert first.enrols(token)[0] == "200"
    return device.refused(device.enrols(token), "401")


@act("EST: a claim token that has expired")
def expired(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim("", "--for", "1s")
    identifier = token.split("_")[1]
    wait_for(lambda: "expired" in stage.command("claim", "show", identifier), "its end")
    return device.refused(device.enrols(token), "401")


@act("EST: a claim token that was revoked")
def revoked(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim()
    stage.command("claim", "revoke", token.split("_")[1])
    return device.refused(device.enrols(token), "401")


@act("EST: a name that the claim token is not for")
def other_name(stage: Stage) -> Made:
    device = Headless(stage)
    return device.refused(device.enrols(device.claim("pump-*")), "403")


@act("EST: a name that is registered already")
def known_name(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim("headless-*", "--uses", "2")
    assert device.enrols(token)[0] == "200"
    return device.refused(device.enrols(token), "409")


@act("EST: a request with a key of RSA 1024")
def weak_key(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim()
    made = device.refused(device.enrols(token, device.request(is_weak=True)), "400", token)

    def mend(told: Told) -> None:
        words = shlex.split(told["fix"].partition(": ")[2].replace("device.key", str(device.folder / "device.key")))
        assert run(*words).returncode == 0
        made.mend(told)

    return Made(made.who, mend, made.hub, made.reference)


@act("EST: a request that names another device")
def other_subject(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim()
    made = device.refused(device.enrols(token, device.request("another")), "400", token)

    def mend(told: Told) -> None:
        assert f"/CN={device.name}" in told["fix"]
        made.mend(told)

    return Made(made.who, mend, made.hub, made.reference)


@act("EST: a body that is no certificate request")
def no_request(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim()
    return device.refused(device.enrols(token, b"hello"), "400", token)


@act("EST: a body that is too large")
def large_body(stage: Stage) -> Made:
    device = Headless(stage)
    token = device.claim()
    return device.refused(device.enrols(token, b"A" * 70_000), "413", token)


@act("EST: nothing shown")
def nothing(stage: Stage) -> Made:
    device = Headless(stage)
    return device.refused(device.posts("simpleenroll", device.request()), "401", device.claim())


@act("EST: a renewal without a certificate")
def no_certificate(stage: Stage) -> Made:
    device = Headless(stage)
    return device.refused(device.posts("simplereenroll", device.request()), "401", device.claim())


def renewed_by(stage: Stage, device: Headless, shown: Login, told: Told) -> None:
    """Give a device a new certificate as the fix says, and renew by that."""
    out = stage.folder / f"{told['reference']}-anew"
    command = told["fix"][told["fix"].index("lockgate ") :].partition(" gives ")[0].partition(";")[0]
    stage.command(*command.replace("DIR", str(out)).replace("NAME", shown.client_id).split()[1:], "--hub", "localhost")
    wait_for(lambda: device.renews(login(out))[0] == "200", "its renewal")


@act("EST: the certificate of a blocked device")
def blocked(stage: Stage) -> Made:
    shown, device = stage.device("x509"), Headless(stage)
    stage.command("device", "block", shown.client_id)
    wait_for(lambda: device.renews(shown)[0] == "403", "the block")
    reference = device.renews(shown)[1]

    def mend(told: Told) -> None:
        stage.does_the_fix(told)
        wait_for(lambda: device.renews(shown)[0] == "200", "its renewal")

    return Made(device.who, mend, stage.roomy, reference)


@act("EST: the certificate of a revoked device")
def revoked_device(stage: Stage) -> Made:
    shown, device = stage.device("x509"), Headless(stage)
    stage.command("device", "revoke", shown.client_id)
    wait_for(lambda: device.renews(shown)[0] == "000", "the alert of TLS")
    return Made(device.who, lambda told: renewed_by(stage, device, shown, told), stage.roomy)


@act("EST: an expired certificate")
def expired_certificate(stage: Stage) -> Made:
    good, device = stage.device("x509"), Headless(stage)
    old = stage.forger.expired(good, good.client_id)
    assert device.renews(old.but(client_id=good.client_id))[0] == "000"

    def mend(_told: Told) -> None:
        assert device.renews(good)[0] == "200"

    return Made(device.who, mend, stage.roomy)


@act("EST: a certificate whose credential has ended")
def ended_credential(stage: Stage) -> Made:
    shown, device = stage.device("x509"), Headless(stage)
    stage.ends_soon(shown)
    wait_for(lambda: device.renews(shown)[0] == "401", "its end")
    reference = device.renews(shown)[1]
    return Made(device.who, lambda told: renewed_by(stage, device, shown, told), stage.roomy, reference)
