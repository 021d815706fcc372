"""`lockgate device`: added with all it needs, looked at, shut out; wrong use gets one sentence."""

from __future__ import annotations

import os
import shutil
import stat
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.home import Home
from lockgate.store.certificates import certificates
from lockgate.store.messages_db import MessagesDb
from tests.support.certificates import Authority
from tests.support.cli import CommandLine

KINDS = ["jwt-es256", "jwt-rs256", "x509", "password"]


@pytest.mark.parametrize("kind", KINDS)
def test_add_registers_the_device_and_makes_its_folder(lockgate: CommandLine, kind: str) -> None:
    done = lockgate.does("device", "add", "sensor", "--auth", kind, "--out", lockgate.folder / "out")
    folder = lockgate.folder / "out"
    assert "added" in done.out
    assert "mosquitto_sub" in done.out
    assert "mosquitto_pub" in done.out
    assert "insecure" not in done.out
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"ca.pem", "device.json", "README.md"} <= set(os.listdir(folder))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    (facts,) = lockgate.does("device", "list", "--json").json()
    assert (facts["name"], facts["is_blocked"], facts["last_connect"]) == ("sensor", False, None)
    assert [credential["kind"] for credential in facts["credentials"]] == [kind]


def test_no_secret_of_a_device_is_in_the_home_or_in_what_was_printed(lockgate: CommandLine) -> None:
    told = ""
    for kind in KINDS:
        done = lockgate.does("device", "add", f"d-{kind}", "--auth", kind, "--out", lockgate.folder / kind)
        told += done.out + lockgate.does("device", "show", f"d-{kind}").out
    kept = b"".join(path.read_bytes() for path in lockgate.home.rglob("*") if path.is_file())
    for kind in KINDS:
        name = "password" if kind == "password" else "device.key"
        lines = [
            line for line in (lockgate.folder / kind / name).read_bytes().splitlines() if not line.startswith(b"-")
        ]
        for line in filter(None, lines[:3]):
            assert line not in kept
            assert line.decode() not in told


def test_add_as_json_gives_the_command_lines(lockgate: CommandLine) -> None:
    out = lockgate.folder / "out"
    facts = lockgate.does("device", "add", "sensor", "--auth", "x509", "--out", out, "--json").json()
    assert (facts["device"], facts["auth"], facts["folder"]) == ("sensor", "x509", str(out))
    assert facts["subscribe"].startswith("mosquitto_sub -h hub.example -p 8883")


def test_groups_rules_and_the_hubs_name_are_taken(lockgate: CommandLine) -> None:
    lockgate.adds(
        "sensor",
        "jwt-es256",
        "--group",
        "floor1",
        "--publish",
        "out/#",
        "--receive",
        "in/${device}",
        "--hub",
        "127.0.0.1",
    )
    facts = lockgate.does("device", "show", "sensor", "--json").json()
    assert facts["groups"] == ["floor1"]
    assert facts["rules"] == [
        "device:sensor: allow publish out/# (rule 1)",
        "device:sensor: allow receive in/${device} (rule 2)",
    ]
    assert '"host":"127.0.0.1"' in (lockgate.folder / "device-sensor" / "device.json").read_text().replace(": ", ":")


def test_show_tells_rules_of_the_device_its_groups_and_everyone(lockgate: CommandLine) -> None:
    lockgate.adds("sensor", "x509", "--group", "floor1", "--publish", "own")
    lockgate.does("policy", "allow", "--group", "floor1", "--publish", "groups")
    lockgate.does("policy", "deny", "--everyone", "--publish", "all/#")
    out = lockgate.does("device", "show", "sensor").out
    for text in ("groups: floor1", "credential 1: x509, key ", "until ", "devices/sensor/#", "own", "groups", "all/#"):
        assert text in out


