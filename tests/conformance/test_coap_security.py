"""RFC 7252 section 9: DTLS with pre-shared keys, raw public keys and certificates, by clients that we did not write."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.coap import CON, CONTENT, EMPTY, GET, PUT, RST, Message, decode, encode, path
from tests.conformance.dtls import DtlsPeer
from tests.conformance.marks import needs_lockgate, statement
from tests.support.hub import RunningHub

RULES = ("--publish", "t/#", "--receive", "t/#")
PSK_SUITE, ECDSA_SUITE = "PSK-AES128-CCM8", "ECDHE-ECDSA-AES128-CCM8"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Our own hub with its defaults, and a device of each kind."""
    with RunningHub(tmp_path_factory.mktemp("coaps"), names=("localhost", "127.0.0.1")) as running:
        for kind in ("psk", "rpk", "x509"):
            running.add_device(kind, kind, *RULES)
        yield running


def shown(hub: RunningHub, kind: str) -> tuple[str, ...]:
    """Give what OpenSSL's client shows for a device, and the one suite that it offers."""
    folder = hub.folder / f"device-{kind}"
    if kind == "psk":
        return (
            "-psk_identity",
            "psk",
            "-psk",
            (folder / "psk").read_bytes().hex(),
            "-cipher",
            f"{PSK_SUITE}:@SECLEVEL=0",
        )
    files = ("-cert", str(folder / "device.crt"), "-key", str(folder / "device.key"), "-CAfile", str(folder / "ca.pem"))
    return (*files, "-verify_return_error", "-groups", "P-256", "-cipher", f"{ECDSA_SUITE}:@SECLEVEL=0")


def s_client(hub: RunningHub, *options: str) -> str:
    """Shake hands by openssl s_client; give all that it said."""
    command = ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{hub.coap_port}", *options]
    done = subprocess.run(command, input=b"Q\n", capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@statement("RFC 7252", "RFC7252-9-1")
@needs_lockgate
def test_without_security_the_door_is_closed_by_default(secured: RunningHub) -> None:
    assert [door.protection for door in secured.doors if door.door == "coap"]
    assert not [door for door in secured.doors if (door.door, door.protection) == ("coap", "none")]


@statement("RFC 7252", "RFC7252-9.1.3.1-1")
@needs_lockgate
def test_the_mandatory_suite_of_pre_shared_keys_is_offered(secured: RunningHub) -> None:
    assert f"Cipher is {PSK_SUITE}" in s_client(secured, *shown(secured, "psk"))


@statement("RFC 7252", "RFC7252-9.1.3.2-1")
@needs_lockgate
def test_raw_public_keys_are_taken_with_their_mandatory_suite(secured: RunningHub, tmp_path: Path) -> None:
    folder = secured.folder / "device-rpk"
    command = [
        "coap-client-gnutls",
        "-v",
        "7",
        "-B",
        "10",
        "-m",
        "put",
        "-e",
        "1",
        "-M",
        str(folder / "device.rpk.pem"),
    ]
    done = subprocess.run(
        [*command, f"coaps://localhost:{secured.coap_port}/t/raw"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "4." not in done.stdout
    found = subprocess.run(
        ["coap-client-gnutls", "-B", "10", "-m", "get", "-M", str(folder / "device.rpk.pem"),
         f"coaps://localhost:{secured.coap_port}/t/raw"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == "1"


@statement("RFC 7252", "RFC7252-9.1.3.3-1")
@needs_lockgate
def test_certificates_are_taken_with_the_mandatory_suite_and_only_of_our_own_ca(secured: RunningHub) -> None:
    assert f"Cipher is {ECDSA_SUITE}" in s_client(secured, *shown(secured, "x509"))
    peer = DtlsPeer.by_certificate(secured, "x509")
    peer.send(Message(CON, GET, 1, b"tk", path("t/nothing")))
    assert peer.receive().token == b"tk"
    with pytest.raises(AssertionError, match="no session"):
        DtlsPeer.by_foreign_certificate(secured, "x509")


@statement("RFC 7252", "RFC7252-9.1.2-1", "RFC7252-9.1.2-2")
@needs_lockgate
def test_answers_leave_in_the_session_of_their_request_and_no_session_knows_of_another(secured: RunningHub) -> None:
    one, two = (DtlsPeer.by_certificate(secured, "x509") for _ in range(2))
    sent = Message(CON, PUT, 0x4711, b"tk", path("t/session"), b"1")
    for peer in (one, two):  # the same Message ID and token: each session has its own
        peer.send(sent)
        assert peer.receive().mid == 0x4711
    one.send(Message(CON, GET, 0x4712, b"ob", ((6, b""), *path("t/session"))))
    assert one.receive().code == CONTENT
    two.send(Message(CON, PUT, 0x4713, b"tk", path("t/session"), b"2"))
    two.receive()
    told = one.receive()
    assert told.token == b"ob"
    two.send(Message(RST, EMPTY, told.mid))  # in the wrong session: it counts for nothing
    again = one.receive(5.0)
    assert encode(again) == encode(told)
    one.send(Message(RST, EMPTY, told.mid))
    assert decode(encode(told)) == told
