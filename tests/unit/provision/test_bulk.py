"""Many devices from one table: judged whole, made batch by batch, told by line."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lockgate.errors import Conflict, InvalidSettings
from lockgate.model.device import CredentialKind, Device
from lockgate.pki.authority import Authority
from lockgate.provision import bulk
from lockgate.provision.bulk import Done, Line, add_many, read_table
from lockgate.provision.bundle import NewCredential, make_bundle
from lockgate.provision.folder import HubAddress
from lockgate.registry.registrar import Registrar
from lockgate.store.registry_db import RegistryDb

NOW = 1_790_000_000.0
ROOT = Authority.create_root(now=NOW)
ES256 = CredentialKind.JWT_ES256


def make(line: Line, folder: Path) -> NewCredential:
    hub = HubAddress("hub.local", 8883, 5684, 5683)
    return make_bundle(
        line.kind, line.name, folder, hub, ROOT, ROOT.certificate_pem(), "lockgate", NOW,
        given=line.given, is_durable=False,
    )  # fmt: skip


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def request_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whatever")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[RegistryDb]:
    with RegistryDb(tmp_path / "registry.db") as db:
        yield db


@pytest.fixture
def registrar(db: RegistryDb) -> Registrar:
    return Registrar(db, "anna", lambda: NOW)


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "devices.csv"
    path.write_text(text)
    return path


@pytest.mark.requirement("I3", "I9")
def test_each_line_becomes_a_registered_device_with_its_own_folder(
    tmp_path: Path, registrar: Registrar, db: RegistryDb
) -> None:
    own, asked = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "own.pem").write_bytes(public_pem(own))
    (tmp_path / "asked.csr").write_bytes(request_pem(asked))
    path = table(
        tmp_path,
        "name,auth,groups,public_key,csr,metadata.site\n"
        "one,,a; b,,,north\n"
        "two,jwt-es256,,own.pem,,\n"
        "three,x509,a,,asked.csr,\n"
        "four,password,,,,\n",
    )
    lines = read_table(path, ES256)
    counts: list[int] = []
    assert add_many(path, lines, tmp_path / "out", registrar, make, on_added=counts.append) == Done(4, 0)
    assert counts == [4]
    devices = {device.name: device for device in db.devices()}
    assert (devices["one"].groups, devices["one"].metadata) == (("a", "b"), {"site": "north"})
    assert devices["two"].credentials[0].public == public_pem(own).decode()
    certificate = x509.load_pem_x509_certificate(devices["three"].credentials[0].public.encode())
    assert certificate.public_key() == asked.public_key()
    for name, kept in (("one", True), ("two", False), ("three", False)):
        assert (tmp_path / "out" / name / "device.key").exists() == kept
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    stored = (tmp_path / "registry.db").read_bytes() + (tmp_path / "registry.db-wal").read_bytes()
    assert b"PRIVATE KEY" not in stored
    secret = (tmp_path / "out" / "one" / "device.key").read_bytes().splitlines()[1]
    assert secret not in stored
    assert (tmp_path / "out" / "four" / "password").read_bytes() not in stored


def test_every_wrong_line_is_told_by_its_number_before_anything_is_made(
    tmp_path: Path, registrar: Registrar, db: RegistryDb
) -> None:
    registrar.add_devices([])
    db.add_device(Device("there"), actor="anna", now=NOW)
    (tmp_path / "weak.pem").write_bytes(public_pem(ec.derive_private_key(1, ec.SECP256R1())))
    (tmp_path / "good.pem").write_bytes(public_pem(ec.generate_private_key(ec.SECP256R1())))
    path = table(
        tmp_path,
        "name,groups,public_key\none,,\nthere,,\ntwo,a/b,\none,,\nweak,,weak.pem\nfirst,,good.pem\nagain,,good.pem\n",
    )
    with pytest.raises(InvalidSettings) as caught:
        add_many(path, read_table(path, ES256), tmp_path / "out", registrar, make)
    told = str(caught.value)
    for words in (
        "line 3: there is a device there",
        "line 4: ",
        "line 5: there is a device one",
        "line 6: ",
        "line 8: ",
    ):
        assert words in told
    assert "line 2" not in told
    assert "line 7" not in told
    assert told.endswith("nothing was made")
    assert caught.value.fix
    assert not (tmp_path / "out").exists()
    assert len(db.devices()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no header"),
        ("auth\nx509\n", "no header with a column `name`"),
        ("name,colour\nx,red\n", "column 'colour' that is not known"),
        ("name,name\nx,y\n", "a column twice"),
        ("name,auth\nx\n", "line 2: this line has more or fewer fields"),
        ("name\na\nb,c\n", "line 3: this line has more or fewer fields"),
        ("name,auth\na,magic\n", "line 2: 'magic' is no way"),
        ("name\n../a\n", "line 2: '../a' is no valid device name"),
        ("name,csr\na,missing.csr\n", "line 2: .*missing.csr cannot be read"),
        ("name,auth,public_key\na,x509,devices.csv\n", "line 2: x509 does not go with that file"),
        ("name,auth,csr\na,x509,devices.csv\n", "line 2: expected a certificate request"),
        ('name\n"a\n', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidSettings, match=told) as caught:
        read_table(table(tmp_path, text), ES256)
    assert caught.value.fix


def test_many_problems_are_counted_and_the_first_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="and 15 lines more"):
        read_table(table(tmp_path, "name\n" + "a/b\n" * 25), ES256)


def test_a_missing_table_and_a_huge_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        read_table(tmp_path / "none.csv", ES256)
    monkeypatch.setattr(bulk, "MAX_TABLE_BYTES", 3)
    with pytest.raises(InvalidSettings, match="larger than 3 bytes"):
        read_table(table(tmp_path, "name\na\n"), ES256)


def test_a_batch_that_fails_leaves_nothing_and_those_before_it_stay(
    tmp_path: Path, registrar: Registrar, db: RegistryDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH_DEVICES", 2)
    path = table(tmp_path, "name\n" + "".join(f"d{n}\n" for n in range(6)))

    def stumble(line: Line, folder: Path) -> NewCredential:
        made = make(line, folder)
        if line.name == "d2":  # somebody else is quicker
            db.add_device(Device("d3"), actor="ben", now=NOW)
        return made

    with pytest.raises(Conflict, match="d3"):
        add_many(path, read_table(path, ES256), tmp_path / "out", registrar, stumble)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["d0", "d1"]
    assert [device.name for device in db.devices()] == ["d0", "d1", "d3"]
    done = add_many(path, read_table(path, ES256), tmp_path / "out", registrar, make, skip_registered=True)
    assert done == Done(3, 3)
    assert len(db.devices()) == 6


def test_a_folder_that_is_there_is_never_written_into(tmp_path: Path, registrar: Registrar) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    path = table(tmp_path, "name\na\n")
    with pytest.raises(InvalidSettings, match="is there already"):
        add_many(path, read_table(path, ES256), tmp_path / "out", registrar, make)
    assert (tmp_path / "out" / "a").exists()


KEYS = ["9f1c05b7e2d84a63b0f5de7713a84c2f", "61be09d7c85f42a3917be4d0286fc35a"]


@pytest.mark.requirement("C2", "I9")
def test_a_table_makes_devices_for_coap_and_takes_keys_that_are_set_elsewhere(
    tmp_path: Path, registrar: Registrar, db: RegistryDb
) -> None:
    (tmp_path / "brought.hex").write_text(KEYS[0] + "\n")
    raw = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "raw.pem").write_bytes(public_pem(raw))
    path = table(
        tmp_path,
        "name,auth,public_key,psk\none,psk,,\ntwo,psk,,brought.hex\nthree,rpk,raw.pem,\nfour,oscore,,\nfive,rpk,,\n",
    )
    lines = read_table(path, ES256)
    assert add_many(path, lines, tmp_path / "out", registrar, make) == Done(5, 0)
    found = {device.name: device.credentials[0] for device in db.devices()}
    assert [found[name].thumbprint for name in ("one", "two")] == ["psk-one", "psk-two"]
    assert found["three"].public == public_pem(raw).decode()
    assert found["four"].thumbprint.startswith("oscore-")
    assert (tmp_path / "out" / "two" / "psk").read_bytes().hex() == KEYS[0]
    assert KEYS[0].encode() not in (tmp_path / "registry.db").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,auth\nprobe,nosec\n", "never made by a table"),
        ("name,auth,psk\nlamp,x509,k.hex\n", "does not go with that file"),
        ("name,auth,public_key\nlamp,psk,k.hex\n", "does not go with that file"),
    ],
)
def test_a_table_never_makes_a_device_without_protection_nor_mixes_kinds(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "k.hex").write_text(KEYS[0])
    with pytest.raises(InvalidSettings, match=words):
        read_table(table(tmp_path, text), ES256)


def test_a_weak_key_in_a_table_is_told_by_its_line_and_not_repeated(tmp_path: Path, registrar: Registrar) -> None:
    (tmp_path / "weak.hex").write_text("0102" * 8)
    path = table(tmp_path, "name,auth,psk\nlamp,psk,weak.hex\n")
    with pytest.raises(InvalidSettings, match=r"line 2: .*would be guessed") as caught:
        add_many(path, read_table(path, ES256), tmp_path / "out", registrar, make)
    assert "0102" not in str(caught.value)
