"""Who has the key of one device, or listens beside it, gets no further at the DTLS door than that device."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from pathlib import Path

import pytest

from lockgate.net.datagrams import DatagramLimits
from lockgate.net.dtls import DtlsModes, DtlsReason
from tests.support.dtls import IDENTITY, KEY, OPENSSL_PSK, DtlsRoom, Stranger, client_hello, cookie_of, in_room, record

pytestmark = pytest.mark.requirement("C2", "C3")


async def _openssl(room: DtlsRoom, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{room.listener.port}", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def test_the_wish_to_shake_hands_again_is_not_heard_and_holds_nobody_up(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        attackers = [await _openssl(room, *OPENSSL_PSK) for _ in range(3)]
        try:
            while len(room.handlers) < 3:
                room.made.clear()
                await room.made.wait()
            for each in attackers:
                assert each.stdin is not None
                each.stdin.write(b"in\nR\n")
            for handler in room.handlers:
                await handler.came.wait()
            for _ in range(3):
                assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)
            assert [handler.identity for handler in room.handlers[:3]] == [IDENTITY.encode()] * 3
        finally:
            for each in attackers:
                each.kill()
                await each.wait()

    in_room(tmp_path, scene)


@pytest.mark.parametrize(
    "identity",
    [
        "valve", "SENSOR", "sensor ", "sensor/", "x" * 120, "\x1b[2Jsensor", "sens\u00f6r", "\udcff\udcfe", "$SYS",
        "../sensor",
    ],
    ids=ascii,
)  # fmt: skip
def test_the_key_of_one_device_opens_the_name_of_no_other(identity: str, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        room.keys.psks[b"valve"] = os.urandom(32)
        await room.open(DatagramLimits(handshake_deadline_seconds=2.0))
        process = await _openssl(room, "-psk_identity", identity, "-psk", KEY.encode().hex())
        try:
            failure = await room.failure()
        finally:
            process.kill() if process.returncode is None else None
            await process.wait()
        assert failure.reason in (DtlsReason.UNKNOWN_IDENTITY, DtlsReason.WRONG_KEY)
        assert (failure.reason is DtlsReason.WRONG_KEY) == (identity == "valve")
        shown = f"{failure.identity}{failure}{failure.evidence}"
        assert not [each for each in shown if not each.isprintable()]
        assert len(failure.identity) <= 70
        assert KEY not in shown
        assert room.handlers == []

    in_room(tmp_path, scene)


def test_a_key_is_no_use_where_its_mode_is_not_offered(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(handshake_deadline_seconds=2.0), DtlsModes(psk=False, rpk=True, x509=True))
        await room.coap("-u", IDENTITY, "-k", KEY)
        assert (await room.failure()).reason is DtlsReason.MODE_NOT_OFFERED
        assert room.handlers == []

    in_room(tmp_path, scene)


def _fragment(number: int, kind: int, length: int, offset: int, data: bytes, record_number: int) -> bytes:
    head = bytes([kind]) + length.to_bytes(3, "big") + number.to_bytes(2, "big")
    return record(22, head + offset.to_bytes(3, "big") + len(data).to_bytes(3, "big") + data, record_number)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_hello_in_pieces_begins_nothing(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with Stranger(room.address) as stranger:
            whole = client_hello(bytes(32), cookie_of(await stranger.ask(client_hello(bytes(32)))))
            body = whole[25:]
            for at in range(0, len(body), 7):
                stranger.send(_fragment(1, 1, len(body), at, body[at : at + 7], at))
            for size in (0, 1, 12, len(body) - 1):
                stranger.send(_fragment(1, 1, len(body), 0, body[:size], 200 + size))
                stranger.send(_fragment(1, 1, 0xFFFFFF, 0, body[:size], 300 + size))
            assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)
        assert room.listener.connection_count <= 1

    in_room(tmp_path, scene)


def test_pieces_that_lie_about_their_size_take_no_memory(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(handshake_deadline_seconds=5.0))
        dice = random.Random(3)
        count = 100

        async def attack() -> list[Stranger]:
            strangers = []
            for _ in range(count):
                stranger = Stranger(room.address)
                strangers.append(stranger)
                await stranger.begin(dice.randbytes(32))
                for number in range(2, 30):
                    for length in (16_383, 0xFFFFFF):
                        stranger.send(_fragment(number, dice.choice([11, 16, 20]), length, length - 9, b"x", number))
            return strangers

        for each in await attack():  # what is made once
            each.__exit__()
        gc.collect()
        before = _resident_bytes()
        for each in await attack():
            each.__exit__()
        assert _resident_bytes() - before < count * 150_000
        assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)

    in_room(tmp_path, scene)
