"""The gate's side of the hatch: who the office has proven is looked up again, and is then anybody's equal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.handed import OnBehalf
from lockgate.adapters.coap.hatch import Hatch
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.errors import ShutOut
from lockgate.model.permission import Operation, Rule
from lockgate.settings import CoapSettings, HubSettings, Settings
from tests.support.coap_book import CoapBook
from tests.support.fakes import EVERYTHING, FakeStore
from tests.support.playbook import START

pytestmark = pytest.mark.requirement("C4")
T = TypeVar("T")
LAMPS_OWN = Rule("device:phone", Operation.RECEIVE, "$devices/lamp/#")


class World:
    """A gate whose hatch is not opened: its answers are asked for directly."""

    def __init__(self, book: CoapBook | None = None) -> None:
        self.book = book or CoapBook(rules=(*EVERYTHING, LAMPS_OWN))
        self.hatch = Hatch(self.book.coap, Path("nowhere"))

    def asks(self, code: int, path: str = "a", payload: bytes = b"", expires_at: float | None = None) -> Answer:
        return asyncio.run(self.answer(code, path, payload, expires_at))

    def answer(
        self,
        code: int,
        path: str = "a",
        payload: bytes = b"",
        expires_at: float | None = None,
        *options: tuple[int, bytes],
    ) -> Coroutine[Any, Any, Answer]:
        said = tuple((int(OptionNumber.URI_PATH), level.encode()) for level in path.split("/"))
        asked = OnBehalf("phone", "x509", 1, expires_at, "192.0.2.9", 1, code, (*options, *said), payload)
        return self.hatch._answer(asked)


async def settled(task: asyncio.Future[T]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


def test_it_answers_as_the_door_does() -> None:
    world = World()
    assert world.asks(Code.PUT, "a/b", b"1").code == Code.CREATED
    assert world.asks(Code.GET, "a/b").payload == b"1"
    assert world.asks(Code.GET, "b").code == Code.NOT_FOUND
    assert world.asks(Code.GET, "$devices/stove/x").code == Code.FORBIDDEN


def test_an_answer_waits_for_the_disk() -> None:
    world = World(CoapBook(store=FakeStore(holds=True)))

    async def scene() -> None:
        first = asyncio.ensure_future(world.answer(Code.PUT, "a", b"1"))
        second = asyncio.ensure_future(world.answer(Code.PUT, "b", b"1"))
        for number in (-1, 0):
            world.hatch.committed(number)
            assert not await settled(first)
            assert not await settled(second)
        world.hatch.committed(2)
        assert [(await each).code for each in (first, second)] == [Code.CREATED, Code.CREATED]

    asyncio.run(scene())


def test_who_no_longer_holds_is_refused_before_and_after() -> None:
    world = World()
    lamp = world.book.device("lamp")
    gone = ShutOut("phone was revoked", reason="credential revoked", evidence={"device": "phone"})

    async def scene() -> Answer:
        waiting = asyncio.ensure_future(world.answer(Code.GET, "$devices/lamp/led"))
        assert not await settled(waiting)
        (asked,) = lamp.messages()
        world.book.authenticator.refusals["phone"] = gone
        lamp.sends_bytes(wire.encode(CoapMessage(Type.ACK, Code.CONTENT, asked.message_id, asked.token, (), b"secret")))
        return await waiting

    late = asyncio.run(scene())
    early = world.asks(Code.GET)
    for answer in (late, early):
        assert answer.code == Code.FORBIDDEN
        assert answer.payload.startswith(b"credential revoked (reference ")


def test_a_proof_that_has_expired_is_none() -> None:
    world = World()
    assert world.asks(Code.PUT, expires_at=START + 10).code == Code.CREATED
    assert world.asks(Code.GET, expires_at=START).code == Code.UNAUTHORIZED


def test_a_device_is_asked_and_its_answer_comes_back() -> None:
    world = World()
    lamp = world.book.device("lamp")

    async def scene() -> Answer:
        waiting = asyncio.ensure_future(world.answer(Code.GET, "$devices/lamp/led"))
        assert not await settled(waiting)
        (asked,) = lamp.messages()
        lamp.sends_bytes(wire.encode(CoapMessage(Type.ACK, Code.CONTENT, asked.message_id, asked.token, (), b"on")))
        return await waiting

    assert asyncio.run(scene()).payload == b"on"
    lamp.is_cut()
    assert world.asks(Code.GET, "$devices/lamp/led").code == Code.BAD_GATEWAY


def test_what_no_request_from_there_can_be_is_refused() -> None:
    world = World(CoapBook(Settings(coap=CoapSettings(max_body_bytes=1024))))
    assert world.asks(Code.FETCH).code == Code.METHOD_NOT_ALLOWED
    assert world.asks(Code.PUT, "a", bytes(1025)).code == Code.REQUEST_ENTITY_TOO_LARGE
    for option in ((9, b"\1"), (2049, b""), (int(OptionNumber.ACCEPT), b"123")):
        assert asyncio.run(_done(world.answer(Code.GET, "a", b"", None, option))).code == Code.BAD_OPTION
    assert world.asks(Code.GET, "a/#").code == Code.BAD_REQUEST


async def _done(waiting: Coroutine[Any, Any, T]) -> T:
    return await waiting


def test_it_counts_on_the_devices_account() -> None:
    limited = Settings(hub=HubSettings(max_messages_per_second=1, rate_burst_seconds=1))
    world = World(CoapBook(limited))
    answers = [world.asks(Code.POST, "a", b"x") for _ in range(5)]
    assert {answer.code for answer in answers} == {Code.CHANGED, Code.TOO_MANY_REQUESTS}
    assert answers[-1].options[0][0] == OptionNumber.MAX_AGE


def test_there_is_an_end_to_what_is_answered_at_once() -> None:
    world = World()
    world.hatch._running = world.book.coap.settings.max_converted_requests
    assert world.asks(Code.PUT).code == Code.CREATED
    world.hatch._running += 1
    assert world.asks(Code.PUT).code == Code.SERVICE_UNAVAILABLE


def test_something_unexpected_is_said_no_more_of_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.delattr(world.book.store, "is_full")
    answer = world.asks(Code.PUT, payload=b"x")
    assert answer.code == Code.INTERNAL_SERVER_ERROR
    assert answer.payload.startswith(b"unspecified error (reference ")