def test_list_and_show_tell_what_was_last_seen(lockgate: CommandLine) -> None:
    assert "no devices yet" in lockgate.does("device", "list").out
    lockgate.adds("sensor")
    assert "never" in lockgate.does("device", "list").out
    store = MessagesDb(Home(lockgate.home).messages_path)
    store.save_seen(
        [
            ("sensor", "message", 1_800_000_060.0, ""),
            ("sensor", "connect", 1_800_000_000.0, "by jwt"),
            ("sensor", "error", 1_800_000_001.0, "[/]\x1b[2J"),
        ]
    )
    store.close()
    assert "2027-01-15 08:00:00 UTC" in lockgate.does("device", "list").out
    assert "2027-01-15 08:01:00 UTC" in lockgate.does("device", "list").out
    (facts,) = lockgate.does("device", "list", "--json").json()
    assert (facts["last_message"], facts["last_error"]) == (1_800_000_060.0, 1_800_000_001.0)
    shown = lockgate.does("device", "show", "sensor").out
    assert "last connect: 2027-01-15 08:00:00 UTC  by jwt" in shown
    assert "last error: 2027-01-15 08:00:01 UTC  [/]\\x1b[2J" in shown
    assert lockgate.does("device", "show", "sensor", "--json").json()["seen"]["connect"]["at"] == 1_800_000_000.0


def test_block_unblock_revoke_and_remove_several_at_once(lockgate: CommandLine) -> None:
    for name in ("one", "two"):
        lockgate.adds(name)
    states = []
    for act in ("block", "unblock", "revoke", "remove"):
        assert lockgate.does("device", act, "one").out.count("one") == 1
        facts = lockgate.does("device", act, "two", "--json").json()
        assert [each["device"] for each in facts] == ["two"]
        states.append(
            lockgate.does("device", "list").out.count({"block": "blocked", "revoke": "revoked"}.get(act, "good"))
        )
    assert states == [2, 2, 2, 0]
    assert lockgate.does("device", "list", "--json").json() == []


def test_token_prints_a_token_and_needs_no_home(lockgate: CommandLine) -> None:
    folder = lockgate.adds("sensor")
    shutil.rmtree(lockgate.home)
    token = lockgate.does("device", "token", folder).out.strip()
    assert token.startswith("eyJ")
    assert token.count(".") == 2
    assert lockgate.does("device", "token", folder, "--for", "90s").out != token


# Wrong use


@pytest.mark.parametrize(
    "name", ["", "a/b", "+", "#", "-x", "é", "a b", "a\nb", "lab", "LOCKGATE", "x" * 64, "\x1b[31m", "[/red]"]
)
def test_a_name_that_no_device_can_have_is_refused(lockgate: CommandLine, name: str) -> None:
    done = lockgate("device", "add", "--auth", "x509", "--out", str(lockgate.folder / "out"), "--", name)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "\x1b" not in done.err
    assert not (lockgate.folder / "out").exists()


def test_a_device_that_exists_is_not_added_again(lockgate: CommandLine) -> None:
    lockgate.adds("sensor")
    error = lockgate.refuses("device", "add", "sensor", "--auth", "x509", "--out", lockgate.folder / "again")
    assert "there is a device sensor already" in error
    assert not (lockgate.folder / "again").exists()


def test_a_folder_that_is_not_empty_is_not_touched_and_the_device_not_registered(lockgate: CommandLine) -> None:
    out = lockgate.folder / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    assert "is not empty" in lockgate.refuses("device", "add", "sensor", "--auth", "x509", "--out", out)
    assert os.listdir(out) == ["letter.txt"]
    assert lockgate.does("device", "list", "--json").json() == []


@pytest.mark.parametrize(
    "option",
    [
        ("--publish", "a/#/b"),
        ("--receive", "a+"),
        ("--publish", "x/${groups}"),
        ("--receive", ""),
        ("--publish", "${device"),
        ("--group", "a/b"),
        ("--group", ""),
        ("--hub", "other.example"),
        ("--hub", ""),
        ("--publish", "a/" * 200),
    ],
)
def test_a_filter_group_or_hub_that_cannot_be_is_refused_and_nothing_is_left(
    lockgate: CommandLine, option: tuple[str, str]
) -> None:
    lockgate.refuses("device", "add", "sensor", "--auth", "x509", "--out", lockgate.folder / "out", *option)
    assert not (lockgate.folder / "out").exists()
    assert lockgate.does("device", "list", "--json").json() == []


@pytest.mark.parametrize("command", [("show",), ("block",), ("unblock",), ("revoke",), ("remove",)])
def test_an_unknown_device_is_said_to_be_unknown(lockgate: CommandLine, command: tuple[str, ...]) -> None:
    error = lockgate.refuses("device", *command, "nobody")
    assert "there is no device nobody" in error
    assert "lockgate device list" in error


