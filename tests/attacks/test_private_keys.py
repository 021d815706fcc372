"""The threat: a device's key, password or token lies about where somebody else can read it.

They exist in the device's folder alone (0700, its files 0600), tokens nowhere: not in the databases, not in the log,
not in what any command prints, not in the process list. And the CA's keys are opened by the command line, never by the
gate.
"""

from __future__ import annotations

import base64
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from paho.mqtt.enums import CallbackAPIVersion

from lockgate.model.device import CredentialKind
from lockgate.provision.coap_folder import PSK_FILE
from lockgate.provision.folder import DEVICE_FILE, KEY_FILE, PASSWORD_FILE
from lockgate.registry.vault import SECRETS_FILE
from tests.support.hub import RunningHub, run_lockgate
from tests.support.mqttjs import SCRIPT
from tests.support.paho_peer import PahoPeer
from tests.support.peers import WAIT_SECONDS, program
from tests.support.watch import OpenedFiles, ProcessList

pytestmark = pytest.mark.process
PASSPHRASE = "a passphrase that only this test knows 27182818284590"
KINDS = tuple(kind.value for kind in CredentialKind if not kind.is_for_coap_alone)
COAP_KINDS = ("psk", "rpk")


def spellings(secret: bytes) -> Iterator[bytes]:
    """Give the ways in which bytes may be written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")
    yield str(int.from_bytes(secret, "big")).encode()


def secrets_in(folder: Path) -> set[bytes]:
    """Give what must be nowhere but in a device's folder."""
    found: set[bytes] = set()
    if (folder / PASSWORD_FILE).exists():
        found.update(spellings((folder / PASSWORD_FILE).read_bytes()))
    if (folder / PSK_FILE).exists():
        found.update(spellings((folder / PSK_FILE).read_bytes()))
    if (folder / KEY_FILE).exists():
        found |= secrets_of(folder / KEY_FILE)
    return found


