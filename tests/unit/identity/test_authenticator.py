"""The one question asked of every peer: the proof first, then the client id, then the standing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from scramp import ScramClient

from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    ProofExpired,
    RateExceeded,
    ShutOut,
    Step,
)
from lockgate.identity import METHODS, Authenticator, Credentials, Turn
from lockgate.identity import password as password_room
from lockgate.model.principal import Principal
from lockgate.pki.authority import Authority
from lockgate.registry.vault import Vault
from lockgate.settings import IdentitySettings
from tests.support.registry import (
    CHEAP_HASHER,
    EC_KEY,
    NOW,
    OTHER_EC_KEY,
    FakeRegistry,
    es256,
    nosec,
    oscore,
    password,
    psk,
    rpk,
    scram,
    spki,
    x509_key,
)
from tests.support.tokens import claims, token

METER_KEY = ec.generate_private_key(ec.SECP256R1())
ISSUING = Authority.create_root(now=NOW).create_issuing(now=NOW)
LEAF = ISSUING.issue_device("office", OTHER_EC_KEY.public_key(), now=NOW, life_seconds=5000)

SENSOR = Credentials("sensor", "ignored", token(EC_KEY))
OFFICE = Credentials("office", certificate=LEAF)
KETTLE = Credentials("kettle", "kettle", b"right")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    monkeypatch.setattr(password_room, "PasswordHasher", lambda: CHEAP_HASHER)
    registry = FakeRegistry()
    registry.add("sensor", es256())
    registry.add("office", x509_key(OTHER_EC_KEY))
    registry.add("kettle", password("right"))
    return registry


@pytest.fixture
def identity(registry: FakeRegistry) -> Authenticator:
    return Authenticator(registry, IdentitySettings())


def refused(identity: Authenticator, shown: Credentials, now: float = NOW) -> LockgateError:
    with pytest.raises(LockgateError) as caught:
        identity.authenticate(shown, now)
    return caught.value


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (SENSOR, Principal("sensor", "sensor", "jwt-es256", 1, NOW + 3660)),
        (OFFICE, Principal("office", "office", "x509", 2, NOW + 5000)),
        (KETTLE, Principal("kettle", "kettle", "password", 3, None)),
    ],
)
def test_each_kind_of_proof_gives_its_principal(
    identity: Authenticator, shown: Credentials, expected: Principal
) -> None:
    assert identity.authenticate(shown, NOW) == expected


@pytest.mark.parametrize(
    ("shown", "is_slow"), [(SENSOR, False), (OFFICE, False), (KETTLE, True), (Credentials("x"), False)]
)
def test_only_a_password_is_slow(identity: Authenticator, shown: Credentials, is_slow: bool) -> None:
    assert identity.is_slow(shown) is is_slow


@pytest.fixture
def coap_registry(registry: FakeRegistry, tmp_path: Path) -> FakeRegistry:
    vault = Vault(tmp_path / "secrets.key")
    registry.add("lamp", psk(vault, "lamp", b"k" * 32))
    registry.add("meter", rpk(METER_KEY))
    registry.add("valve", oscore(vault, "valve", b"\xa1\xb2"))
    registry.add("probe", nosec("192.0.2.7"))
    return registry


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    ("shown", "device", "auth"),
    [
        (Credentials("", suffix="coap/1", psk_identity=b"lamp"), "lamp", "psk"),
        (Credentials("", suffix="coap/1", raw_public_key=spki(METER_KEY)), "meter", "rpk"),
        (Credentials("", suffix="coap/1", certificate=LEAF), "office", "x509"),
        (Credentials("", suffix="coap/1", oscore_id=b"\xa1\xb2", is_protected=False), "valve", "oscore"),
        (
            Credentials("", suffix="coap/1", host="192.0.2.7", is_protected=False, is_address_proven=True),
            "probe",
            "nosec",
        ),
    ],
)
def test_each_mode_of_coap_gives_its_principal_with_a_session_of_that_link(
    coap_registry: FakeRegistry, identity: Authenticator, shown: Credentials, device: str, auth: str
) -> None:
    principal = identity.authenticate(shown, NOW)
    assert (principal.device, principal.client_id, principal.auth) == (device, f"{device}/coap/1", auth)
    assert principal.credential_id == coap_registry.devices[device].credentials[0].id
    assert not identity.is_slow(shown)


@pytest.mark.parametrize(
    "shown",
    [
        Credentials("", host="192.0.2.7", is_protected=False),
        Credentials("", host="192.0.2.8", is_protected=False, is_address_proven=True),
        Credentials("", psk_identity=b"probe"),
        Credentials("", psk_identity=b""),
        Credentials("", oscore_id=b""),
        Credentials("", raw_public_key=b""),
    ],
)
def test_what_proves_nothing_gives_nobody(
    coap_registry: FakeRegistry, identity: Authenticator, shown: Credentials
) -> None:
    assert isinstance(refused(identity, shown), AuthenticationFailed)


def test_a_proven_address_is_no_way_around_a_wrong_password(
    coap_registry: FakeRegistry, identity: Authenticator
) -> None:
    shown = Credentials("kettle", "kettle", b"wrong", host="192.0.2.7", is_address_proven=True)
    assert refused(identity, shown).reason == "bad user name or password"


@pytest.mark.parametrize("name", ["lamp", "meter", "valve", "probe"])
def test_a_credential_of_coap_that_is_revoked_or_blocked_lets_nobody_in(
    coap_registry: FakeRegistry, identity: Authenticator, name: str
) -> None:
    shown = {
        "lamp": Credentials("", psk_identity=b"lamp"),
        "meter": Credentials("", raw_public_key=spki(METER_KEY)),
        "valve": Credentials("", oscore_id=b"\xa1\xb2"),
        "probe": Credentials("", host="192.0.2.7", is_address_proven=True),
    }[name]
    coap_registry.change(name, is_blocked=True)
    assert refused(identity, shown).reason == "device blocked"
    coap_registry.change_credentials(name, is_revoked=True)
    assert refused(identity, shown).reason == "credential revoked"


def test_a_certificate_comes_before_a_secret(identity: Authenticator) -> None:
    both = Credentials("office", "kettle", b"right", LEAF)
    assert identity.authenticate(both, NOW).auth == "x509"
    assert not identity.is_slow(both)


def test_no_credentials_prove_nobody(identity: Authenticator) -> None:
    error = refused(identity, Credentials("sensor"))
    assert isinstance(error, AuthenticationFailed)
    assert (error.reason, error.step) == ("no credentials", Step.CREDENTIAL)


@pytest.mark.parametrize("secret", [b"right", b"eyJ.eyJ.x"])
def test_no_secret_is_looked_at_that_came_over_an_unencrypted_connection(
    identity: Authenticator, secret: bytes
) -> None:
    shown = Credentials("sensor", "sensor", secret, is_protected=False)
    assert refused(identity, shown).reason == "password needs TLS"


def test_an_empty_client_id_gets_a_new_one_under_the_device_each_time(identity: Authenticator) -> None:
    shown = Credentials("", "kettle", b"right")
    given = {identity.authenticate(shown, NOW).client_id for _ in range(3)}
    assert len(given) == 3
    assert all(client_id.startswith("kettle/auto-") for client_id in given)


@pytest.mark.parametrize("client_id", ["kettle", "kettle/1", "kettle/a/b", "kettle/é"])
def test_a_device_owns_its_name_and_what_is_below_it(identity: Authenticator, client_id: str) -> None:
    assert identity.authenticate(Credentials(client_id, "kettle", b"right"), NOW).client_id == client_id


@pytest.mark.parametrize(
    ("client_id", "reason"),
    [
        ("sensor", "client id belongs to another device"),
        ("kettle2", "client id belongs to another device"),
        ("kettle/#", "client id not valid"),
        ("kettle/\n", "client id not valid"),
        ("kettle/" + "x" * 250, "client id not valid"),
    ],
)
def test_another_client_id_is_refused_after_the_proof(identity: Authenticator, client_id: str, reason: str) -> None:
    error = refused(identity, Credentials(client_id, "kettle", b"right"))
    assert isinstance(error, NotAuthorized)
    assert (error.reason, error.step) == (reason, Step.CLIENT_ID)
    unproven = refused(identity, Credentials(client_id, "kettle", b"wrong"))
    assert unproven.reason == "bad user name or password"


def test_the_earlier_end_of_proof_and_credential_ends_the_session(
    registry: FakeRegistry, identity: Authenticator
) -> None:
    registry.change_credentials("sensor", expires_at=NOW + 10)
    assert identity.authenticate(SENSOR, NOW).expires_at == NOW + 10
    registry.change_credentials("sensor", expires_at=NOW + 10_000)
    assert identity.authenticate(SENSOR, NOW).expires_at == NOW + 3660
    registry.change_credentials("kettle", expires_at=NOW + 20)
    assert identity.authenticate(KETTLE, NOW).expires_at == NOW + 20


@pytest.mark.parametrize("shown", [SENSOR, OFFICE, KETTLE])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_revoked": True}, "credential revoked"),
        ({"expires_at": NOW}, "credential expired"),
        ({"is_revoked": True, "expires_at": NOW}, "credential revoked"),
    ],
)
def test_a_revoked_or_expired_credential_is_refused(
    registry: FakeRegistry, identity: Authenticator, shown: Credentials, fields: dict[str, Any], reason: str
) -> None:
    registry.change_credentials(shown.client_id, **fields)
    error = refused(identity, shown)
    assert isinstance(error, ShutOut if reason == "credential revoked" else ProofExpired)
    assert (error.reason, error.step) == (reason, Step.CREDENTIAL)


@pytest.mark.parametrize("shown", [SENSOR, OFFICE, KETTLE])
def test_a_blocked_device_is_refused_and_let_in_again(
    registry: FakeRegistry, identity: Authenticator, shown: Credentials
) -> None:
    registry.change(shown.client_id, is_blocked=True)
    error = refused(identity, shown)
    assert isinstance(error, NotAuthorized)
    assert error.fix == f"lockgate device unblock {shown.client_id}"
    registry.change(shown.client_id, is_blocked=False)
    assert identity.authenticate(shown, NOW)


@pytest.mark.parametrize("shown", [SENSOR, OFFICE, KETTLE])
def test_a_device_of_a_blocked_group_is_refused_and_the_group_is_named(
    registry: FakeRegistry, identity: Authenticator, shown: Credentials
) -> None:
    registry.change(shown.client_id, groups=("night",), blocked_groups=("night",))
    error = refused(identity, shown)
    assert isinstance(error, NotAuthorized)
    assert (error.reason, error.evidence["group"]) == ("group blocked", "night")
    assert error.fix.startswith("lockgate group unblock night")


def test_a_device_removed_while_its_proof_was_checked_is_refused(registry: FakeRegistry) -> None:
    class Fading(FakeRegistry):
        """Forgets the device after the first look, as a removal by another thread does."""

        def device(self, name: str, /) -> Any:
            return self.devices.pop(name, None)

    fading = Fading()
    fading.add("sensor", es256())
    error = refused(Authenticator(fading, IdentitySettings()), SENSOR)
    assert error.reason == "device not registered"


def test_the_verdict_on_a_principal_follows_the_registry(registry: FakeRegistry, identity: Authenticator) -> None:
    principal = identity.authenticate(KETTLE, NOW)

    def reason(now: float = NOW) -> str | None:
        verdict = identity.verdict(principal, now)
        return None if verdict is None else verdict.reason

    assert reason() is None
    registry.change("kettle", is_blocked=True)
    assert reason() == "device blocked"
    registry.change("kettle", is_blocked=False)
    registry.change_credentials("kettle", expires_at=NOW + 5)
    assert reason() is None
    assert reason(NOW + 5) == "credential expired"
    registry.change_credentials("kettle", is_revoked=True)
    assert reason() == "credential revoked"
    registry.add("kettle", password("right"))
    assert reason() == "credential revoked"
    registry.remove("kettle")
    assert reason() == "device not registered"


def test_a_token_of_a_device_proves_nothing_after_its_key_was_replaced(
    registry: FakeRegistry, identity: Authenticator
) -> None:
    registry.add("sensor", es256(OTHER_EC_KEY))
    assert refused(identity, SENSOR).reason == "token signature wrong"
    assert identity.authenticate(Credentials("sensor", None, token(OTHER_EC_KEY, claims())), NOW)


def test_a_long_user_name_that_no_device_has_is_shown_by_its_beginning(identity: Authenticator) -> None:
    assert identity.shown_name("kettle") == "kettle"
    assert identity.shown_name("ca12517c624e9f0d" * 3) == "ca12517c624e…"


SCRAM_USER = Credentials("lamp", host="192.0.2.1")


def test_an_exchange_by_token_proves_what_the_token_in_the_password_field_proves(identity: Authenticator) -> None:
    exchange = identity.begin(Credentials("sensor"), "jwt")
    assert exchange.respond(token(EC_KEY), NOW) == Turn(b"", identity.authenticate(SENSOR, NOW))


def test_an_exchange_by_scram_binds_the_client_id(registry: FakeRegistry, identity: Authenticator) -> None:
    registry.add("lamp", scram("right"))

    def proven(client_id: str) -> Principal | None:
        exchange = identity.begin(Credentials(client_id), "SCRAM-SHA-256")
        client = ScramClient(["SCRAM-SHA-256"], "lamp", "right")
        client.set_server_first(exchange.respond(client.get_client_first().encode(), NOW).data.decode())
        return exchange.respond(client.get_client_final().encode(), NOW).principal

    assert proven("lamp/1") == Principal("lamp", "lamp/1", "scram-sha-256", 4)
    with pytest.raises(NotAuthorized, match="asked for the client id 'kettle'"):
        proven("kettle")


def test_a_credential_that_is_revoked_between_two_rounds_proves_nothing(
    registry: FakeRegistry, identity: Authenticator
) -> None:
    registry.add("lamp", scram("right"))
    exchange = identity.begin(Credentials("lamp"), "SCRAM-SHA-256")
    client = ScramClient(["SCRAM-SHA-256"], "lamp", "right")
    client.set_server_first(exchange.respond(client.get_client_first().encode(), NOW).data.decode())
    registry.change_credentials("lamp", is_revoked=True)
    with pytest.raises(ShutOut, match="was revoked"):
        exchange.respond(client.get_client_final().encode(), NOW)


def test_a_wrong_password_counts_however_it_is_shown(registry: FakeRegistry, identity: Authenticator) -> None:
    registry.add("lamp", scram("right"))
    for _ in range(IdentitySettings().wrong_passwords_before_lockout):
        refused(identity, Credentials("lamp", "lamp", b"wrong", host="192.0.2.1"))
    client = ScramClient(["SCRAM-SHA-256"], "lamp", "right")
    with pytest.raises(RateExceeded):
        identity.begin(SCRAM_USER, "SCRAM-SHA-256").respond(client.get_client_first().encode(), NOW)


@pytest.mark.parametrize("method", ["", "scram-sha-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN"])
def test_a_method_that_is_not_ours_is_refused(identity: Authenticator, method: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        identity.begin(SCRAM_USER, method)
    assert caught.value.reason == "authentication method not offered"
    assert "SCRAM-SHA-256 or jwt" in caught.value.fix


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_exchange_begins_over_an_unencrypted_connection(identity: Authenticator, method: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        identity.begin(Credentials("sensor", is_protected=False), method)
    assert caught.value.reason == "password needs TLS"


def test_without_old_hashes_there_is_nothing_to_hash_anew(identity: Authenticator) -> None:
    assert identity.take_rehashed() == {}