@pytest.mark.parametrize(
    ("content", "words"), [(None, "is not a device's folder"), ("{", "is damaged"), ('{"version": 9}', "version 9")]
)
def test_a_folder_that_is_none_gives_no_token(lockgate: CommandLine, content: str | None, words: str) -> None:
    folder = lockgate.folder / "x"
    folder.mkdir()
    if content is not None:
        (folder / "device.json").write_text(content)
    assert words in lockgate.refuses("device", "token", folder)


@pytest.mark.parametrize("lifetime", ["", "1", "1y", "-1h", "0s", "25h", "99999999999h", "1.5h"])
def test_a_lifetime_that_cannot_be_is_refused(lockgate: CommandLine, lifetime: str) -> None:
    folder = lockgate.adds("sensor")
    done = lockgate("device", "token", folder, f"--for={lifetime}")
    assert done.code == 1
    assert done.err.startswith("error: ")


def test_a_device_without_a_key_for_tokens_gets_none(lockgate: CommandLine) -> None:
    assert "not by tokens" in lockgate.refuses("device", "token", lockgate.adds("kettle", "password"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("add",),
        ("add", "x"),
        ("add", "x", "--auth", "magic", "--out", "y"),
        ("block",),
        ("token",),
        ("fly",),
        ("add", "x", "--fly"),
    ],
)
def test_missing_and_unknown_arguments_are_wrong_usage(lockgate: CommandLine, arguments: tuple[str, ...]) -> None:
    lockgate.misused("device", *arguments)


# Whatever the arguments

ANYTHING = st.text(st.characters(exclude_characters="\x00"), max_size=12)
FILTERS = st.lists(
    st.sampled_from(["a", "+", "#", "$x", "${device}", "${", "[/x]", "\x1b", "é", "\udcff", ""]), max_size=4
).map("/".join)
SHARED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60, database=None
)


@SHARED
@given(name=ANYTHING, pattern=ANYTHING | FILTERS)
def test_no_name_and_no_filter_makes_a_traceback(lockgate: CommandLine, name: str, pattern: str) -> None:
    out = lockgate.folder / "out"
    done = lockgate(
        "device",
        "add",
        "--auth",
        "password",
        f"--out={out}",
        f"--publish={pattern}",
        f"--receive={pattern}",
        "--",
        name,
    )
    assert done.code in (0, 1)
    assert "\x1b" not in done.out + done.err
    assert (done.code == 0) == out.exists()
    if done.code == 0:
        shown = lockgate("device", "show", "--", name)
        assert shown.code == 0
        assert lockgate("policy", "list").code == 0
        lockgate.does("device", "remove", "--", name)
        shutil.rmtree(out)
    else:
        assert 1 <= len(done.err.splitlines()) <= 2


@SHARED
@given(
    arguments=st.lists(
        ANYTHING | st.sampled_from(["show", "list", "token", "block", "--json", "--home", "--"]), max_size=4
    )
)
def test_no_arguments_make_a_traceback(lockgate: CommandLine, arguments: list[str]) -> None:
    done = lockgate("device", *arguments)
    assert done.code in (0, 1, 2)
    assert (done.code == 0) == (done.err == "") or not arguments


def test_an_argument_that_is_no_utf_8_is_refused(lockgate: CommandLine) -> None:
    assert "no text in UTF-8" in lockgate.refuses("device", "show", "\udcff")


@pytest.mark.parametrize("kind", [*KINDS, "scram-sha-256"])
def test_rotate_makes_a_new_secret_and_lets_the_old_one_end(lockgate: CommandLine, kind: str) -> None:
    old = lockgate.adds("sensor", kind)
    out = lockgate.folder / "new"
    facts = lockgate.does("device", "rotate", "sensor", "--out", out, "--overlap", "2h", "--json").json()
    assert (facts["auth"], facts["ending"]) == (kind, 1)
    first, second = lockgate.does("device", "show", "sensor", "--json").json()["credentials"]
    assert first["expires_at"] == pytest.approx(facts["old_until"], abs=60)
    assert second["kind"] == kind
    assert second["expires_at"] is None or kind == "x509"
    name = "password" if kind in ("password", "scram-sha-256") else "device.key"
    assert (old / name).read_bytes() != (out / name).read_bytes()


