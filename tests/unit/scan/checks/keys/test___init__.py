"""Keys: weak, shared, ended and forgotten ones, each in a real registry."""

from __future__ import annotations

import math
import time

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.pki.certificates import certificates_from_pem, spki_thumbprint
from lockgate.registry.vault import Vault
from lockgate.scan.finding import Severity
from tests.support.registry import nosec, oscore, psk, rpk
from tests.support.scan import Examined

DAY = 86_400.0
Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def pem(key: Key) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


def good_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def credential(name: str, key: Key, now: float, expires_at: float | None = None) -> Credential:
    kind = CredentialKind.JWT_RS256 if isinstance(key, rsa.RSAPublicKey) else CredentialKind.JWT_ES256
    return Credential(0, name, kind, pem(key), spki_thumbprint(key), now, expires_at)


def put(home: Examined, name: str, *keys: Key, expires_at: float | None = None, age_days: float = 0) -> None:
    """Put a device into the registry past the checks of the registrar, as an older release might have."""
    now = time.time()
    credentials = tuple(credential(name, key, now, expires_at) for key in keys)
    with home.home.registry() as registry:
        registry.add_device(
            Device(name, created_at=now - age_days * DAY, credentials=credentials), actor="test", now=now
        )


def test_a_short_rsa_key_is_severe(home: Examined) -> None:
    put(home, "lamp", rsa.generate_private_key(65_537, 1024).public_key())
    found = home.find("LG-KEY-001")[0]
    assert found.severity is Severity.SEVERE
    assert "1024" in found.text
    home.mends(found)


def test_a_shared_key_is_severe(home: Examined) -> None:
    first, second = good_key(), good_key()
    put(home, "lamp", first)
    put(home, "switch", second)
    with home.home.registry() as registry, registry.write() as write:
        write.execute("DROP INDEX IF EXISTS credential_key")
        write.execute("DROP INDEX IF EXISTS credential_thumbprint")
        write.execute(
            "UPDATE credential SET thumbprint = ?, public = ? WHERE device = 'switch'",
            (spki_thumbprint(first), pem(first)),
        )
    found = home.find("LG-KEY-002")[0]
    assert "lamp, switch" in found.text
    home.mends(found)


def test_shared_factors_are_severe(home: Examined) -> None:
    one, other, third = (rsa.generate_private_key(65_537, 2048) for _ in range(3))
    shared = one.private_numbers().p
    mixed = rsa.RSAPublicNumbers(65_537, shared * other.private_numbers().q).public_key()
    put(home, "lamp", one.public_key())
    put(home, "switch", mixed)
    put(home, "valve", third.public_key())
    assert math.gcd(one.public_key().public_numbers().n, mixed.public_numbers().n) == shared
    found = home.sees_only("LG-KEY-003")
    assert "lamp, switch" in found.text
    assert "valve" not in found.text
    home.mends(found)


