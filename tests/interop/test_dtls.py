"""DTLS on loopback sockets, with libcoap's and OpenSSL's clients at the other end: who comes in, and who does not."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.errors import InvalidSettings, Unavailable
from lockgate.net.datagrams import DatagramLimits
from lockgate.net.dtls import DtlsModes, DtlsReason
from lockgate.net.gnutls import load_library
from lockgate.net.handshakes import PER_TURN
from tests.support.certificates import Authority, pem
from tests.support.dtls import (
    ECDSA_CCM_8,
    IDENTITY,
    KEY,
    OPENSSL_PSK,
    DtlsRoom,
    Stranger,
    client_behind_a_relay,
    client_hello,
    cookie_of,
    end_process,
    in_room,
    public_key,
    says_in,
)

LIBCOAP = ["coap-client-gnutls", "coap-client-openssl"]
PSK = ["-u", IDENTITY, "-k", KEY]


# Who comes in


@pytest.mark.parametrize("client", LIBCOAP)
def test_device_comes_in_by_its_pre_shared_key(client: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        assert "hello" in await room.coap(*PSK, client=client)
        [door] = room.handlers
        assert door.identity == IDENTITY.encode()
        assert door.raw_key is None
        assert door.certificate is None
        assert door.link.protection is not None
        assert door.link.protection.version == "DTLSv1.2"
        assert "PSK_WITH_" in door.link.protection.cipher
        assert room.refused == []

    in_room(tmp_path, scene)


@pytest.mark.parametrize("client", LIBCOAP)
def test_device_comes_in_by_its_certificate(client: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        device = room.authority.issue("sensor")
        assert "hello" in await room.coap(*room.write_device(device), client=client)
        [door] = room.handlers
        assert door.certificate == device.certificate
        assert door.identity is None
        assert door.raw_key is None

    in_room(tmp_path, scene)


def test_device_comes_in_by_its_raw_public_key(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        key = ec.generate_private_key(ec.SECP256R1())
        assert "hello" in await room.coap(*room.write_raw_key(key))
        [door] = room.handlers
        assert door.raw_key == public_key(key)[1]
        assert door.certificate is None

    in_room(tmp_path, scene)


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        ("PSK-AES128-CCM8", "TLS_PSK_WITH_AES_128_CCM_8"),
        ("PSK-AES128-CCM", "TLS_PSK_WITH_AES_128_CCM"),
        ("PSK-AES128-GCM-SHA256", "TLS_PSK_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-PSK-CHACHA20-POLY1305", "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_openssl_comes_in_by_each_suite_of_keys(suite: str, name: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        await room.openssl(*OPENSSL_PSK, "-cipher", f"{suite}:@SECLEVEL=0", says=b"abc")
        [door] = room.handlers
        assert door.link.protection is not None
        assert door.link.protection.cipher == name
        assert door.heard == [b"abc"]
        assert await door.ended is None  # by close_notify

    in_room(tmp_path, scene)


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        ("ECDHE-ECDSA-AES128-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ],
)
def test_openssl_comes_in_by_each_suite_of_certificates(suite: str, name: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        certificate, key = room.authority.issue("sensor").write(tmp_path, "device")
        said = await room.openssl(
            *("-cert", str(certificate), "-key", str(key), "-CAfile", str(room.files.authorities)),
            *("-cipher", f"{suite}:@SECLEVEL=0", "-verify_return_error"),
            says=b"abc",
        )
        assert "Verify return code: 0 (ok)" in said
        [door] = room.handlers
        assert door.link.protection is not None
        assert door.link.protection.cipher == name
        assert door.heard == [b"abc"]

    in_room(tmp_path, scene)


def test_certificate_is_believed_through_an_issuing_ca_whose_root_is_not_there(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        issuing = Authority("Issuing CA", room.authority)
        room.files.authorities.write_bytes(pem(issuing.certificate))
        await room.open()
        room.files.authorities.write_bytes(pem(room.authority.certificate))  # what the client is given
        assert "hello" in await room.coap(*room.write_device(issuing.issue("sensor")))

    in_room(tmp_path, scene)


# Who does not


@pytest.mark.parametrize("client", LIBCOAP)
def test_wrong_key_is_told_from_an_unknown_identity_here_and_not_there(client: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        told = []
        for identity, reason in ((IDENTITY, DtlsReason.WRONG_KEY), ("nobody", DtlsReason.UNKNOWN_IDENTITY)):
            said = await room.coap("-u", identity, "-k", "of another", client=client)
            failure = await room.failure()
            assert failure.reason is reason
            assert failure.identity == identity
            assert failure.fix
            told.append([line.partition("DTLS")[2] for line in said.splitlines() if "DTLS" in line])
        assert told[0] == told[1] != []
        assert room.handlers == []

    in_room(tmp_path, scene)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("other CA", DtlsReason.UNKNOWN_ISSUER),
        ("expired", DtlsReason.CERTIFICATE_EXPIRED),
        ("not yet valid", DtlsReason.CERTIFICATE_NOT_YET_VALID),
        ("for servers", DtlsReason.WRONG_PURPOSE),
        ("revoked", DtlsReason.CERTIFICATE_REVOKED),
        ("barred", DtlsReason.CERTIFICATE_REVOKED),
    ],
)
def test_bad_certificate_is_refused_by_name(kind: str, reason: DtlsReason, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        issue = room.authority.issue
        device = {
            "other CA": lambda: Authority("Other CA").issue("sensor"),
            "expired": lambda: issue("sensor", valid_from=now - 2 * day, valid_until=now - day),
            "not yet valid": lambda: issue("sensor", valid_from=now + day, valid_until=now + 2 * day),
            "for servers": lambda: issue("sensor", purpose="server"),
        }.get(kind, lambda: issue("sensor"))()
        if kind == "revoked":
            assert room.files.crl is not None
            room.files.crl.write_bytes(room.authority.crl(device.certificate))
        if kind == "barred":
            room.keys.barred_serials.add(device.certificate.serial_number)
        await room.open()
        certificate, key = device.write(tmp_path, "device")
        await room.openssl("-cert", str(certificate), "-key", str(key))
        failure = await room.failure()
        assert failure.reason is reason
        assert failure.certificate == device.certificate
        assert "certificate SHA-256" in failure.evidence
        assert failure.fix
        assert room.handlers == []

    in_room(tmp_path, scene)


def test_revocation_list_that_is_renewed_refuses_at_the_next_handshake(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        device = room.authority.issue("sensor")
        options = room.write_device(device)
        assert "hello" in await room.coap(*options)
        assert room.files.crl is not None
        room.files.crl.write_bytes(room.authority.crl(device.certificate))
        room.listener.reload()
        assert "hello" not in await room.coap(*options)
        assert (await room.failure()).reason is DtlsReason.CERTIFICATE_REVOKED

    in_room(tmp_path, scene)


def test_new_server_certificate_is_shown_at_the_next_handshake(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        certificate, key = room.authority.issue("sensor").write(tmp_path, "device")
        shown = []
        for name in ("first", "second"):
            room.authority.issue(name, purpose="server", names=["localhost"]).write(tmp_path, "server")
            room.listener.reload()
            said = await room.openssl("-cert", str(certificate), "-key", str(key))
            shown += [line for line in said.splitlines() if line.startswith("subject=")]
        assert [line.rpartition(" ")[2] for line in shown] == ["first", "second"]

    in_room(tmp_path, scene)


def test_raw_key_that_is_nobodys_is_refused_with_its_fingerprint(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        key = ec.generate_private_key(ec.SECP256R1())
        assert "hello" not in await room.coap(*room.write_raw_key(key, is_known=False))
        failure = await room.failure()
        assert failure.reason is DtlsReason.UNKNOWN_RAW_KEY
        assert len(failure.fingerprint) == 64

    in_room(tmp_path, scene)


@pytest.mark.parametrize("mode", ["psk", "rpk", "x509"])
def test_mode_that_is_not_offered_is_named(mode: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(modes=DtlsModes(**{each: each != mode for each in ("psk", "rpk", "x509")}))
        options = {
            "psk": lambda: ["-u", IDENTITY, "-k", KEY],
            "rpk": lambda: room.write_raw_key(ec.generate_private_key(ec.SECP256R1())),
            "x509": lambda: room.write_device(room.authority.issue("sensor")),
        }[mode]()
        assert "hello" not in await room.coap(*options)
        failure = await room.failure()
        assert failure.reason is DtlsReason.MODE_NOT_OFFERED
        assert f"coap.{mode}_enabled" in failure.fix

    in_room(tmp_path, scene)


@pytest.mark.parametrize("suite", ["PSK-AES128-CBC-SHA256", "PSK-NULL-SHA256"])
def test_suite_without_authenticated_encryption_is_not_shared(suite: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        await room.openssl(*OPENSSL_PSK, "-cipher", f"{suite}:@SECLEVEL=0")
        failure = await room.failure()
        assert failure.reason is DtlsReason.NO_SHARED_CIPHER
        assert "00" in failure.evidence["cipher suites offered"]

    in_room(tmp_path, scene)


def test_client_that_shows_no_certificate_is_refused(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        await room.openssl()
        assert (await room.failure()).reason is DtlsReason.NO_CERTIFICATE

    in_room(tmp_path, scene)


def test_client_that_does_not_trust_the_hub_says_why(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        certificate, key = room.authority.issue("sensor").write(tmp_path, "device")
        foreign = tmp_path / "foreign.pem"
        foreign.write_bytes(pem(Authority("Other CA").certificate))
        await room.openssl(
            *("-cert", str(certificate), "-key", str(key), "-CAfile", str(foreign), "-verify_return_error")
        )
        failure = await room.failure()
        assert failure.reason is DtlsReason.CLIENT_GAVE_UP
        assert "unknown ca" in failure.message

    in_room(tmp_path, scene)


def test_handshake_that_is_not_finished_times_out(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(handshake_deadline_seconds=0.2))
        with Stranger(room.address) as stranger:
            flight = await stranger.begin()
            assert flight[13] == 2  # ServerHello
            assert room.listener.connection_count == 1
            assert (await room.failure()).reason is DtlsReason.HANDSHAKE_TIMEOUT
            assert room.listener.connection_count == 0

    in_room(tmp_path, scene)


@pytest.mark.requirement("C3")
def test_of_many_handshakes_at_once_only_a_few_go_on_in_each_turn_of_the_loop(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with ExitStack() as opened:
            strangers = [opened.enter_context(Stranger(room.address)) for _ in range(5 * PER_TURN)]
            hellos = []
            for number, stranger in enumerate(strangers):
                nonce, suites = bytes([number]) * 32, (ECDSA_CCM_8,)
                cookie = cookie_of(await stranger.ask(client_hello(nonce, suites=suites)))
                hellos.append(client_hello(nonce, cookie, suites))
            for stranger, hello in zip(strangers, hellos, strict=True):
                stranger.send(hello)
            left, answered = strangers, []
            while left:
                await asyncio.sleep(0)
                waiting = [stranger for stranger in left if stranger.heard_nothing()]
                answered.append(len(left) - len(waiting))
                left = waiting
        assert max(answered) <= PER_TURN
        assert sum(answered) == len(strangers)

    in_room(tmp_path, scene)


def test_flight_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with Stranger(room.address) as stranger:
            assert (await stranger.begin())[13] == 2  # ServerHello
            assert (await stranger.receive())[13] == 14  # ServerHelloDone
            assert (await stranger.receive())[13] == 2  # a second later

    in_room(tmp_path, scene)


# Who is in


def test_device_that_lost_its_keys_begins_anew_from_the_same_port(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        first = await start_client(room, port)
        await room.made.wait()
        room.made.clear()
        first.kill()  # no close_notify
        await first.wait()
        assert "hello" in await room.coap(*PSK, "-p", str(port))
        assert [door.link.peer.port for door in room.handlers] == [port, port]
        assert await room.handlers[0].ended is None
        assert room.listener.connection_count <= 1

    in_room(tmp_path, scene)


async def start_client(room: DtlsRoom, port: int) -> asyncio.subprocess.Process:
    """Start a client that observes, and so stays."""
    url = f"coaps://127.0.0.1:{room.listener.port}/x"
    return await asyncio.create_subprocess_exec(
        *("coap-client-gnutls", "-m", "get", "-s", "30", "-B", "30", *PSK, "-p", str(port), url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def test_device_that_was_quiet_the_longest_gives_way_and_hears_it(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(max_links=1))
        one = await openssl_that_stays(room)
        await room.made.wait()
        assert "hello" in await room.coap(*PSK)
        error = await room.handlers[0].ended
        assert isinstance(error, Unavailable)
        assert one.stdin is not None
        await one.wait()  # by our close_notify

    in_room(tmp_path, scene)


def test_quiet_device_ends_with_a_goodbye(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(idle_seconds=60))
        one = await openssl_that_stays(room)
        await room.made.wait()
        now = asyncio.get_running_loop().time()
        room.listener.handle_timer(now + 59)
        assert room.listener.connection_count == 1
        room.listener.handle_timer(now + 61)
        assert await room.handlers[0].ended is None
        await one.wait()

    in_room(tmp_path, scene)


async def openssl_that_stays(room: DtlsRoom) -> asyncio.subprocess.Process:
    target = f"127.0.0.1:{room.listener.port}"
    return await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-dtls1_2", "-connect", target, *OPENSSL_PSK),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def test_closed_link_says_goodbye_and_sends_no_more(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        one = await openssl_that_stays(room)
        await room.made.wait()
        link = room.handlers[0].link
        link.close()
        link.close()
        link.send(b"too late")
        assert await room.handlers[0].ended is None
        assert link.psk_identity == IDENTITY.encode()
        await one.wait()

    in_room(tmp_path, scene)


def test_several_records_in_one_datagram_are_all_heard(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        relay, process = await client_behind_a_relay(room)
        try:
            relay.is_holding = True
            assert process.stdin is not None
            for text in (b"one\n", b"two\n", b"three\n"):
                process.stdin.write(text)
                await relay.came()
            relay.say(b"".join(relay.held))
            relay.is_holding = False
            await says_in(process, room, b"four\n")
            assert room.handlers[0].heard == [b"in\n", b"one\n", b"two\n", b"three\n", b"four\n"]
        finally:
            await end_process(process)

    in_room(tmp_path, scene)


def test_datagrams_that_overtake_each_other_are_heard_as_they_come(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        relay, process = await client_behind_a_relay(room)
        try:
            relay.is_holding = True
            assert process.stdin is not None
            for text in (b"one\n", b"two\n"):
                process.stdin.write(text)
                await relay.came()
            for data in reversed(relay.held):
                relay.say(data)
            relay.is_holding = False
            await says_in(process, room, b"three\n")
            assert room.handlers[0].heard == [b"in\n", b"two\n", b"one\n", b"three\n"]
        finally:
            await end_process(process)

    in_room(tmp_path, scene)


@pytest.mark.parametrize("seed", [1, 2, 3])  # each loses one of the first three
def test_handshake_comes_through_where_a_quarter_of_the_datagrams_is_lost(seed: int, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        relay, process = await client_behind_a_relay(room, random.Random(seed), loss=0.25)
        await end_process(process)
        assert room.handlers[0].identity == IDENTITY.encode()
        assert relay.lost > 0

    in_room(tmp_path, scene)


# What is missing


def test_machine_without_gnutls_is_told_what_to_install() -> None:
    with pytest.raises(Unavailable, match=r"libgnutls-none\.so") as caught:
        load_library("libgnutls-none.so")
    assert "libgnutls30" in caught.value.fix


def test_file_that_cannot_be_used_leaves_what_was_read_before(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        options = room.write_device(room.authority.issue("sensor"))
        room.files.key.write_bytes(room.authority.issue("other").key_pem)
        with pytest.raises(InvalidSettings, match="does not belong"):
            room.listener.reload()
        assert "hello" in await room.coap(*options)

    in_room(tmp_path, scene)
