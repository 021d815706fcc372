"""Tokens verify with the registered key and hold what the hub asks for; what makes none says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lockgate.errors import InvalidSettings
from lockgate.model.device import CredentialKind
from lockgate.pki.authority import Authority
from lockgate.pki.certificates import generate_key, private_key_to_pem
from lockgate.provision.bundle import NewCredential, make_bundle
from lockgate.provision.folder import HubAddress
from lockgate.provision.token import make_token, parse_duration

NOW = 1_790_000_000.75


def make(kind: CredentialKind, out: Path) -> NewCredential:
    root = Authority.create_root(now=NOW)
    return make_bundle(kind, "sensor-1", out, HubAddress("h", 1), root, root.certificate_pem(), "lockgate", NOW)


@pytest.mark.parametrize(
    ("kind", "algorithm", "key_type"),
    [
        (CredentialKind.JWT_ES256, "ES256", ECKey),
        (CredentialKind.JWT_RS256, "RS256", RSAKey),
        (CredentialKind.JWT_EDDSA, "EdDSA", OKPKey),
    ],
)
def test_a_token_verifies_with_the_registered_key_and_has_its_claims(
    kind: CredentialKind, algorithm: str, key_type: type[ECKey] | type[RSAKey] | type[OKPKey], tmp_path: Path
) -> None:
    credential = make(kind, tmp_path / "out")
    token = make_token(tmp_path / "out", 1800, NOW)
    decoded = jwt.decode(token, key_type.import_key(credential.public), algorithms=[algorithm])
    assert decoded.header == {"alg": algorithm, "typ": "JWT"}
    assert decoded.claims == {"iat": int(NOW), "exp": int(NOW) + 1800, "aud": "lockgate", "sub": "sensor-1"}


def test_a_token_does_not_verify_with_the_key_of_another_device(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "one")
    other = make(CredentialKind.JWT_ES256, tmp_path / "two")
    token = make_token(tmp_path / "one", now=NOW)
    with pytest.raises(JoseError):
        jwt.decode(token, ECKey.import_key(other.public), algorithms=["ES256"])


def test_a_token_may_live_a_day_and_no_longer(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "out")
    assert make_token(tmp_path / "out", 86_400, NOW)
    with pytest.raises(InvalidSettings, match="at most 24 hours, not 48: who steals it can be the device") as caught:
        make_token(tmp_path / "out", 172_800, NOW)
    assert caught.value.fix == "make a fresh token for each connection"


@pytest.mark.parametrize("lifetime", [0, -1, 0.5])
def test_a_token_that_would_be_dead_at_once_is_refused(lifetime: float, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="at least one second"):
        make_token(tmp_path, lifetime, NOW)


@pytest.mark.parametrize("kind", [CredentialKind.X509, CredentialKind.PASSWORD, CredentialKind.SCRAM_SHA_256])
def test_a_device_without_tokens_says_how_it_proves_itself(kind: CredentialKind, tmp_path: Path) -> None:
    make(kind, tmp_path / "out")
    with pytest.raises(InvalidSettings, match=f"proves itself by {kind.value}, not by tokens"):
        make_token(tmp_path / "out", now=NOW)


def test_a_folder_without_device_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"holds no device\.json"):
        make_token(tmp_path, now=NOW)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "out")
    (tmp_path / "out" / "device.key").unlink()
    with pytest.raises(InvalidSettings, match=r"it holds no device\.key"):
        make_token(tmp_path / "out", now=NOW)


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "out")
    (tmp_path / "out" / "device.key").unlink()
    (tmp_path / "out" / "device.key").mkdir()
    with pytest.raises(InvalidSettings, match=r"device\.key cannot be read"):
        make_token(tmp_path / "out", now=NOW)


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    make(CredentialKind.JWT_ES256, tmp_path / "out")
    (tmp_path / "out" / "device.key").write_text("-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InvalidSettings, match=r"device\.key: expected an unencrypted private key"):
        make_token(tmp_path / "out", now=NOW)


@pytest.mark.parametrize(
    ("kind", "wanted"), [(CredentialKind.JWT_ES256, "a P-256 key"), (CredentialKind.JWT_RS256, "an RSA key")]
)
def test_a_key_of_the_wrong_kind_is_refused(kind: CredentialKind, wanted: str, tmp_path: Path) -> None:
    make(kind, tmp_path / "out")
    wrong = generate_key("rsa" if kind is CredentialKind.JWT_ES256 else "ec")
    (tmp_path / "out" / "device.key").write_bytes(private_key_to_pem(wrong))
    with pytest.raises(InvalidSettings, match=f"does not fit {kind.value}: it must hold {wanted}"):
        make_token(tmp_path / "out", now=NOW)


@given(st.integers(0, 10**8), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize("text", ["", "1", "h", "1.5h", "-1h", "1 h", "1w", "1h30m", "١h", "1h\n2m"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidSettings, match="is no duration") as caught:
        parse_duration(text)
    assert "90s, 30m, 12h" in caught.value.fix
