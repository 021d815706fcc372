"""OSCORE with a client that we did not write (aiocoap), by the very files that `device add --auth oscore` writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiocoap
import msgspec
import pytest

from tests.support.hub import RunningHub, eventually

pytestmark = pytest.mark.process
LONG = bytes(range(32, 127)) * 64  # 6080 bytes
SECONDS = 15
SILENT_WITHIN_MS = 100
COAP = ("oscore_enabled = true", "nosec_port = 0")


def free_port() -> int:
    """Give a UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with RunningHub(tmp_path_factory.mktemp("oscore"), coap=COAP) as running:
        yield running


class Client:
    """aiocoap with the credentials of a device's folder."""

    def __init__(self, context: aiocoap.Context, base: str) -> None:
        self.context = context
        self.base = base

    async def ask(self, code: aiocoap.Code, path: str, payload: bytes = b"", **words: Any) -> aiocoap.Message:
        message = aiocoap.Message(code=code, uri=self.base + path, payload=payload, **words)
        return await asyncio.wait_for(self.context.request(message).response, SECONDS)

    def watch(self, path: str) -> Any:
        return self.context.request(aiocoap.Message(code=aiocoap.GET, uri=self.base + path, observe=0))


@contextlib.asynccontextmanager
async def client(folder: Path, port: int) -> AsyncIterator[Client]:
    context = await aiocoap.Context.create_client_context()
    here = Path.cwd()
    os.chdir(folder)  # the context's folder is named from there
    try:
        context.client_credentials.load_from_dict(json.loads((folder / "aiocoap.json").read_text()))
        yield Client(context, f"coap://localhost:{port}")
    finally:
        await context.shutdown()
        for credentials in context.client_credentials.values():
            destroy = getattr(credentials, "_destroy", None)
            if destroy is not None and credentials.lockfile is not None:
                destroy()
        os.chdir(here)


def listening(watching: Any) -> Callable[[], Coroutine[Any, Any, bytes | None]]:
    """Listen to an observation; give what gives the payloads of its notifications, one by one, and None at its end."""
    notifications = aiter(watching.observation)

    async def heard() -> bytes | None:
        message = await asyncio.wait_for(anext(notifications, None), SECONDS)
        return None if message is None else bytes(message.payload)

    return heard


