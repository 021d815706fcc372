"""Whoever has no key gets nothing from the DTLS door: no memory, no amplification, no link of others, no time."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from lockgate.net.datagrams import DatagramLimits
from lockgate.net.dtls import DtlsReason
from tests.support.dtls import (
    IDENTITY,
    KEY,
    DtlsRoom,
    Stranger,
    client_behind_a_relay,
    client_hello,
    cookie_of,
    end_process,
    in_room,
    record,
    says_in,
)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_hellos_without_a_cookie_keep_nothing_and_are_answered_by_less(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with Stranger(room.address) as stranger:
            smallest = client_hello()
            for _ in range(500):  # what is made once
                assert len(await stranger.ask(client_hello(os.urandom(32)))) <= len(smallest)
            gc.collect()
            before = _resident_bytes()
            for _ in range(10_000):
                await stranger.ask(client_hello(os.urandom(32)))
            gc.collect()
            assert _resident_bytes() - before < 1_000_000  # 100 bytes each
        assert room.listener.connection_count == 0

    in_room(tmp_path, scene)


def test_memory_of_python_does_not_grow_by_hellos(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with Stranger(room.address) as stranger:
            await stranger.ask(client_hello())
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(1_000):
                    await stranger.ask(client_hello(os.urandom(32)))
                assert tracemalloc.get_traced_memory()[0] - before < 50_000
            finally:
                tracemalloc.stop()

    in_room(tmp_path, scene)


def test_cookie_of_one_address_is_of_no_use_to_another(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        with Stranger(room.address) as one, Stranger(room.address) as other:
            cookie = cookie_of(await one.ask(client_hello()))
            answer = await other.ask(client_hello(cookie=cookie))
            assert answer[13] == 3  # HelloVerifyRequest again
            assert cookie_of(answer) != cookie
        assert room.listener.connection_count == 0

    in_room(tmp_path, scene)


def test_cookie_outlives_one_change_of_its_key_and_not_two(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        now = asyncio.get_running_loop().time()
        with Stranger(room.address) as stranger:
            cookie = cookie_of(await stranger.ask(client_hello()))
            room.listener.handle_timer(now + 61)
            room.listener.handle_timer(now + 122)
            assert (await stranger.ask(client_hello(cookie=cookie)))[13] == 3
            cookie = cookie_of(await stranger.ask(client_hello()))
            room.listener.handle_timer(now + 183)
            assert (await stranger.ask(client_hello(cookie=cookie)))[13] == 2  # ServerHello

    in_room(tmp_path, scene)


def test_handshakes_under_way_are_bounded_and_the_oldest_gives_way(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(max_handshakes=5))
        strangers = [Stranger(room.address) for _ in range(20)]
        try:
            for each in strangers:
                await each.begin()
            assert room.listener.connection_count == 5
            assert [failure.reason for _, failure in room.refused] == [DtlsReason.TOO_MANY_HANDSHAKES] * 15
            assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)
        finally:
            for each in strangers:
                each.__exit__(None, None, None)

    in_room(tmp_path, scene)


def test_handshakes_of_one_address_are_bounded_per_second(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        limits = DatagramLimits(max_handshakes_per_second_per_address=0.01, max_handshake_burst_per_address=3)
        await room.open(limits)
        for count in range(5):
            with Stranger(room.address) as each:
                cookie = cookie_of(await each.ask(client_hello()))
                each.send(client_hello(cookie=cookie))
                if count < 3:
                    assert (await each.receive())[13] == 2
        assert (await room.failure()).reason is DtlsReason.TOO_MANY_HANDSHAKES
        assert room.listener.connection_count == 3

    in_room(tmp_path, scene)


def test_random_datagrams_are_dropped_in_silence(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        dice = random.Random(7)
        hello = client_hello(cookie=bytes(16))
        with Stranger(room.address) as stranger:
            for _ in range(2_000):
                stranger.send(dice.randbytes(dice.randrange(200)))
                stranger.send(
                    record(dice.randrange(18, 26), dice.randbytes(dice.randrange(60)), epoch=dice.randrange(2))
                )
                broken = bytearray(hello)
                broken[dice.randrange(len(hello))] ^= 1 << dice.randrange(8)
                stranger.send(bytes(broken[: dice.randrange(len(broken))]))
                if dice.random() < 0.05:
                    await asyncio.sleep(0)
            stranger.send(bytes(20_000))
        assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)
        assert len(room.handlers) == 1
        assert room.refused == []

    in_room(tmp_path, scene)


@pytest.mark.parametrize("seed", range(3))
def test_handshake_that_is_garbled_on_its_way_harms_nobody(seed: int, tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open(DatagramLimits(handshake_deadline_seconds=1.0))
        dice = random.Random(seed)
        for _ in range(100):
            with Stranger(room.address) as stranger:
                await stranger.begin(dice.randbytes(32))
                for number in range(4):
                    payload = bytes([dice.choice([1, 11, 16, 15, 20])]) + dice.randbytes(dice.randrange(80))
                    stranger.send(record(dice.choice([20, 21, 22, 22, 22]), payload, 2 + number, dice.randrange(2)))
        assert "hello" in await room.coap("-u", IDENTITY, "-k", KEY)
        assert len(room.handlers) == 1

    in_room(tmp_path, scene)


def test_replayed_and_tampered_records_are_dropped(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        relay, process = await client_behind_a_relay(room)
        try:
            await says_in(process, room, b"one\n")
            sealed = relay.sent[-1]
            relay.say(sealed)
            for at in range(len(sealed)):
                tampered = bytearray(sealed)
                tampered[at] ^= 0x40
                relay.say(bytes(tampered))
            await says_in(process, room, b"two\n")
            assert room.handlers[0].heard == [b"in\n", b"one\n", b"two\n"]
            assert not room.handlers[0].ended.done()
        finally:
            await end_process(process)

    in_room(tmp_path, scene)


def test_nobody_ends_a_link_by_words_that_are_not_sealed(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        await room.open()
        relay, process = await client_behind_a_relay(room)
        try:
            for hello in [each for each in relay.sent if each[13] == 1]:  # the client's own, cookie and all
                relay.say(hello)
            relay.say(record(21, b"\2\x28", 100))  # alerts: handshake_failure, close_notify
            relay.say(record(21, b"\1\0", 101))
            relay.say(client_hello(os.urandom(32)))
            await says_in(process, room, b"still here\n")
            assert len(room.handlers) == 1
            assert room.listener.connection_count == 1
        finally:
            await end_process(process)

    in_room(tmp_path, scene)


def test_handshake_in_anothers_name_leaves_the_link_as_it_was(tmp_path: Path) -> None:
    async def scene(room: DtlsRoom) -> None:
        """Who hears the cookie can begin a handshake in the client's name; without the key it comes to nothing."""
        await room.open(DatagramLimits(handshake_deadline_seconds=0.3))
        relay, process = await client_behind_a_relay(room)
        try:
            cookie = next(each[61:77] for each in relay.sent if each[13] == 1 and each[60] == 16)
            relay.say(client_hello(os.urandom(32), cookie))
            assert (await room.failure()).reason is DtlsReason.HANDSHAKE_TIMEOUT
            await says_in(process, room, b"still here\n")
            assert len(room.handlers) == 1
        finally:
            await end_process(process)

    in_room(tmp_path, scene)
