"""Trust changes under a running hub: nobody is dropped, new handshakes see the new, old tickets fall back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockgate.ca.desk import Desk
from lockgate.home import Home
from lockgate.pki.revocation import Known, make_staple
from lockgate.provision.folder import CERTIFICATE_FILE, KEY_FILE
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer
from tests.support.peers import WAIT_SECONDS, program

pytestmark = pytest.mark.process
KINDS = ("x509", "jwt-es256", "password")
VERSIONS = ("-tls1_2", "-tls1_3")


def s_client(hub: RunningHub, *words: str) -> str:
    """Shake hands by openssl, until the hub ends what is no MQTT; give all that openssl said."""
    base = ["s_client", "-connect", f"127.0.0.1:{hub.port}", "-CAfile", str(hub.ca_path), "-verify_return_error"]
    done = subprocess.run(
        [program("openssl"), *base, "-ign_eof", *words], input=b"\xff\xff\xff\xff\xff\xff",
        capture_output=True, timeout=WAIT_SECONDS + 5, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode(errors="replace")


def issuer(hub: RunningHub) -> str:
    """Give the line in which openssl names the issuer of the hub's certificate."""
    return next(line for line in s_client(hub).splitlines() if line.startswith("issuer="))


@contextmanager
def desk_of(hub: RunningHub) -> Iterator[Desk]:
    home = Home(hub.home)
    with home.registry() as registry:
        yield Desk(home, registry, "a test")


@pytest.fixture
def live(hub: RunningHub, request: pytest.FixtureRequest) -> Iterator[list[PahoPeer]]:
    """A connected device of each kind; all hear what any of them says under line/#."""
    mark = abs(hash(request.node.name)) % 10**8
    peers = []
    for kind in KINDS:
        folder = hub.add_device(f"live-{kind}-{mark}", kind, "--publish", "line/#", "--receive", "line/#")
        peer = PahoPeer(folder, hub.port)
        peer.connect()
        peer.subscribe("line/#")
        peers.append(peer)
    yield peers
    for peer in peers:
        peer.close()


def nobody_was_dropped(live: list[PahoPeer]) -> None:
    """See that all connections are the same as before, and that each hears each."""
    for peer in live:
        peer.heard.clear()
    for number, peer in enumerate(live):
        assert peer.publish("line/x", f"from {number}") in (0, 0x10)
    for peer in live:
        peer.wait_for(len(live))
        assert {heard.payload for heard in peer.heard} == {f"from {number}".encode() for number in range(len(live))}
        assert peer.ends == []
        assert len(peer.answers) == 1


def tickets(hub: RunningHub, folder: Path) -> dict[str, Path]:
    """Get a ticket of each version, and see that it is good."""
    found = {}
    for version in VERSIONS:
        found[version] = folder / f"ticket{version}"
        s_client(hub, version, "-sess_out", str(found[version]))
        assert "Reused, TLSv1" in s_client(hub, version, "-sess_in", str(found[version]))
    return found


def fall_back(hub: RunningHub, old: dict[str, Path]) -> bool:
    said = [s_client(hub, version, "-sess_in", str(path)) for version, path in old.items()]
    return all("New, TLSv1" in each and "Verify return code: 0 (ok)" in each for each in said)


@pytest.mark.requirement("T13")
@pytest.mark.parametrize(
    ("rotate", "is_new_issuer"),
    [(("ca", "rotate"), True), (("server-cert", "rotate"), False), (("server-cert", "rotate-tickets"), False)],
    ids=["issuing CA", "server certificate", "ticket keys"],
)
def test_a_rotation_drops_nobody_and_old_tickets_fall_back(
    hub: RunningHub, live: list[PahoPeer], tmp_path: Path, rotate: tuple[str, ...], is_new_issuer: bool
) -> None:
    old, before, pid = tickets(hub, tmp_path), issuer(hub), hub.pid
    hub.lockgate(*rotate)
    eventually(lambda: fall_back(hub, old), 10.0, "the new ticket keys")
    assert (issuer(hub) != before) is is_new_issuer
    nobody_was_dropped(live)
    tickets(hub, tmp_path)
    assert hub.pid == pid