def test_rotate_gives_a_revoked_device_a_way_in_again(lockgate: CommandLine) -> None:
    lockgate.adds("sensor")
    lockgate.does("device", "revoke", "sensor")
    out = lockgate.folder / "new"
    assert "older" not in lockgate.does("device", "rotate", "sensor", "--out", out, "--auth", "x509").out
    assert "good" in lockgate.does("device", "list").out
    assert "no device" in lockgate.refuses("device", "rotate", "nobody", "--out", lockgate.folder / "x")
    assert not (lockgate.folder / "x").exists()


@pytest.mark.requirement("F15", "I4")
def test_a_device_may_bring_its_own_key_or_request_and_no_key_is_made_for_it(lockgate: CommandLine) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = lockgate.folder / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    out = lockgate.adds("own", "jwt-es256", "--public-key", str(public))
    assert not (out / "device.key").exists()
    assert "made its key itself" in (out / "README.md").read_text()
    again = lockgate.refuses(
        "device", "add", "thief", "--auth", "jwt-es256", "--public-key", public, "--out", lockgate.folder / "thief"
    )
    assert "registered to another device" in again
    assert not (lockgate.folder / "thief").exists()
    other = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything")])
    asked = lockgate.folder / "device.csr"
    asked.write_bytes(
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(other, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    out = lockgate.adds("asked", "x509", "--csr", str(asked), "--format", "nvs")
    issued = x509.load_pem_x509_certificate((out / "device.crt").read_bytes())
    assert issued.public_key() == other.public_key()
    assert "device:asked" in str(issued.extensions)
    assert "key_pem,file,string" in (out / "nvs.csv").read_text()
    for kind, option, path in (
        ("x509", "--public-key", public),
        ("jwt-es256", "--csr", asked),
        ("password", "--csr", asked),
    ):
        told = lockgate.refuses("device", "add", "x", "--auth", kind, option, path, "--out", lockgate.folder / "x")
        assert "brings" in told
    broken = lockgate.folder / "broken.csr"
    broken.write_text("no request")
    lockgate.refuses("device", "add", "x", "--auth", "x509", "--csr", broken, "--out", lockgate.folder / "x")
    broken.write_bytes(b"\xff")
    lockgate.refuses("device", "add", "x", "--auth", "x509", "--csr", broken, "--out", lockgate.folder / "x")
    lockgate.refuses("device", "add", "x", "--auth", "x509", "--metadata", "k", "--out", lockgate.folder / "x")


@pytest.mark.requirement("I2")
def test_a_guessable_password_is_refused_and_a_good_one_taken(lockgate: CommandLine) -> None:
    chosen = lockgate.folder / "chosen"

    def add(name: str, password: str) -> tuple[str | Path, ...]:
        chosen.write_text(password + "\n")
        out = lockgate.folder / f"out-{name}"
        return (
            "device", "add", name, "--auth", "password", "--password-file", chosen, "--metadata", "serial=SN4711",
            "--out", out,
        )  # fmt: skip

    for password in ("admin", "kettle", "SN4711", "elttek1234567"):
        told = lockgate.refuses(*add("kettle", password))
        assert "SN4711" not in told
    lockgate.does(*add("kettle", "vJ8#qLw2!zRt"))
    assert (lockgate.folder / "out-kettle" / "password").read_text() == "vJ8#qLw2!zRt"
    assert "vJ8#qLw2" not in lockgate.does("device", "show", "kettle").out
    assert "serial: SN4711" in lockgate.does("device", "show", "kettle").out


@pytest.mark.requirement("I2")
def test_names_that_count_up_are_flagged(lockgate: CommandLine) -> None:
    lockgate.adds("cam-009")
    out = lockgate.folder / "next"
    done = lockgate("device", "add", "cam-010", "--auth", "jwt-es256", "--out", out)
    assert done.code == 0
    assert "counts up" in done.err
    facts = lockgate.does(
        "device", "add", "other", "--auth", "jwt-es256", "--out", out.with_name("n3"), "--json"
    ).json()
    assert facts["warnings"] == []


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("form", ["one", "table"])
def test_a_request_that_is_refused_leaves_no_certificate_on_record(lockgate: CommandLine, form: str) -> None:
    def request(name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        path = lockgate.folder / f"{name}.csr"
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    shared = ec.generate_private_key(ec.SECP256R1())
    lockgate.adds("first", "x509", "--csr", str(request("first", shared)))
    paths = request("second", shared), request("weak", ec.derive_private_key(1, ec.SECP256R1()))
    out = lockgate.folder / "out"
    if form == "table":
        twice = request("twice", ec.generate_private_key(ec.SECP256R1()))
        table = lockgate.folder / "devices.csv"
        rows = "\n".join(f"{path.stem},{path.name}" for path in (*paths, twice))
        table.write_text(f"name,csr\n{rows}\nagain,{twice.name}\n")
        told = lockgate.refuses("device", "add-many", table, "--auth", "x509", "--out", out)
        for words in ("line 2: ", "another device", "line 3: ", "is published", "line 5: ", "another line's"):
            assert words in told
        assert "line 4" not in told
    else:
        for path, words in zip(paths, ("another device", "is published"), strict=True):
            told = lockgate.refuses("device", "add", path.stem, "--auth", "x509", "--csr", path, "--out", out)
            assert words in told
        lockgate.refuses("device", "add", "third", "--auth", "x509", "--publish", "a/#/b", "--out", out)
    assert not out.exists()
    with Home.open(lockgate.home).registry(read_only=True) as registry:
        assert {each.subject for each in certificates(registry)} == {"authority", "server", "device:first"}


def test_what_is_remembered_about_a_device_may_change(lockgate: CommandLine) -> None:
    lockgate.adds("lamp", "jwt-es256", "--metadata", "site=north", "--metadata", "serial=7")
    told = lockgate.does("device", "describe", "lamp", "--metadata", "site=south", "--forget", "serial").out
    assert told == "described lamp: site\n"
    facts = lockgate.does("device", "describe", "lamp", "--metadata", "owner=Anna Berg", "--json").json()
    assert facts == {"device": "lamp", "metadata": {"site": "south", "owner": "Anna Berg"}}
    assert "owner: Anna Berg" in lockgate.does("device", "show", "lamp").out
    lockgate.refuses("device", "describe", "nobody", "--forget", "x")
    lockgate.refuses("device", "describe", "lamp", "--metadata", "x=\x07")
    lockgate.misused("device", "describe", "lamp")


# Certificates from elsewhere


@pytest.fixture
def plant(lockgate: CommandLine) -> Authority:
    authority = Authority("Plant CA")
    (lockgate.folder / "plant.pem").write_bytes(authority.pem)
    lockgate.does("ca", "trust", lockgate.folder / "plant.pem")
    return authority


def test_a_certificate_of_a_trusted_ca_is_registered_without_a_folder(lockgate: CommandLine, plant: Authority) -> None:
    certificate, _ = plant.issue("SN-1").write(lockgate.folder, "one")
    options = ("--auth", "x509", "--certificate", certificate)
    said = lockgate.does("device", "add", "pump", *options).out
    assert "its key stays where it is" in said
    assert str(lockgate.home / "ca" / "root.crt") in said
    assert "mosquitto_pub -h hub.example -p 8883 --cafile root.crt --cert device.crt --key device.key" in said
    (credential,) = lockgate.does("device", "show", "pump", "--json").json()["credentials"]
    assert credential["kind"] == "x509"
    assert "is registered to another device" in lockgate("device", "add", "valve", *map(str, options)).err
    second, _ = plant.issue("SN-2").write(lockgate.folder, "two")
    facts = lockgate.does("credential", "add", "pump", "--auth", "x509", "--certificate", second, "--json").json()
    assert (facts["folder"], facts["kind"]) == (None, "x509")
    third, _ = plant.issue("SN-3").write(lockgate.folder, "three")
    told = lockgate.does(
        "device", "add", "fan", "--auth", "x509", "--certificate", third, "--hub", "127.0.0.1", "--json"
    ).json()
    assert told["folder"] is None
    assert told["publish"].startswith("mosquitto_pub -h 127.0.0.1")


def test_a_certificate_of_a_trusted_ca_goes_into_a_folder_where_one_is_wanted(
    lockgate: CommandLine, plant: Authority
) -> None:
    certificate, _ = plant.issue("SN-1").write(lockgate.folder, "one")
    out = lockgate.folder / "out"
    lockgate.does("device", "add", "pump", "--auth", "x509", "--certificate", certificate, "--out", out)
    assert sorted(os.listdir(out)) == ["README.md", "ca.pem", "device.crt", "device.json"]
    assert (out / "device.crt").read_bytes() == certificate.read_bytes()


def test_a_certificate_that_would_not_be_believed_is_not_registered(lockgate: CommandLine, plant: Authority) -> None:
    certificate, _ = Authority("Another CA").issue("SN-1").write(lockgate.folder, "one")
    done = lockgate("device", "add", "pump", "--auth", "x509", "--certificate", str(certificate))
    assert (done.code, "lockgate ca trust CA.pem" in done.err) == (1, True)
    done = lockgate("device", "add", "pump", "--auth", "jwt-es256", "--certificate", str(certificate))
    assert (done.code, "brings a public key, not a certificate" in done.err) == (1, True)
    done = lockgate("device", "add", "pump", "--auth", "x509")
    assert (done.code, "--out" in done.err) == (2, True)
    assert lockgate.does("device", "list", "--json").json() == []


def test_a_table_takes_certificates_and_names_the_line_of_a_wrong_one(lockgate: CommandLine, plant: Authority) -> None:
    plant.issue("SN-1").write(lockgate.folder, "one")
    Authority("Another CA").issue("SN-2").write(lockgate.folder, "two")
    table = lockgate.folder / "table.csv"
    table.write_text("name,auth,certificate\npump,x509,one.pem\nfan,x509,two.pem\n")
    done = lockgate("device", "add-many", str(table), "--out", str(lockgate.folder / "many"))
    assert (done.code, "line 3: the certificate" in done.err, "line 2" in done.err) == (1, True, False)
    table.write_text("name,auth,certificate\npump,x509,one.pem\nfan,jwt-es256,two.pem\n")
    done = lockgate("device", "add-many", str(table), "--out", str(lockgate.folder / "many"))
    assert "csr and certificate are for x509" in done.err
    table.write_text("name,auth,certificate\npump,x509,one.pem\n")
    lockgate.does("device", "add-many", table, "--out", lockgate.folder / "many")
    assert (lockgate.folder / "many" / "pump" / "device.crt").read_bytes() == (lockgate.folder / "one.pem").read_bytes()


COAP_KINDS = ["psk", "rpk", "oscore"]


def opens_plain_coap(lockgate: CommandLine) -> None:
    with Home(lockgate.home).settings_path.open("a") as settings:
        settings.write("\n[coap]\nnosec_enabled = true\noscore_enabled = true\n")


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("kind", COAP_KINDS)
def test_a_device_for_coap_is_added_rotated_and_shown_and_no_secret_is_told(lockgate: CommandLine, kind: str) -> None:
    opens_plain_coap(lockgate)
    out, renewed = lockgate.folder / "out", lockgate.folder / "renewed"
    told = lockgate.does("device", "add", "lamp", "--auth", kind, "--out", out).out
    assert "coaps://hub.example:5684" in told or "coap://hub.example:5683" in told
    told += lockgate.does("device", "rotate", "lamp", "--out", renewed).out
    assert ("the new key has an identity of its own: lamp/" in told) == (kind == "psk")
    told += lockgate.does("device", "show", "lamp").out + lockgate.does("device", "show", "lamp", "--json").out
    told += lockgate.does("credential", "list", "--all").out + lockgate.does("audit", "export").out
    (facts,) = lockgate.does("device", "list", "--json").json()
    assert [each["kind"] for each in facts["credentials"]] == [kind, kind]
    kept = b"".join(path.read_bytes() for path in lockgate.home.rglob("*") if path.is_file())
    for folder in (out, renewed):
        for secret in secrets_in(folder, kind):
            assert secret.hex() not in told
            assert secret not in kept
            assert secret.hex().encode() not in kept
            assert secret.decode("latin-1") not in told
            assert b64encode(secret) not in kept


def secrets_in(folder: Path, kind: str) -> list[bytes]:
    if kind == "psk":
        return [(folder / "psk").read_bytes()]
    if kind == "rpk":
        return [line for line in (folder / "device.key").read_bytes().splitlines()[1:3] if line]
    found = msgspec.json.decode((folder / "oscore" / "settings.json").read_bytes())
    return [bytes.fromhex(found["secret_hex"]), bytes.fromhex(found["salt_hex"])]


def test_each_pre_shared_key_of_a_device_has_an_identity_of_its_own(lockgate: CommandLine) -> None:
    identities = []
    for number, command in enumerate(("add lamp --auth psk", "rotate lamp", "rotate lamp --auth psk")):
        out = lockgate.folder / str(number)
        lockgate.does("device", *command.split(), "--out", out)
        identities.append(msgspec.json.decode((out / "device.json").read_bytes())["psk_identity"])
    assert identities[0] == "lamp"
    assert all(each.startswith("lamp/") for each in identities[1:])
    assert len(set(identities)) == 3


def test_a_pre_shared_key_that_is_brought_is_taken_when_it_is_strong(lockgate: CommandLine) -> None:
    file, out = lockgate.folder / "key.hex", lockgate.folder / "out"
    add = ("device", "add", "lamp", "--auth", "psk", "--psk-file", file, "--out", out)
    for weak in ("00" * 16, "0102" * 16, b"secretPSK".hex(), "not hexadecimal at all"):
        file.write_text(weak)
        assert weak not in lockgate.refuses(*add)
        assert not out.exists()
    file.write_text("9f1c05b7e2d84a63b0f5de7713a84c2f\n")
    lockgate.does(*add)
    assert (out / "psk").read_bytes().hex() == "9f1c05b7e2d84a63b0f5de7713a84c2f"


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    "words",
    [
        "--auth nosec",
        "--auth nosec --address 192.0.2.7",
        "--auth nosec --accept-no-security",
        "--auth psk --accept-no-security",
        "--auth psk --address 192.0.2.7",
    ],
)
def test_a_device_without_protection_is_never_made_by_half_a_command(lockgate: CommandLine, words: str) -> None:
    lockgate.misused("device", "add", "probe", *words.split(), "--out", lockgate.folder / "out")
    assert lockgate.does("device", "list", "--json").json() == []


@pytest.mark.parametrize(
    "command", ["device rotate lamp --auth nosec", "credential add lamp --auth nosec", "device add-many x --auth nosec"]
)
def test_no_other_command_makes_one(lockgate: CommandLine, command: str) -> None:
    lockgate.adds("lamp")
    lockgate.misused(*command.split(), "--out", lockgate.folder / "out")


def test_a_device_without_protection_is_made_with_a_loud_warning_where_its_door_is_open(lockgate: CommandLine) -> None:
    add = ("device", "add", "probe", "--auth", "nosec", "--address", "192.0.2.7", "--accept-no-security")
    assert "needs a CoAP door that is not open" in lockgate.refuses(*add)
    opens_plain_coap(lockgate)
    done = lockgate(*add)
    assert (done.code, "no protection at all" in done.err) == (0, True)
    assert "coap-client-notls" in done.out
    (facts,) = lockgate.does("device", "list", "--json").json()
    assert facts["credentials"][0]["thumbprint"] == "address-192.0.2.7"
    again = ("device", "add", "other", *add[3:])
    assert "is the address of probe" in lockgate.refuses(*again)
    assert "no secret that could be renewed" in lockgate.refuses(
        "device", "rotate", "probe", "--out", lockgate.folder / "out"
    )
    lockgate.does("device", "rotate", "probe", "--auth", "psk", "--out", lockgate.folder / "out")


def test_a_device_with_a_raw_key_knows_the_hub_by_one_that_outlasts_its_certificate(lockgate: CommandLine) -> None:
    out = [lockgate.folder / name for name in ("one", "two")]
    lockgate.does("device", "add", "one", "--auth", "rpk", "--out", out[0])
    lockgate.does("server-cert", "rotate")
    lockgate.does("device", "add", "two", "--auth", "rpk", "--out", out[1])
    assert (out[0] / "hub.pub.pem").read_bytes() == (out[1] / "hub.pub.pem").read_bytes()
    assert (out[0] / "hub.pub.pem").read_bytes() == Home(lockgate.home).raw_public_pem()