def act(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


@pytest.mark.requirement("C2")
def test_each_method_observe_and_long_bodies_both_ways(hub: RunningHub) -> None:
    folder = hub.add_device("tap", "oscore")

    async def scene() -> None:
        async with client(folder, hub.plain_coap_port) as tap:
            assert (await tap.ask(aiocoap.PUT, "/devices/tap/t", b"1")).code == aiocoap.CREATED
            assert (await tap.ask(aiocoap.GET, "/devices/tap/t")).payload == b"1"
            assert (await tap.ask(aiocoap.POST, "/devices/tap/t", b"2")).code == aiocoap.CHANGED
            assert (await tap.ask(aiocoap.PUT, "/devices/tap/long", LONG)).code == aiocoap.CREATED
            assert (await tap.ask(aiocoap.GET, "/devices/tap/long")).payload == LONG
            assert (await tap.ask(aiocoap.GET, "/elsewhere")).code == aiocoap.FORBIDDEN
            watching = tap.watch("/devices/tap/t")
            assert (await asyncio.wait_for(watching.response, SECONDS)).payload == b"1"
            heard = listening(watching)
            await tap.ask(aiocoap.PUT, "/devices/tap/t", b"3")
            assert await heard() == b"3"
            await tap.ask(aiocoap.PUT, "/devices/tap/t", LONG)
            assert await heard() == LONG
            assert (await tap.ask(aiocoap.DELETE, "/devices/tap/t")).code == aiocoap.DELETED

    act(scene)

    def connected() -> bool:
        facts = msgspec.json.decode(hub.lockgate("device", "show", "tap", "--json").stdout)
        return facts["last_connect"] is not None

    eventually(connected, 5.0, "the device's last connect")


@pytest.mark.requirement("C2", "I5")
def test_a_hub_that_was_killed_knows_its_devices_again_and_repeats_no_number(tmp_path: Path) -> None:
    hub = RunningHub(tmp_path / "killed", coap=(COAP[0], f"nosec_port = {free_port()}"))
    with hub:
        folder = hub.add_device("tap", "oscore")

        async def scene() -> None:
            async with client(folder, hub.plain_coap_port) as tap:
                assert (await tap.ask(aiocoap.PUT, "/devices/tap/t", b"1")).code == aiocoap.CREATED

        act(scene)
        before = int((hub.home / "run" / "oscore").read_text())
        assert hub.process is not None
        os.kill(hub.pid, signal.SIGKILL)
        hub.process.wait()
        hub.start()

        async def again() -> None:
            async with client(folder, hub.plain_coap_port) as tap:
                assert (await tap.ask(aiocoap.GET, "/devices/tap/t")).payload == b"1"

        act(again)
        assert int((hub.home / "run" / "oscore").read_text()) > before


@pytest.mark.requirement("C2", "P4")
def test_revocation_ends_what_is_observed_at_once_and_why_says_whose_the_context_was(hub: RunningHub) -> None:
    folder = hub.add_device("stolen", "oscore")

    async def scene() -> None:
        async with client(folder, hub.plain_coap_port) as stolen:
            watching = stolen.watch("/devices/stolen/t")
            await asyncio.wait_for(watching.response, SECONDS)
            heard = listening(watching)
            words = ("revoke", "stolen", "--report", "--json")
            done = await asyncio.to_thread(hub.lockgate, *words)
            (report,) = msgspec.json.decode(done.stdout)
            assert (report["found"]["connections"], report["is_silent"]) == (1, True)
            assert 0 < report["silence_ms"] < SILENT_WITHIN_MS
            assert await heard() is None, "its observation has ended"
            with pytest.raises(aiocoap.error.Error):  # the answer is not protected: there is no context any more
                await stolen.ask(aiocoap.GET, "/devices/stolen/t")

    act(scene)
    refusal = hub.wait_for_refusal("unknown OSCORE context", device="")
    assert "device rotate" in refusal["fix"]


@pytest.mark.requirement("C2", "T4")
def test_a_wrong_key_is_refused_and_explained(hub: RunningHub) -> None:
    folder = hub.add_device("lamp", "oscore")
    path = folder / "oscore" / "settings.json"
    said = json.loads(path.read_text())
    said["secret_hex"] = said["secret_hex"][::-1]
    path.chmod(0o600)
    path.write_text(json.dumps(said))

    async def scene() -> None:
        async with client(folder, hub.plain_coap_port) as lamp:
            with pytest.raises(aiocoap.error.Error):
                await lamp.ask(aiocoap.GET, "/devices/lamp/t")

    act(scene)
    refusal = hub.wait_for_refusal("OSCORE decryption failed", device="lamp")
    assert "oscore/settings.json" in refusal["fix"]
    kept = b"".join(each.read_bytes() for each in hub.home.rglob("*") if each.is_file())
    assert said["secret_hex"][::-1].encode() not in kept + hub.log_path.read_bytes()


@pytest.mark.requirement("C2", "T4")
def test_the_lines_of_the_devices_readme_work_as_they_stand_there(hub: RunningHub) -> None:
    folder = hub.add_device("meter", "oscore")
    lines = re.findall(r"^aiocoap-client .*$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 2
    program = Path(sys.executable).with_name("aiocoap-client")
    said = [
        subprocess.run(
            [program, *shlex.split(line)[1:]], cwd=folder, capture_output=True, text=True, timeout=30, check=False
        )
        for line in sorted(lines, key=lambda line: "--payload" not in line)  # first what speaks
    ]
    assert "hello" in said[1].stdout, [each.stdout + each.stderr for each in said]