def test_devices_of_the_old_ca_come_in_until_it_is_retired(hub: RunningHub) -> None:
    old = hub.add_device("of-the-old-ca", "x509")
    before = issuer(hub)
    with desk_of(hub) as desk:
        old_id = desk.issuing.thumbprint
    hub.lockgate("ca", "rotate")
    eventually(lambda: issuer(hub) != before, what="the new chain")
    new = hub.add_device("of-the-new-ca", "x509")
    steady = PahoPeer(new, hub.port)
    assert steady.connect()[0] == 0
    for folder in (old, new):
        with PahoPeer(folder, hub.port, suffix="again") as peer:
            assert peer.answers[0][0] == 0
    leaving = PahoPeer(old, hub.port)
    leaving.gives_up = True
    leaving.connect()
    hub.lockgate("ca", "retire", old_id, "--force")
    leaving.wait_for_end()
    shown = ("-cert", str(old / CERTIFICATE_FILE), "-key", str(old / KEY_FILE))
    eventually(lambda: "unknown ca" in s_client(hub, *shown, "-tls1_2"), what="the end of the old CA")
    assert steady.ends == []
    steady.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revoked_certificate_is_refused_by_tls_with_its_alert(hub: RunningHub, version: str) -> None:
    name = f"stolen{version.replace('_', '-')}"
    folder = hub.add_device(name, "x509")
    shown = ("-cert", str(folder / CERTIFICATE_FILE), "-key", str(folder / KEY_FILE), version)
    assert "alert" not in s_client(hub, *shown)
    hub.lockgate("device", "revoke", name)
    eventually(lambda: "alert certificate revoked" in s_client(hub, *shown), what="the alert")
    told = hub.wait_for_refusal("certificate revoked", device=name)
    assert told["step"] == "tls"
    assert told["fix"]


def test_an_ocsp_answer_is_stapled_as_soon_as_there_is_one(hub: RunningHub, live: list[PahoPeer]) -> None:
    with desk_of(hub) as desk:
        desk.write_staple(time.time())
    stapled = eventually(lambda: _stapled(hub), what="the stapled answer")
    assert "Cert Status: good" in stapled
    with desk_of(hub) as desk:  # one that has run out is not sent
        leaf = desk._server_certificate()
        der = make_staple(desk.issuing, leaf, Known.GOOD, time.time() - 100, 50)
        desk.home.staple_path.write_bytes(der)
        desk.registry.note_change("staple", "run/server.ocsp", actor="a test", now=time.time())
    eventually(lambda: "no response sent" in s_client(hub, "-status"), what="the end of the answer")
    nobody_was_dropped(live)


def _stapled(hub: RunningHub) -> str | None:
    said = s_client(hub, "-status")
    return said if "OCSP Response Status: successful" in said else None


@pytest.mark.parametrize("name", ["server.crt", "server.key", "ca/bundle.crt", "ca/crl.pem"])
def test_a_broken_file_is_named_in_the_log_and_changes_nothing(
    hub: RunningHub, live: list[PahoPeer], tmp_path: Path, name: str
) -> None:
    path = hub.home / name
    kept = path.read_bytes() if path.exists() else None
    old = tickets(hub, tmp_path)
    path.write_text("broken")
    try:
        with desk_registry(hub) as note:
            note()
        eventually(lambda: [e for e in hub.events("tls_file.refused") if name in e["error"]] or None, what="the log")
        assert "Reused, TLSv1.3" in s_client(hub, "-tls1_3", "-sess_in", str(old["-tls1_3"]))
        nobody_was_dropped(live)
    finally:
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(kept)
    hub.lockgate("server-cert", "rotate-tickets")
    eventually(lambda: fall_back(hub, old), 10.0, "the mended file")


@contextmanager
def desk_registry(hub: RunningHub) -> Iterator[Callable[[], None]]:
    with Home(hub.home).registry() as registry:
        yield lambda: registry.note_change("tls-files", "a test", actor="a test", now=time.time())
