"""Clients that we did not write, against a hub that runs: libcoap's and aiocoap, without DTLS."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiocoap
import pytest

from lockgate.model.device import CredentialKind
from tests.support.coap_peers import NOTLS, coap, register
from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process
LONG = bytes(range(32, 127)) * 64  # 6080 bytes


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    made = RunningHub(
        tmp_path_factory.mktemp("coap"), coap=("nosec_enabled = true", "nosec_port = 0"), names=("localhost",)
    )
    register(made.home, "lamp", CredentialKind.NOSEC, "127.0.0.1", "rooms/#")
    with made as running:
        yield running


@pytest.fixture
def url(hub: RunningHub) -> str:
    return f"coap://127.0.0.1:{hub.plain_coap_port}"


def test_libcoap_puts_gets_and_deletes(url: str) -> None:
    assert coap(NOTLS, "-m", "put", "-e", "21.5", f"{url}/rooms/1/t") == ""
    assert coap(NOTLS, "-m", "get", f"{url}/rooms/1/t") == "21.5"
    assert "</rooms/1/t>;obs;sz=4" in coap(NOTLS, "-m", "get", f"{url}/.well-known/core")
    assert coap(NOTLS, "-m", "get", f"{url}/?filter=rooms/%2B/t") == "</rooms/1/t>;obs;sz=4"
    assert coap(NOTLS, "-m", "delete", f"{url}/rooms/1/t") == ""
    assert coap(NOTLS, "-m", "get", f"{url}/rooms/1/t").startswith("4.04 nothing is retained on 'rooms/1/t'")


def test_what_a_device_may_not_do_is_refused_with_a_reference(hub: RunningHub, url: str) -> None:
    said = coap(NOTLS, "-m", "put", "-e", "1", f"{url}/elsewhere")
    assert said.startswith("4.03 not authorized: no rule allows it (reference ")
    reference = said.rpartition("(reference ")[2].rstrip(")")

    def explained() -> bool:
        return "may not publish 'elsewhere'" in hub.lockgate("why", reference, check=False).stdout

    eventually(explained, 5.0, "the refusal in `lockgate why`")


def test_an_address_that_is_nobodys_is_told_so(hub: RunningHub) -> None:
    said = coap(NOTLS, "-a", "127.0.0.2", "-m", "get", f"coap://127.0.0.1:{hub.plain_coap_port}/rooms/1/t")
    assert said.startswith("4.01 device not registered (reference ")


def test_libcoap_observes(url: str, tmp_path: Path) -> None:
    path = tmp_path / "seen"
    with path.open("wb") as seen:
        watching = subprocess.Popen(
            [NOTLS, "-s", "20", "-m", "get", f"{url}/rooms/2/t"], stdout=seen, stdin=subprocess.DEVNULL
        )
    try:
        coap(NOTLS, "-m", "put", "-e", "before", f"{url}/rooms/2/t")

        def hears_it() -> bool:
            coap(NOTLS, "-m", "put", "-e", "after", f"{url}/rooms/2/t")
            return b"after" in path.read_bytes()

        eventually(hears_it, 10.0, "the notification")
    finally:
        watching.terminate()
        watching.wait()


def test_libcoap_moves_a_long_body_both_ways(url: str) -> None:
    assert coap(NOTLS, "-b", "512", "-m", "put", f"{url}/rooms/long", body=LONG) == ""
    assert coap(NOTLS, "-m", "get", f"{url}/rooms/long") == LONG.decode().strip()
    assert coap(NOTLS, "-b", "64", "-m", "get", f"{url}/rooms/long") == LONG.decode().strip()


def test_aiocoap_does_each_method_and_observes(url: str) -> None:
    async def act() -> None:
        context = await aiocoap.Context.create_client_context()
        try:

            async def ask(code: aiocoap.Code, path: str, payload: bytes = b"", **words: object) -> aiocoap.Message:
                message = aiocoap.Message(code=code, uri=url + path, payload=payload, **words)
                return await asyncio.wait_for(context.request(message).response, 15)

            challenge = await ask(aiocoap.GET, "/rooms/3/t")
            assert challenge.code == aiocoap.UNAUTHORIZED
            await ask(aiocoap.GET, "/rooms/3/t", echo=challenge.opt.echo)  # it proves the address for a minute
            created = await ask(aiocoap.PUT, "/rooms/3/t", b"1")
            assert created.code in (aiocoap.CREATED, aiocoap.CHANGED)
            assert (await ask(aiocoap.GET, "/rooms/3/t")).payload == b"1"
            assert (await ask(aiocoap.POST, "/rooms/3/t", b"2")).code == aiocoap.CHANGED
            assert (await ask(aiocoap.PUT, "/rooms/long", LONG)).code.is_successful()
            assert (await ask(aiocoap.GET, "/rooms/long")).payload == LONG

            watching = context.request(aiocoap.Message(code=aiocoap.GET, uri=f"{url}/rooms/3/t", observe=0))
            assert (await asyncio.wait_for(watching.response, 15)).payload == b"1"
            heard: asyncio.Queue[bytes] = asyncio.Queue()

            async def listen() -> None:
                async for message in watching.observation:
                    heard.put_nowait(message.payload)

            listening = asyncio.create_task(listen())
            await ask(aiocoap.PUT, "/rooms/3/t", b"3")
            assert await asyncio.wait_for(heard.get(), 15) == b"3"
            await ask(aiocoap.PUT, "/rooms/3/t", LONG)
            assert await asyncio.wait_for(heard.get(), 15) == LONG
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            watching.observation.cancel()
            assert (await ask(aiocoap.DELETE, "/rooms/3/t")).code == aiocoap.DELETED
        finally:
            await context.shutdown()

    asyncio.run(act())