def secrets_of(path: Path) -> set[bytes]:
    """Give what must be nowhere but in the file of a private key."""
    found: set[bytes] = set()
    pem = path.read_bytes()
    if path.name == SECRETS_FILE:
        keys = [base64.b64decode(line.split()[1]) for line in pem.splitlines() if not line.startswith(b"#")]
        return {spelling for key in keys for spelling in spellings(key)}
    key = load_pem_private_key(pem, None)
    lines = pem.split(b"\n")
    # The body's first line is the same for all keys of a kind, and an EC key's last is its public half; an Ed25519
    # key's body has one line only, which holds all of it.
    found.add(lines[1] if isinstance(key, ed25519.Ed25519PrivateKey) else lines[2])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        found.update(spellings(key.private_numbers().private_value.to_bytes(32, "big")))
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        found.update(spellings(key.private_bytes_raw()))
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        numbers = key.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q):
            found.update(spellings(number.to_bytes((number.bit_length() + 7) // 8, "big")))
    return found


def act(hub: RunningHub, name: str, kind: str) -> tuple[Path, set[bytes], list[bytes]]:
    """Provision a device, use it well and badly; give its folder, its secrets, and what commands printed of it."""
    folder = hub.folder / name
    json = ["--json"] if kind == "password" else []
    done = hub.lockgate("device", "add", name, "--auth", kind, "--out", str(folder), "--hub", "localhost", *json)
    printed = [done.stdout.encode(), done.stderr.encode()]
    secrets = secrets_in(folder)
    shown = ""
    if kind.startswith("jwt"):
        for life in ("1h", "1s"):
            shown = hub.token(folder, life)
            secrets |= {shown.encode(), shown.rpartition(".")[2].encode()}
    elif (folder / PASSWORD_FILE).exists():
        shown = (folder / PASSWORD_FILE).read_text()
    if kind == "scram-sha-256":
        printed += use_by_node(hub, folder, name)
    else:
        use_by_paho(hub, folder, name)
    if shown:
        mistakes = ((name, shown + "x"), (shown, ""), (shown, shown), ("somebody", shown))
        for mistake in mistakes:
            knock(folder, hub.port, mistake)
        knock_at_the_lab(hub.lab_port, (shown, shown))
    return folder, secrets, printed


def use_by_paho(hub: RunningHub, folder: Path, name: str) -> None:
    """Use a device well and badly."""
    with PahoPeer(folder, hub.port, will=(f"devices/{name}/will", "w"), expiry=3600) as peer:
        peer.subscribe(f"devices/{name}/#", 2)
        for qos in (0, 1, 2):
            peer.client.publish(f"devices/{name}/x", "payload", qos, retain=True)
        assert peer.publish("not/mine", "payload") == 0x87
        peer.wait_for(3)


def use_by_node(hub: RunningHub, folder: Path, name: str) -> list[bytes]:
    """Use a device by SCRAM, which paho does not speak, well and badly; give what its program printed."""
    facts = msgspec.json.decode((folder / DEVICE_FILE).read_bytes())
    (folder / DEVICE_FILE).write_bytes(msgspec.json.encode({**facts, "port": hub.port}))
    packages = folder / "node_modules"
    packages.symlink_to(SCRIPT.parent / "node_modules")
    said = []
    for topic, code in ((f"devices/{name}/x", 0), ("not/mine", 1)):
        line = [program("node"), "client.mjs", "publish", topic, "payload"]
        done = subprocess.run(line, cwd=folder, capture_output=True, timeout=WAIT_SECONDS)
        assert done.returncode == code, done.stderr
        said += [done.stdout, done.stderr]
    packages.unlink()
    return said


def knock(folder: Path, port: int, secret: tuple[str, str]) -> None:
    """Connect with what a hurried person may have put into the two fields; whatever comes of it."""
    peer = PahoPeer(folder, port, secret=secret, suffix="mistaken")
    peer.gives_up = True
    peer.connect()
    peer.close()


def knock_at_the_lab(port: int, secret: tuple[str, str]) -> None:
    """Show a secret at the lab door, which takes everybody and forgets what it was shown."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "visitor")
    client.username_pw_set(*secret)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("lab/x", "x", 1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


@pytest.mark.requirement("I3", "F10")
def test_no_secret_of_a_device_is_anywhere_but_in_its_folder(tmp_path: Path) -> None:
    secrets: set[bytes] = set()
    outputs: list[bytes] = []
    with ProcessList() as processes, RunningHub(tmp_path, lab=True, settings='[log]\nlevel = "debug"\n') as hub:
        for kind in KINDS:
            folder, found, printed = act(hub, f"some-{kind}", kind)
            assert found
            secrets |= found
            outputs += printed
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        for kind in COAP_KINDS:
            for verb in ("add", "rotate"):
                folder = tmp_path / f"{verb}-{kind}"
                words = (verb, f"some-{kind}", "--auth", kind, "--out", str(folder), "--hub", "localhost")
                done = hub.lockgate("device", *words)
                outputs += [done.stdout.encode(), done.stderr.encode()]
                secrets |= secrets_in(folder)
        hub.wait_for_refusal("not authorized: no rule allows it")
        names = [f"some-{kind}" for kind in (*KINDS, *COAP_KINDS)]
        passphrase = tmp_path / "passphrase"
        passphrase.write_text(PASSPHRASE)
        commands = [
            *(("device", "show", name, *json) for name in names for json in ((), ("--json",))),
            *(("device", "list", *json) for json in ((), ("--json",))),
            *(("policy", "list", *json) for json in ((), ("--json",))),
            *(("why", "--last", "1000", *json) for json in ((), ("--json",))),
            ("policy", "explain", names[0], "publish", "not/mine", "--json"),
            ("device", "add", names[0], "--auth", "x509", "--out", str(tmp_path / "again"), "--hub", "localhost"),
            ("device", "block", names[0]),
            ("device", "unblock", names[0], "--json"),
            ("device", "revoke", names[1]),
            ("device", "remove", names[2], "--json"),
            ("server-cert", "show"),
            ("server-cert", "renew", "--json"),
            ("ca", "show"),
            ("ca", "show", "--json"),
            ("credential", "list", "--all"),
            ("credential", "list", "--json"),
            ("credential", "reseal", "--json"),
            ("scan", "--json"),
            ("group", "add", "some-group"),
            ("group", "join", "some-group", names[0]),
            ("group", "show", "some-group", "--json"),
            ("device", "rotate", names[0], "--out", str(tmp_path / "rotated"), "--hub", "localhost", "--json"),
            ("audit", "verify", "--json"),
            ("audit", "export"),
            ("backup", str(tmp_path / "backup"), "--passphrase-file", str(passphrase), "--json"),
        ]
        for command in commands:
            done = hub.lockgate(*command, check=False)
            outputs += [done.stdout.encode(), done.stderr.encode()]
        secrets |= secrets_in(tmp_path / "rotated") | {PASSPHRASE.encode()}
        secrets |= {secret for path in hub.home.rglob("*.key") for secret in secrets_of(path)}
        spoilt = tmp_path / "spoilt"
        spoilt.mkdir(0o700)
        for file in (tmp_path / names[0]).iterdir():
            content = file.read_bytes()
            (spoilt / file.name).write_bytes(content[:-40] if file.name == KEY_FILE else content)
        done = run_lockgate("device", "token", str(spoilt), check=False)
        assert done.returncode == 1, "a damaged key is refused, and not shown"
        outputs += [done.stdout.encode(), done.stderr.encode()]
        places = {path.name: path.read_bytes() for path in hub.home.rglob("*") if path.is_file()}
        assert {"registry.db", "messages.db", "messages.db-wal"} <= set(places), "read while the hub runs"
    places |= {f"{path.name} at the end": path.read_bytes() for path in hub.home.rglob("*") if path.is_file()}
    places = {name: content for name, content in places.items() if not name.partition(" ")[0].endswith(".key")}
    places["the log"] = hub.log_path.read_bytes()
    places["the backup"] = (tmp_path / "backup").read_bytes()
    places["the outputs"] = b"\n".join(outputs)
    places["the process list"] = b"\n".join(processes.seen)
    assert b"some-password" in places["the outputs"]
    assert b"some-group" in places["the backup"], "what is stored without keys is readable: it can be searched"
    assert b"client.connected" in places["the log"]
    assert b"lockgate\0device\0add" in places["the process list"]
    leaks = {(place, secret[:12]) for place, content in places.items() for secret in secrets if secret in content}
    assert leaks == set()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[tuple[RunningHub, dict[str, Path]]]:
    """A hub that knows devices of every kind and does not run yet."""
    hub = RunningHub(tmp_path)
    hub.start()
    folders = {kind: hub.add_device(f"some-{kind}", kind) for kind in KINDS}
    hub.stop()
    yield hub, folders
    hub.stop()


def serve(hub: RunningHub, folders: dict[str, Path]) -> None:
    """Start the hub, serve a device of each kind, refuse, follow changes, stop."""
    hub.start()
    for kind, folder in folders.items():
        if kind == "scram-sha-256":
            use_by_node(hub, folder, f"some-{kind}")
            continue
        with PahoPeer(folder, hub.port) as peer:
            assert peer.publish(f"devices/some-{kind}/x", "served") == 0x10
            assert peer.publish("not/mine", "refused") == 0x87
    hub.lockgate("device", "block", "some-x509")
    hub.lockgate("server-cert", "show", check=False)
    hub.wait_for_refusal("not authorized: no rule allows it")
    assert hub.stop() == 0


def test_the_gate_never_opens_a_key_of_the_ca(stopped: tuple[RunningHub, dict[str, Path]]) -> None:
    hub, folders = stopped
    hub.lockgate("ca", "rotate")  # so that there is an older one, too
    with OpenedFiles(hub.home / "ca") as opened, OpenedFiles(hub.home / "ca" / "old") as older:
        serve(hub, folders)
        assert older.names() == set()
        assert "bundle.crt" in opened.names(), "the watch sees what is opened"
        assert {name for name in opened.names() if name.endswith(".key")} == set()
        hub.start()
        hub.add_device("proof", "x509")
        assert "issuing.key" in opened.names(), "and would have seen a key"


def test_the_gate_serves_without_the_keys_of_the_ca(stopped: tuple[RunningHub, dict[str, Path]]) -> None:
    hub, folders = stopped
    for name in ("issuing.key", "root.key"):
        (hub.home / "ca" / name).rename(hub.folder / name)
    (hub.home / "ca" / "old").mkdir(mode=0o700)
    (hub.home / "ca" / "old" / "0123456789abcdef.crt").write_bytes((hub.home / "ca" / "issuing.crt").read_bytes())
    serve(hub, folders)
