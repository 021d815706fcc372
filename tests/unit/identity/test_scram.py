"""SCRAM-SHA-256: the RFC's own exchange, wrong ones, and that nobody learns which devices there are."""

from __future__ import annotations

import pytest

from lockgate.errors import AuthenticationFailed, RateExceeded
from lockgate.identity.credentials import Credentials
from lockgate.identity.lockout import Lockout
from lockgate.identity.scram import MAX_MESSAGE_BYTES, ScramProver, ScramProvers
from lockgate.model.device import Credential
from lockgate.model.scram import ScramVerifier
from lockgate.settings import IdentitySettings
from tests.support.registry import NOW, FakeRegistry, password, scram
from tests.support.scram import (
    CLIENT_FINAL,
    CLIENT_FIRST,
    SERVER_FINAL,
    SERVER_FIRST,
    ScramPeer,
    use_vector_nonce,
    vector_credential,
)

SHOWN = Credentials("lamp", host="192.0.2.1")


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("lamp", scram("right"))
    registry.add("kettle", password("right"))
    return registry


@pytest.fixture
def provers(registry: FakeRegistry) -> ScramProvers:
    settings = IdentitySettings(wrong_passwords_before_lockout=3, lockout_seconds=60)
    return ScramProvers(registry, Lockout(registry, settings))


def proven(provers: ScramProvers, name: str = "lamp", secret: str = "right", now: float = NOW) -> Credential | None:
    """Go through one exchange; give the credential that it proved."""
    peer, prover = ScramPeer(name, secret), provers.prover(SHOWN)
    challenge, nothing_yet = prover.respond(peer.first(), now)
    assert nothing_yet is None
    answer, proof = prover.respond(peer.final(challenge), now)
    peer.check(answer)
    assert proof is not None
    return proof[0]


def refused(prover: ScramProver, data: bytes) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        prover.respond(data, NOW)
    return caught.value


