"""`lockgate credential`: single keys and passwords."""

from __future__ import annotations

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.home import Home
from lockgate.store.messages_db import MessagesDb
from tests.support.cli import CommandLine


def test_single_credentials_are_revoked_by_their_number(lockgate: CommandLine) -> None:
    for name in ("one", "two"):
        lockgate.adds(name)
    assert "revoked 1 of one" in lockgate.does("credential", "revoke", "1").out
    assert lockgate.does("credential", "revoke", "2", "--json").json() == [
        {"credential": 2, "device": "two", "done": "revoked"}
    ]
    assert "there is no credential 3" in lockgate.refuses("credential", "revoke", "3")


@pytest.mark.requirement("T24")
def test_the_inventory_tells_owner_algorithm_times_and_last_use_of_every_key(lockgate: CommandLine) -> None:
    assert "no credentials" in lockgate.does("credential", "list").out
    for kind in ("jwt-es256", "x509", "password"):
        lockgate.adds(f"d-{kind}", kind)
    store = MessagesDb(Home(lockgate.home).messages_path)
    store.save_seen([("d-x509", "credential 2", 1_800_000_000.0, "")])
    store.close()
    lockgate.does("credential", "revoke", "3")
    good = lockgate.does("credential", "list", "--json").json()
    assert [(each["id"], each["device"], each["algorithm"], each["last_used"]) for each in good] == [
        (1, "d-jwt-es256", "P-256", None),
        (2, "d-x509", "P-256", 1_800_000_000.0),
    ]
    assert good[1]["expires_at"] > good[1]["created_at"] > 0
    assert [len(each["thumbprint"]) for each in good] == [64, 64]
    every = lockgate.does("credential", "list", "--all").out
    for text in ("argon2id", "revoked", "P-256", "2027-01-15"):
        assert text in every
    assert len(lockgate.does("credential", "list", "d-x509", "--json").json()) == 1
    lockgate.refuses("credential", "list", "nobody")


@pytest.mark.requirement("I5")
def test_a_device_gets_one_more_credential_of_any_kind_beside_those_it_has(lockgate: CommandLine) -> None:
    lockgate.adds("lamp")
    key = ec.generate_private_key(ec.SECP256R1())
    public, asked, chosen = (lockgate.folder / name for name in ("public.pem", "lamp.csr", "chosen"))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    own = ec.generate_private_key(ec.SECP256R1())
    asked.write_bytes(request.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    chosen.write_text("vJ8#qLw2!zRt\n")
    add = ("credential", "add", "lamp", "--auth")
    assert "added credential 2 of lamp: jwt-es256" in lockgate.does(*add, "jwt-es256", "--public-key", public).out
    folder = lockgate.folder / "asked"
    made = lockgate.does(*add, "x509", "--csr", asked, "--out", folder, "--expires", "30d", "--json").json()
    assert (made["id"], made["device"], made["kind"], made["folder"]) == (3, "lamp", "x509", str(folder))
    leaf = x509.load_pem_x509_certificate((folder / "device.crt").read_bytes())
    assert leaf.public_key() == own.public_key()
    assert abs(made["expires_at"] - leaf.not_valid_after_utc.timestamp()) < 1.0
    assert 29.9 < (made["expires_at"] - made["created_at"]) / 86_400 <= 30
    told = lockgate.does(*add, "password", "--password-file", chosen, "--expires", "2090-01-01").out
    assert "until 2090-01-01" in told
    assert str(lockgate.folder / "made") in lockgate.does(*add, "jwt-eddsa", "--out", lockgate.folder / "made").out
    held = lockgate.does("credential", "list", "lamp", "--json").json()
    assert [(each["id"], each["kind"], each["expires_at"] is None) for each in held] == [
        (1, "jwt-es256", True), (2, "jwt-es256", True), (3, "x509", False), (4, "password", False),
        (5, "jwt-eddsa", True),
    ]  # fmt: skip
    actors = [each["event"] for each in audit(lockgate)]
    assert actors.count("credential.added") == 4


def audit(lockgate: CommandLine) -> list[dict[str, str]]:
    lines = lockgate.does("audit", "export").out.splitlines()
    return [msgspec.json.decode(line, type=dict) for line in lines]


def test_a_credential_that_cannot_be_added_leaves_nothing(lockgate: CommandLine) -> None:
    lockgate.adds("lamp", "password")
    guessable = lockgate.folder / "guessable"
    guessable.write_text("lamp1234")
    out = lockgate.folder / "out"
    add = ("credential", "add", "lamp", "--auth")
    assert "--out" in lockgate.refuses(*add, "jwt-es256")
    lockgate.refuses(*add, "password", "--password-file", guessable)
    assert "is over already" in lockgate.refuses(*add, "jwt-es256", "--out", out, "--expires", "2020-01-01")
    lockgate.refuses("credential", "add", "nobody", "--auth", "x509", "--out", out)
    for number in range(9):
        lockgate.does(*add, "jwt-es256", "--out", lockgate.folder / f"out-{number}")
    assert "max_credentials_per_device is 10" in lockgate.refuses(*add, "x509", "--out", out)
    assert not out.exists()
    assert "certificate.issued" not in [each["event"] for each in audit(lockgate)]
    lockgate.misused("credential", "add", "lamp", "--auth", "magic")


@pytest.mark.requirement("I5")
def test_any_credential_may_be_told_to_end(lockgate: CommandLine) -> None:
    lockgate.adds("lamp", "jwt-es256", "--expires", "30d")
    lockgate.adds("kettle", "password")
    assert "1 of lamp ends" in lockgate.does("credential", "expire", "1", "--at", "1h").out
    until = lockgate.does("credential", "expire", "2", "--at", "2090-01-01", "--json").json()
    assert until == {"credential": 2, "device": "kettle", "expires_at": 3_786_912_000.0}
    lockgate.refuses("credential", "expire", "1", "--at", "2d")
    lockgate.refuses("credential", "expire", "9", "--at", "2d")
    lockgate.refuses("credential", "expire", "1", "--at", "yesterday")
    second, first = lockgate.does("credential", "list", "--json").json()  # by device
    assert 3500 < first["expires_at"] - first["created_at"] < 3700
    assert second["expires_at"] == 3_786_912_000.0


def test_a_pre_shared_key_is_added_beside_others_and_is_found_by_its_own_identity(lockgate: CommandLine) -> None:
    lockgate.adds("lamp")
    file = lockgate.folder / "key.hex"
    add = ("credential", "add", "lamp", "--auth", "psk")
    lockgate.does(*add, "--out", lockgate.folder / "first")
    file.write_text("9f1c05b7e2d84a63b0f5de7713a84c2f\n")
    lockgate.does(*add, "--psk-file", file)
    found = [each["thumbprint"] for each in lockgate.does("credential", "list", "lamp", "--json").json()[1:]]
    assert found[0] == "psk-lamp"
    assert found[1].startswith("psk-lamp/")
    assert found[1] in lockgate.does("credential", "list", "lamp").out


def test_shared_secrets_are_sealed_anew_and_what_is_lost_is_named(lockgate: CommandLine) -> None:
    lockgate.adds("lamp", "psk")
    assert "resealed 1 secrets" in lockgate.does("credential", "reseal").out
    Home(lockgate.home).secrets_path.unlink()
    assert lockgate.does("credential", "reseal", "--json").json() == {"resealed": 0, "lost": ["lamp"]}
    assert "that of lamp cannot be opened" in lockgate.does("credential", "reseal").out
