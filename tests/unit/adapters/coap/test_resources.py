"""What each method does to the topic space, and what it answers."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap import mapping
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.resources import Resources
from lockgate.errors import LockgateError, NotFound, Unavailable
from lockgate.hub import Hub
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.support.fakes import EVERYTHING, FakeRules, FakeStore, principal

NOW = 1000.0


class World:
    def __init__(self, holds: bool = False) -> None:
        self.store = FakeStore(holds)
        hub = Hub(PolicyEngine(FakeRules(*EVERYTHING)), self.store, HubSettings(), lambda *_: None)
        self.resources = Resources(hub, self.store)

    def does(self, code: int, topic: str, payload: bytes = b"", *options: tuple[int, bytes]) -> mapping.Answer:
        path = [(int(OptionNumber.URI_PATH), level.encode()) for level in topic.split("/")]
        request = CoapMessage(Type.CON, code, 1, b"", (*path, *options), payload)
        return self.resources.answer(request, mapping.said_by(request), principal("lamp"), NOW)


def test_an_answer_waits_for_what_was_stored() -> None:
    world = World(holds=True)
    made, changed = world.does(Code.PUT, "a", b"1"), world.does(Code.POST, "a", b"1")
    assert (made.code, made.commit, changed.code, changed.commit) == (Code.CREATED, 1, Code.CHANGED, 0)
    assert world.does(Code.DELETE, "a").commit == 1


def test_who_observes_what_is_not_there_gets_an_empty_answer() -> None:
    world, said = World(), mapping.Said()
    said.path = "a"
    answer = world.resources.read(said, principal("lamp"), NOW, 3)
    assert (answer.code, answer.options, answer.payload) == (Code.CONTENT, ((6, b"\x03"),), b"")
    with pytest.raises(NotFound):
        world.resources.read(said, principal("lamp"), NOW)


def test_a_full_store_takes_nothing() -> None:
    world = World()
    world.store.is_full = True
    with pytest.raises(Unavailable):
        world.does(Code.PUT, "a", b"1")


@pytest.mark.parametrize(
    ("code", "topic", "payload", "expected"),
    [
        (Code.FETCH, "a", b"", Code.METHOD_NOT_ALLOWED),
        (Code.POST, ".well-known/core", b"", Code.METHOD_NOT_ALLOWED),
        (Code.DELETE, "a", b"x", Code.BAD_REQUEST),
    ],
)
def test_what_makes_no_sense_is_refused(code: int, topic: str, payload: bytes, expected: int) -> None:
    with pytest.raises(LockgateError) as caught:
        World().does(code, topic, payload)
    assert mapping.code_of(caught.value) == expected


def test_an_if_match_of_nothing_in_particular_needs_something() -> None:
    world = World()
    with pytest.raises(CoapError, match="something else"):
        world.does(Code.DELETE, "a", b"", (OptionNumber.IF_MATCH, b""))