def test_the_exchange_of_rfc_7677_is_ours_to_the_byte(
    registry: FakeRegistry, provers: ScramProvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_vector_nonce(monkeypatch)
    registry.add("user", vector_credential())
    prover = provers.prover(SHOWN)
    assert prover.respond(CLIENT_FIRST, NOW) == (SERVER_FIRST, None)
    assert prover.user_name == "user"
    assert prover.respond(CLIENT_FINAL, NOW) == (SERVER_FINAL, (registry.devices["user"].credentials[0], None))


def test_the_right_password_proves_the_credential(registry: FakeRegistry, provers: ScramProvers) -> None:
    assert proven(provers) == registry.devices["lamp"].credentials[0]


@pytest.mark.parametrize(("name", "secret"), [("lamp", "wrong"), ("nobody", "right"), ("kettle", "right")])
def test_every_wrong_pair_gets_the_same_answers(provers: ScramProvers, name: str, secret: str) -> None:
    peer, prover = ScramPeer(name, secret), provers.prover(SHOWN)
    challenge, _ = prover.respond(peer.first(), NOW)
    fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
    assert (set(fields), fields["i"], len(fields["s"])) == ({"r", "s", "i"}, "15000", 44)
    error = refused(prover, peer.final(challenge))
    assert error.reason == "bad user name or password"
    assert error.evidence == {"user_name": name}


def test_the_salt_of_somebody_unknown_is_the_same_each_time_and_no_other_hubs(
    registry: FakeRegistry, provers: ScramProvers
) -> None:
    def salt(name: str, of: ScramProvers = provers) -> bytes:
        return of.find(name)[1].salt

    assert salt("nobody") == salt("nobody") != salt("somebody")
    assert salt("nobody") != salt("nobody", ScramProvers(registry, provers.lockout))
    assert len(salt("nobody")) == len(salt("lamp"))


def test_a_proof_that_fits_what_was_made_up_proves_nobody(
    provers: ScramProvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = ScramVerifier.from_text(scram("right").public)
    monkeypatch.setattr(provers, "find", lambda name: (None, verifier))
    peer, prover = ScramPeer("nobody"), provers.prover(SHOWN)
    assert refused(prover, peer.final(prover.respond(peer.first(), NOW)[0])).reason == "bad user name or password"


def test_the_newest_live_password_is_asked_for(registry: FakeRegistry, provers: ScramProvers) -> None:
    device = registry.add("lamp", scram("old"), scram("new"), scram("revoked"))
    registry.change_credentials("lamp")
    first, second, third = device.credentials
    registry.change(
        "lamp", credentials=(first, second, Credential(third.id, "lamp", third.kind, third.public, is_revoked=True))
    )
    assert proven(provers, secret="new") == second


def test_a_revoked_password_is_still_asked_for_so_that_its_owner_is_told(
    registry: FakeRegistry, provers: ScramProvers
) -> None:
    registry.change_credentials("lamp", is_revoked=True)
    credential = proven(provers)
    assert credential is not None
    assert credential.is_revoked


def test_wrong_passwords_lock_out_at_the_beginning_and_at_the_end_of_an_exchange(provers: ScramProvers) -> None:
    early, begun = ScramPeer("lamp"), provers.prover(SHOWN)
    challenge, _ = begun.respond(early.first(), NOW)
    for _ in range(3):
        peer, prover = ScramPeer("lamp", "wrong"), provers.prover(SHOWN)
        refused(prover, peer.final(prover.respond(peer.first(), NOW)[0]))
    with pytest.raises(RateExceeded):
        provers.prover(SHOWN).respond(ScramPeer("lamp").first(), NOW)
    with pytest.raises(RateExceeded):
        begun.respond(early.final(challenge), NOW)
    assert proven(provers, now=NOW + 60)


def test_the_right_password_clears_the_count(provers: ScramProvers) -> None:
    for _ in range(3):
        for _ in range(2):
            peer, prover = ScramPeer("lamp", "wrong"), provers.prover(SHOWN)
            refused(prover, peer.final(prover.respond(peer.first(), NOW)[0]))
        assert proven(provers)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", None),
        (b"\xff", None),
        (b"x" * (MAX_MESSAGE_BYTES + 1), None),
        (b"hello", "other-error"),
        (b"n,,n=lamp", "other-error"),
        (b"n,,n=,r=abc", "other-error"),
        (b"n,a=kettle,n=lamp,r=abc", "other-error"),
        (b"p=tls-unique,,n=lamp,r=abc", "channel-binding-not-supported"),
        (b"n,,m=x,n=lamp,r=abc", "extensions-not-supported"),
        (b"n,,n=la=mp,r=abc", "invalid-username-encoding"),
        (b"n,,n=la\xc2\xadmp\xcd\x8f,r=a\x00", "other-error"),
    ],
)
def test_a_first_message_that_breaks_the_rules_is_refused_without_repeating_it(
    provers: ScramProvers, data: bytes, error: str | None
) -> None:
    refusal = refused(provers.prover(SHOWN), data)
    assert refusal.reason == "authentication data malformed"
    assert refusal.evidence.get("error") in (error, "other-error")
    assert len(data) < 5 or data.decode("latin-1") not in str(refusal)


@pytest.mark.parametrize(("old", "new"), [(b"c=biws", b"c=eSws"), (b"c=biws", b"c=!"), (b",r=", b",r=x"), (b"c=", b"")])
def test_a_final_message_that_breaks_the_rules_is_refused_and_counted(
    provers: ScramProvers, old: bytes, new: bytes
) -> None:
    for _ in range(3):
        peer, prover = ScramPeer("lamp"), provers.prover(SHOWN)
        final = peer.final(prover.respond(peer.first(), NOW)[0])
        assert refused(prover, final.replace(old, new, 1)).reason == "authentication data malformed"
    with pytest.raises(RateExceeded):
        provers.prover(SHOWN).respond(ScramPeer("lamp").first(), NOW)


def test_after_a_refusal_the_exchange_stays_refused(provers: ScramProvers) -> None:
    peer, prover = ScramPeer("lamp", "wrong"), provers.prover(SHOWN)
    final = peer.final(prover.respond(peer.first(), NOW)[0])
    refused(prover, final)
    assert refused(prover, final).reason == "authentication data malformed"