def test_a_device_with_the_hubs_own_key_is_severe(home: Examined) -> None:
    key = certificates_from_pem(home.home.server_path.read_bytes())[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    put(home, "lamp", key)
    found = home.sees_only("LG-KEY-004")
    for command in found.fix.split(" && "):
        home.lockgate.does(*command.split()[1:])
    assert home.find("LG-KEY-004") == []


def test_a_credential_that_ends_soon_is_seen_unless_another_is_there(home: Examined) -> None:
    put(home, "lamp", good_key(), expires_at=time.time() + 3 * DAY)
    put(home, "valve", good_key(), expires_at=time.time() + 300 * DAY)
    found = home.sees_only("LG-KEY-005")
    assert "lamp" in found.text
    with home.home.registry() as registry:
        registry.add_credential(credential("lamp", good_key(), time.time()), actor="test", now=time.time())
    assert home.find("LG-KEY-005") == []


def test_expired_credentials_are_noted(home: Examined) -> None:
    put(home, "lamp", good_key(), good_key(), expires_at=time.time() - DAY)
    (found,) = home.find("LG-KEY-006")
    assert found.text.startswith("2 have ended")
    (lost,) = home.find("LG-KEY-007")
    home.mends(lost)
    assert home.find("LG-KEY-006") == []


def test_a_device_whose_credentials_are_revoked_is_seen(home: Examined) -> None:
    home.lockgate.adds("lamp")
    assert home.find("LG-KEY-007") == []
    home.lockgate.does("device", "revoke", "lamp")
    home.mends(home.sees_only("LG-KEY-007"))


def test_a_device_that_never_connected_is_seen(home: Examined) -> None:
    put(home, "lamp", good_key(), age_days=100)
    put(home, "valve", good_key(), age_days=10)
    found = home.sees_only("LG-KEY-008")
    assert found.text == "lamp"
    home.mends(found)


@pytest.mark.parametrize("auth", ["password", "scram-sha-256"])
def test_passwords_are_noted(home: Examined, auth: str) -> None:
    home.lockgate.adds("lamp", auth)
    found = home.sees_only("LG-KEY-009")
    assert "lamp" in found.text
    home.lockgate.does("device", "remove", "lamp")
    home.lockgate.does("device", "add", "lamp", "--auth", "x509", "--out", home.path.parent / "lamp-with-a-key")
    assert home.find("LG-KEY-009") == []


def test_many_live_credentials_are_seen(home: Examined) -> None:
    put(home, "valve", good_key(), good_key(), good_key())
    assert home.find("LG-KEY-010") == []
    put(home, "lamp", *(good_key() for _ in range(4)))
    assert home.sees_only("LG-KEY-010").text == "lamp has 4"


def test_good_devices_of_each_kind_have_no_finding(home: Examined) -> None:
    for auth in ("jwt-es256", "jwt-rs256", "x509"):
        home.lockgate.adds(f"lamp-{auth}", auth)
    assert [f for f in home.report().findings if f.check.startswith("LG-KEY")] == []


def test_a_published_key_of_an_older_release_is_severe(home: Examined) -> None:
    put(home, "lamp", ec.derive_private_key(1, ec.SECP256R1()).public_key())
    found = home.sees_only("LG-KEY-001")
    assert "is published" in found.text
    home.mends(found)


def put_credential(home: Examined, credential: Credential) -> None:
    with home.home.registry() as registry:
        device = Device(credential.device, created_at=time.time(), credentials=(credential,))
        registry.add_device(device, actor="test", now=time.time())


@pytest.mark.requirement("C2")
def test_a_device_without_protection_is_severe(home: Examined) -> None:
    put_credential(home, msgspec.structs.replace(nosec("192.0.2.7"), device="probe"))
    found = home.find("LG-KEY-011")[0]
    assert found.severity is Severity.SEVERE
    assert "192.0.2.7" in found.text
    home.mends(found)


def test_a_weak_shared_or_lost_secret_is_severe_and_never_told(home: Examined) -> None:
    vault = Vault(home.home.secrets_path)
    put_credential(home, psk(vault, "lamp", b"\x01\x02" * 8))
    found = home.find("LG-KEY-012")[0]
    assert found.severity is Severity.SEVERE
    assert "would be guessed" in found.text
    assert "0102" not in found.text
    home.mends(found)
    put_credential(home, psk(vault, "kettle", bytes.fromhex("9f1c05b7e2d84a63b0f5de7713a84c2f")))
    assert home.find("LG-KEY-012") == []
    home.home.secrets_path.unlink()
    assert "does not hold the key" in home.find("LG-KEY-012")[0].text


def test_kinds_for_coap_that_are_in_order_have_no_finding_but_for_what_they_are(home: Examined) -> None:
    vault = Vault(home.home.secrets_path)
    put_credential(home, psk(vault, "lamp", bytes.fromhex("9f1c05b7e2d84a63b0f5de7713a84c2f")))
    put_credential(home, oscore(vault, "valve", b"\xa1\xb2\xc3\xd4"))
    put_credential(home, msgspec.structs.replace(rpk(), device="meter"))
    seen = {found.check for found in home.report().findings}
    assert not {each for each in seen if each.startswith("LG-KEY") and each not in ("LG-KEY-008",)}
