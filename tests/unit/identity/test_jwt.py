"""Tokens: whose they are, what they must say, and when the session that they open ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lockgate.errors import AuthenticationFailed
from lockgate.identity import jwt as room
from lockgate.identity.jwt import CLOCK_SHIFT, LAST_SECOND, MAX_TOKEN_BYTES, TokenVerifier, looks_like_token
from lockgate.settings import IdentitySettings
from tests.support.registry import (
    EC_KEY,
    ED_KEY,
    NOW,
    OTHER_EC_KEY,
    RSA_KEY,
    FakeRegistry,
    SigningKey,
    eddsa,
    es256,
    password,
    rs256,
)
from tests.support.tokens import claims, token


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("sensor", es256())
    registry.add("camera", rs256())
    registry.add("kettle", password("secret"))
    return registry


@pytest.fixture
def verifier(registry: FakeRegistry) -> TokenVerifier:
    return TokenVerifier(registry, IdentitySettings())


def refusal(verifier: TokenVerifier, shown: bytes, client_id: str = "sensor", now: float = NOW) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        verifier.verify(client_id, shown, now)
    return caught.value


@pytest.mark.parametrize(
    ("secret", "is_token"),
    [(b"eyJhbGciOiJub25lIn0.e30.", True), (b"eyJ", False), (b"eyJ.x", False), (b"a.b.c", False), (b"", False)],
)
def test_a_token_is_told_from_a_password_by_its_shape(secret: bytes, is_token: bool) -> None:
    assert looks_like_token(secret) is is_token


@pytest.mark.parametrize(
    ("client_id", "device"), [("sensor", "sensor"), ("sensor/pub", "sensor"), ("camera", "camera")]
)
def test_a_good_token_gives_the_credential_and_the_end_with_the_skew(
    verifier: TokenVerifier, registry: FakeRegistry, client_id: str, device: str
) -> None:
    shown = token(EC_KEY if device == "sensor" else RSA_KEY)
    credential, ends_at = verifier.verify(client_id, shown, NOW)
    assert credential == registry.devices[device].credentials[0]
    assert ends_at == NOW + 3600 + 60


def test_with_an_empty_client_id_the_subject_says_whose_key_to_try(verifier: TokenVerifier) -> None:
    credential, _ = verifier.verify("", token(EC_KEY, claims(sub="sensor")), NOW)
    assert credential.device == "sensor"
    assert refusal(verifier, token(EC_KEY), "").reason == "no key for this token"


def test_an_audience_in_a_list_is_enough(verifier: TokenVerifier) -> None:
    assert verifier.verify("sensor", token(EC_KEY, claims(aud=["other", "lockgate"])), NOW)


def test_numbers_may_have_fractions_and_the_subject_may_be_there(verifier: TokenVerifier) -> None:
    payload = claims(iat=NOW - 0.5, exp=NOW + 9.5, nbf=NOW - 0.5, sub="sensor")
    _, ends_at = verifier.verify("sensor", token(EC_KEY, payload), NOW)
    assert ends_at == NOW + 69.5


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (claims(iat=None), "token claims missing"),
        (claims(exp=None), "token claims missing"),
        (claims(exp=True), "token claims missing"),
        (claims(exp="1800003600"), "token claims missing"),
        (claims(iat=-1), "token claims missing"),
        (claims(exp=LAST_SECOND + 1), "token claims missing"),
        (claims(iat=int(NOW) * 1000, exp=int(NOW) * 1000 + 3600), "token claims missing"),
        (claims(nbf="soon"), "token claims missing"),
        (claims(aud=None), "token audience wrong"),
        (claims(aud="other"), "token audience wrong"),
        (claims(aud=["other"]), "token audience wrong"),
        (claims(aud={"lockgate": 1}), "token audience wrong"),
        (claims(sub="camera"), "token subject wrong"),
        (claims(sub=7), "token subject wrong"),
        (claims(iat=NOW - 7200, exp=NOW - 60), "token expired"),
        (claims(iat=NOW + 61, exp=NOW + 100), "token not yet valid"),
        (claims(nbf=NOW + 61), "token not yet valid"),
        (claims(exp=NOW + 86_401), "token lifetime too long"),
    ],
)
def test_each_wrong_claim_is_named(verifier: TokenVerifier, payload: dict[str, Any], reason: str) -> None:
    assert refusal(verifier, token(EC_KEY, payload)).reason == reason


@pytest.mark.parametrize(
    "payload",
    [
        claims(iat=NOW - 7200, exp=NOW - 59),
        claims(iat=NOW + 60),
        claims(nbf=NOW + 60),
        claims(nbf=0),
        claims(exp=NOW + 86_400),
        claims(exp=NOW + 59, iat=NOW + 60),
    ],
)
def test_the_skew_and_the_longest_life_are_just_allowed(verifier: TokenVerifier, payload: dict[str, Any]) -> None:
    assert verifier.verify("sensor", token(EC_KEY, payload), NOW)


@pytest.mark.parametrize(("off", "words"), [(30, "30 s"), (150, "2 min"), (10_800, "3 h"), (259_200, "3 d")])
def test_a_wrong_clock_is_named_as_such(registry: FakeRegistry, off: int, words: str) -> None:
    verifier = TokenVerifier(registry, IdentitySettings(jwt_clock_skew_seconds=0))
    late = refusal(verifier, token(EC_KEY, claims(iat=NOW - off, exp=NOW - off + 10)))
    assert f"the device's clock is {words} behind (or this hub's is ahead)" in late.fix
    assert late.evidence[CLOCK_SHIFT] == f"-{off} s"
    assert f"expired at {datetime.fromtimestamp(NOW - off + 10, UTC).isoformat()}" in str(late)
    early = refusal(verifier, token(EC_KEY, claims(iat=NOW + off, exp=NOW + off + 60)))
    assert f"{words} from now" in str(early)
    assert f"the device's clock is {words} ahead (or this hub's is behind)" in str(early)
    assert early.evidence[CLOCK_SHIFT] == f"+{off} s"


@pytest.mark.parametrize(("off", "is_zone"), [(7200, True), (19_800 + 60, True), (7200 + 600, False), (86_400, False)])
def test_a_clock_that_is_off_by_a_time_zone_is_asked_about_it(verifier: TokenVerifier, off: int, is_zone: bool) -> None:
    for shift in (off, -off):
        told = refusal(verifier, token(EC_KEY, claims(iat=NOW + shift, exp=NOW + shift + 600)))
        assert ("local time" in told.fix) is is_zone


def test_a_clock_that_was_never_set_is_named_as_such(verifier: TokenVerifier) -> None:
    told = refusal(verifier, token(EC_KEY, claims(iat=120, exp=3720)))
    assert told.reason == "token expired"
    assert "the device's clock was never set, it says 1970" in str(told)
    assert "NTP" in told.fix


def test_a_token_for_later_is_no_wrong_clock(verifier: TokenVerifier) -> None:
    told = refusal(verifier, token(EC_KEY, claims(nbf=NOW + 3600, exp=NOW + 7200)))
    assert (told.reason, told.fix) == ("token not yet valid", "sign a token that begins at once")
    assert "clock" not in str(told)


def test_the_settings_rule_audience_skew_and_lifetime(registry: FakeRegistry) -> None:
    settings = IdentitySettings(jwt_audience="hub-7", jwt_clock_skew_seconds=0, jwt_max_lifetime_hours=1)
    verifier = TokenVerifier(registry, settings)
    _, ends_at = verifier.verify("sensor", token(EC_KEY, claims(aud="hub-7")), NOW)
    assert ends_at == NOW + 3600
    late = token(EC_KEY, claims(aud="hub-7", iat=NOW - 10, exp=NOW))
    assert refusal(verifier, late).reason == "token expired"
    assert refusal(verifier, token(EC_KEY, claims(aud="hub-7", exp=NOW + 3601))).reason == "token lifetime too long"


@pytest.mark.parametrize("client_id", ["nobody", "kettle", "", "/"])
def test_a_device_without_a_key_for_tokens_is_refused(verifier: TokenVerifier, client_id: str) -> None:
    assert refusal(verifier, token(EC_KEY), client_id).reason == "no key for this token"


def test_what_only_looks_like_a_token_or_is_too_long_is_refused(verifier: TokenVerifier) -> None:
    assert refusal(verifier, b"eyJ.e30.").reason == "token malformed"
    assert refusal(verifier, token(EC_KEY, crit=["x"])).reason == "token extension not known"
    assert refusal(verifier, token(EC_KEY, claims(pad="x" * MAX_TOKEN_BYTES))).reason == "token too large"


def test_several_keys_overlap_while_they_rotate(registry: FakeRegistry, verifier: TokenVerifier) -> None:
    device = registry.add("twin", es256(EC_KEY), es256(OTHER_EC_KEY), rs256())
    keys: tuple[SigningKey, ...] = (EC_KEY, OTHER_EC_KEY, RSA_KEY)
    for key, expected in zip(keys, device.credentials, strict=True):
        assert verifier.verify("twin", token(key), NOW)[0] == expected
    refused = refusal(verifier, token(EC_KEY, alg="PS256"), "twin")
    assert "ES256 or RS256" in str(refused)


def test_a_live_credential_over_the_same_key_comes_before_a_revoked_one(
    registry: FakeRegistry, verifier: TokenVerifier
) -> None:
    registry.add("again", es256())
    registry.change_credentials("again", is_revoked=True)
    revoked = registry.devices["again"].credentials[0]
    live = registry.add("again", es256()).credentials[0]
    registry.change("again", credentials=(revoked, live))
    assert verifier.verify("again", token(EC_KEY), NOW)[0] == live


def test_a_key_in_the_registry_that_cannot_be_read_signs_nothing(
    registry: FakeRegistry, verifier: TokenVerifier
) -> None:
    registry.add("sensor", es256())
    registry.change_credentials("sensor", public="no key", thumbprint="damaged")
    assert refusal(verifier, token(EC_KEY)).reason == "token signature wrong"


def test_the_memory_of_keys_is_bounded(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_REMEMBERED_KEYS", 1)
    keys: list[tuple[str, SigningKey]] = [("sensor", EC_KEY), ("camera", RSA_KEY), ("sensor", EC_KEY)]
    for client_id, key in keys:
        verifier.verify(client_id, token(key), NOW)
        assert len(verifier._keys) == 1


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_an_ed25519_key_signs_under_both_its_names_and_under_no_other(registry: FakeRegistry, name: str) -> None:
    registry.add("lamp", eddsa())
    verifier = TokenVerifier(registry, IdentitySettings())
    credential, _ = verifier.verify("lamp", token(ED_KEY, alg=name), NOW)
    assert credential.device == "lamp"
    for other in ("ES256", "none", "HS256", "RS256"):
        with pytest.raises(AuthenticationFailed) as caught:
            verifier.verify("lamp", token(ED_KEY, alg=other), NOW)
        assert caught.value.reason == "token algorithm not allowed"
        assert "EdDSA" in caught.value.fix
    with pytest.raises(AuthenticationFailed):
        verifier.verify("sensor", token(ED_KEY, alg=name), NOW)
