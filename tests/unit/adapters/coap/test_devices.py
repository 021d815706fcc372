"""`$devices/NAME/PATH` reaches the device's own resource for who may, and nothing else for anybody."""

from __future__ import annotations

import pytest

from lockgate.adapters.coap.asking import Done
from lockgate.adapters.coap.devices import DeviceResources, is_own
from lockgate.adapters.coap.mapping import Answer
from lockgate.adapters.coap.messages import CoapError, CoapMessage, Code, OptionNumber, Options, Type
from lockgate.errors import LockgateError, NotAuthorized, NotFound, RateExceeded, TopicNameInvalid
from lockgate.hub import Hub
from lockgate.model.permission import Operation, Rule
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.support.fakes import FakeRules, FakeStore, principal

BOTH = (
    Rule("device:phone", Operation.RECEIVE, "$devices/lamp/#"),
    Rule("device:phone", Operation.PUBLISH, "$devices/lamp/#"),
)
PHONE = principal("phone")


class FakeLink:
    """A device that is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Options, bytes]] = []
        self.done: list[Done] = []

    def ask(self, code: int, options: Options, payload: bytes, done: Done, /) -> None:
        self.asked.append((code, options, payload))
        self.done.append(done)


class World:
    def __init__(self, *rules: Rule) -> None:
        self.rules = FakeRules(*rules)
        hub = Hub(PolicyEngine(self.rules), FakeStore(), HubSettings(), lambda *_: None)
        self.devices = DeviceResources(hub.reading)
        self.lamp = FakeLink()
        self.devices.join("lamp", self.lamp)
        self.outcomes: list[Answer | LockgateError] = []
        self.now = 1000.0

    def asks(self, code: int, path: str, *options: tuple[int, bytes], payload: bytes = b"") -> None:
        request = CoapMessage(Type.CON, code, 1, b"", options, payload)
        self.devices.ask(request, path, PHONE, self.outcomes.append, self.now)


def path(*levels: bytes) -> Options:
    return tuple((int(OptionNumber.URI_PATH), level) for level in levels)


@pytest.mark.requirement("C4")
def test_the_device_is_asked_for_its_own_path_and_with_the_options_that_concern_it() -> None:
    world = World(*BOTH)
    options = (
        (int(OptionNumber.ETAG), b"1"), (int(OptionNumber.OBSERVE), b""), (int(OptionNumber.URI_PATH), b"$devices"),
        (int(OptionNumber.URI_QUERY), b"filter=x"), (int(OptionNumber.ACCEPT), b"\x32"),
        (int(OptionNumber.BLOCK2), b"\x02"), (int(OptionNumber.SIZE1), b"\x02"), (int(OptionNumber.ECHO), b"e"),
    )  # fmt: skip
    world.asks(Code.GET, "$devices/lamp/led/1", *options)
    expected = ((4, b"1"), *path(b"led", b"1"), (15, b"filter=x"), (17, b"\x32"))
    assert world.lamp.asked == [(Code.GET, expected, b"")]
    world.asks(Code.PUT, "$devices/lamp", payload=b"on")
    world.asks(Code.DELETE, "$devices/lamp/")
    assert world.lamp.asked[1:] == [(Code.PUT, (), b"on"), (Code.DELETE, (), b"")]


def test_its_answer_comes_back_with_the_options_that_concern_who_asks() -> None:
    world = World(*BOTH)
    world.asks(Code.POST, "$devices/lamp/led")
    given = (
        (int(OptionNumber.ETAG), b"e"), (int(OptionNumber.OBSERVE), b"\x01"), (int(OptionNumber.LOCATION_PATH), b"led"),
        (int(OptionNumber.LOCATION_PATH), b"7"), (int(OptionNumber.MAX_AGE), b"\x05"), (int(OptionNumber.BLOCK1), b""),
        (int(OptionNumber.LOCATION_QUERY), b"q"),
    )  # fmt: skip
    world.lamp.done[0](Answer(Code.CREATED, given, b"made"))
    (answer,) = world.outcomes
    assert isinstance(answer, Answer)
    located = tuple((8, name) for name in (b"$devices", b"lamp", b"led", b"7"))
    assert answer.options == ((4, b"e"), *located, (14, b"\x05"), (20, b"q"))
    assert (answer.code, answer.payload) == (Code.CREATED, b"made")


@pytest.mark.requirement("C4")
def test_get_needs_a_rule_to_receive_and_the_others_one_to_publish() -> None:
    reader, writer = World(BOTH[0]), World(BOTH[1])
    reader.asks(Code.GET, "$devices/lamp/led")
    for code in (Code.PUT, Code.POST, Code.DELETE):
        with pytest.raises(NotAuthorized):
            reader.asks(code, "$devices/lamp/led")
        writer.asks(code, "$devices/lamp/led")
    with pytest.raises(NotAuthorized):
        writer.asks(Code.GET, "$devices/lamp/led")
    with pytest.raises(CoapError, match="passed on"):
        reader.asks(Code.FETCH, "$devices/lamp/led")
    assert (len(reader.lamp.asked), len(writer.lamp.asked)) == (1, 3)


def test_a_wildcard_for_all_topics_is_no_rule_for_devices() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "#"), Rule("everyone", Operation.PUBLISH, "+/lamp/#"))
    for code in (Code.GET, Code.PUT):
        with pytest.raises(NotAuthorized):
            world.asks(code, "$devices/lamp/led")
    assert world.lamp.asked == []


def test_who_may_not_learns_not_whether_the_device_is_there() -> None:
    world = World(*BOTH)
    for name in ("stove", "nobody"):
        with pytest.raises(NotAuthorized):
            world.asks(Code.GET, f"$devices/{name}/led")


def test_a_device_without_a_link_is_a_bad_gateway() -> None:
    world = World(*BOTH)
    second = FakeLink()
    world.devices.join("lamp", second)
    world.asks(Code.GET, "$devices/lamp/led")
    world.devices.leave("lamp", second)
    world.devices.leave("lamp", second)
    world.asks(Code.GET, "$devices/lamp/led")
    assert (len(second.asked), len(world.lamp.asked)) == (1, 1)
    world.devices.leave("lamp", world.lamp)
    with pytest.raises(CoapError) as caught:
        world.asks(Code.GET, "$devices/lamp/led")
    assert caught.value.code == Code.BAD_GATEWAY


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("$devices", NotFound),
        ("$devices/", NotFound),
        ("$devices//x", NotFound),
        ("$devices/lamp/../stove", TopicNameInvalid),
        ("$devices/lamp/.", TopicNameInvalid),
        ("$devices/lamp/#", TopicNameInvalid),
        ("$devices/+/led", TopicNameInvalid),
    ],
)
def test_paths_that_name_nothing_are_refused(asked: str, error: type[LockgateError]) -> None:
    world = World(*BOTH)
    with pytest.raises(error):
        world.asks(Code.GET, asked)
    assert world.lamp.asked == []


def test_what_a_rule_bounds_is_bounded_in_the_answer() -> None:
    world = World(Rule("device:phone", Operation.RECEIVE, "$devices/lamp/#", max_payload_bytes=3))
    world.asks(Code.GET, "$devices/lamp/led")
    world.asks(Code.GET, "$devices/lamp/led")
    world.asks(Code.GET, "$devices/lamp/led")
    world.lamp.done[0](Answer(Code.CONTENT, (), b"123"))
    world.lamp.done[1](Answer(Code.CONTENT, (), b"1234"))
    gone = CoapError(Code.BAD_GATEWAY, "gone")
    world.lamp.done[2](gone)
    assert isinstance(world.outcomes[0], Answer)
    assert isinstance(world.outcomes[1], NotAuthorized)
    assert world.outcomes[2] is gone


def test_a_rate_that_a_rule_sets_counts_here_as_well() -> None:
    world = World(Rule("device:phone", Operation.PUBLISH, "$devices/lamp/#", messages_per_second=0.5))
    world.asks(Code.PUT, "$devices/lamp/led")
    with pytest.raises(RateExceeded):
        world.asks(Code.PUT, "$devices/lamp/led")
    world.now += 2
    world.asks(Code.PUT, "$devices/lamp/led")
    assert len(world.lamp.asked) == 2


def test_only_the_tree_of_devices_is_theirs() -> None:
    assert all(is_own(each) for each in ("$devices", "$devices/", "$devices/lamp/led"))
    assert not any(is_own(each) for each in ("", "devices/lamp", "$devicesX/lamp", "a/$devices/lamp", "$SYS/x"))
