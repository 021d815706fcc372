"""Threat: CoAP as a way round the policy, by what only CoAP can say: queries, conditions, lists, observations, paths.

`reader` may do what every device may (its own devices/reader/#), and hear all of plant/ but its secrets; `writer` may
publish small messages at QoS 0 below plant/, and not retain them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.mapping import etag_of
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.model.message import Message, MessageProperties
from lockgate.model.permission import Operation
from lockgate.model.topic import topic_name
from lockgate.registry.vault import SECRETS_FILE, Vault
from tests.support.coap_book import CoapBook, Device
from tests.support.registry import FakeRegistry, psk

pytestmark = pytest.mark.requirement("I8", "C2")

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = b"the combination is 1234"
OBSERVE = (OptionNumber.OBSERVE, b"")


class Plant(CoapBook):
    """A hub with real identity and policy, and something to steal."""

    def __init__(self, folder: Path) -> None:
        self.vault = Vault(folder / SECRETS_FILE)
        self.devices = FakeRegistry()
        for name in ("reader", "writer", "owner"):
            self.devices.add(name, psk(self.vault, name, KEY))
        self.devices.allow("device:reader", Operation.RECEIVE, "plant/#")
        self.devices.deny("device:reader", Operation.RECEIVE, "plant/+/secret")
        self.devices.allow("device:writer", Operation.PUBLISH, "plant/#", max_qos=0, retain=False, size=64)
        self.devices.allow("device:owner", Operation.PUBLISH, "#")
        self.devices.allow("device:owner", Operation.RECEIVE, "#")
        super().__init__(registry=self.devices)
        self.owner = self.device("owner")
        for topic in ("plant/1/secret", "devices/owner/secret", "other/secret"):
            assert self.owner.asks(Code.PUT, topic, SECRET).code == Code.CREATED
        assert self.owner.asks(Code.PUT, "plant/1/open", b"21").code == Code.CREATED


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def tells_nothing(answer: CoapMessage) -> None:
    assert SECRET not in answer.payload
    assert b"other/secret" not in answer.payload
    assert b"plant/1/secret" not in answer.payload


FILTERS = [
    "#",
    "+/1/secret",
    "+/secret",
    "other/#",
    "other/secret",
    "devices/+/secret",
    "devices/#",
    "$SYS/#",
    "$SYS/+",
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_a_query_beyond_the_rules_is_refused_read_or_observed(plant: Plant, wanted: str) -> None:
    reader = plant.device("reader")
    for options in ((), (OBSERVE,)):
        for kind in (Type.CON, Type.NON):
            reader.sends(Code.GET, "", b"", *options, query=f"filter={wanted}", type=kind)
            (answer,) = reader.messages()
            assert answer.code == Code.FORBIDDEN
            tells_nothing(answer)
    assert len(reader.handler._observer) == 0
    plant.owner.asks(Code.PUT, "other/secret", SECRET + b"!")
    plant.owner.asks(Code.PUT, "devices/owner/secret", SECRET + b"!")
    reader.gets_nothing()


def test_what_is_denied_within_a_filter_is_neither_listed_nor_read_nor_notified(plant: Plant) -> None:
    reader = plant.device("reader")
    for query in ("filter=plant/#", "filter=plant/+/secret", "filter=plant/1/+"):
        answer = reader.asks(Code.GET, query=query)
        assert answer.code in (Code.CONTENT, Code.FORBIDDEN)
        tells_nothing(answer)
    discovered = reader.asks(Code.GET, ".well-known/core")
    assert b"plant/1/open" in discovered.payload
    tells_nothing(discovered)
    tells_nothing(reader.asks(Code.GET, ".well-known/core", query="href=/plant/1/secret"))
    tells_nothing(reader.asks(Code.GET, ".well-known/core", query="href=/other*"))
    assert reader.asks(Code.GET, "plant/1/secret").code == Code.FORBIDDEN
    reader.observes(query="filter=plant/#", type=Type.NON)
    for _ in range(3):
        plant.owner.asks(Code.PUT, "plant/1/secret", SECRET)
        plant.owner.asks(Code.PUT, "plant/2/secret", SECRET)
    reader.gets_nothing()


def test_conditions_are_no_oracle_for_who_may_not_read(plant: Plant) -> None:
    writer = plant.device("writer")
    plant.devices.allow("device:writer", Operation.PUBLISH, "devices/owner/secret", retain=True)
    right = etag_of(Message(topic_name("devices/owner/secret"), SECRET))
    answers = {
        writer.asks(Code.PUT, "devices/owner/secret", b"mine", (OptionNumber.IF_MATCH, etag)).code
        for etag in (right, bytes(8), b"x")
    }
    assert answers == {Code.FORBIDDEN}
    both = [(OptionNumber.IF_MATCH, b""), (OptionNumber.IF_MATCH, bytes(8))]
    assert writer.asks(Code.PUT, "devices/owner/secret", b"mine", *both).code == Code.FORBIDDEN
    assert writer.asks(Code.GET, "devices/owner/secret", b"", (OptionNumber.ETAG, right)).code == Code.FORBIDDEN
    for code in (Code.PUT, Code.DELETE):
        for option in ((OptionNumber.IF_MATCH, b""), (OptionNumber.IF_MATCH, right), (OptionNumber.IF_NONE_MATCH, b"")):
            assert writer.asks(code, "other/secret", b"", option).code == Code.FORBIDDEN
            assert writer.asks(code, "other/nothing", b"", option).code == Code.FORBIDDEN
    assert plant.owner.asks(Code.GET, "devices/owner/secret").payload == SECRET


def test_the_limits_of_a_rule_bind_in_every_way_to_publish(plant: Plant) -> None:
    writer = plant.device("writer")
    block = OptionNumber.BLOCK1
    refused = [
        writer.asks(Code.PUT, "plant/a", b"1", type=Type.NON),
        writer.asks(Code.POST, "plant/a", b"1", query="retain=1", type=Type.NON),
        writer.asks(Code.DELETE, "plant/1/open", type=Type.NON),
        writer.asks(Code.POST, "plant/a", b"1"),
        writer.asks(Code.PUT, "plant/a", b"1", query="retain=0"),
        writer.asks(Code.POST, "plant/a", bytes(65), type=Type.NON),
    ]
    writer.asks(Code.POST, "plant/a", bytes(64), (block, b"\x0a"), type=Type.NON)
    refused.append(writer.asks(Code.POST, "plant/a", b"1", (block, b"\x12"), type=Type.NON))
    assert {answer.code for answer in refused} <= {Code.FORBIDDEN, Code.REQUEST_ENTITY_TOO_LARGE}
    assert writer.asks(Code.POST, "plant/a", bytes(64), type=Type.NON).code == Code.CHANGED
    assert writer.asks(Code.PUT, "plant/a", b"1", query="retain=0", type=Type.NON).code == Code.CHANGED
    assert plant.owner.asks(Code.GET, "plant/1/open").payload == b"21"
    assert plant.owner.asks(Code.GET, "plant/a").code == Code.NOT_FOUND


PATHS = [
    (b"plant", b"+"), (b"#",), (b"plant/1/secret",), (b"plant", b"..", b"other", b"secret"), (b"plant", b"", b"secret"),
    (b"", b"other", b"secret"), (b"other", b"secret", b""), (b"$SYS", b"uptime"), (b"$share", b"g", b"plant", b"#"),
    (b"plant", b"\xff\xfe"), (b"plant", b"a\0b"), (b"%6fther", b"secret"), (b".", b"other", b"secret"),
    (b"\xed\xa0\x80",),
    tuple(b"x" for _ in range(40)),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_no_spelling_of_a_path_reaches_what_another_spelling_is_refused(plant: Plant, path: tuple[bytes, ...]) -> None:
    options = tuple((int(OptionNumber.URI_PATH), segment) for segment in path)
    for name in ("reader", "writer"):
        device = plant.device(name)
        for code in (Code.GET, Code.PUT, Code.POST, Code.DELETE):
            for more in ((), (OBSERVE,)):
                device._message_id += 1
                request = CoapMessage(Type.NON, code, device._message_id, b"t", (*sorted((*more, *options)),))
                device.sends_bytes(wire.encode(request))
                for answer in device.messages():
                    assert answer.code >= 128 or path[0] == b"plant", answer
                    tells_nothing(answer)
    assert plant.owner.asks(Code.GET, "other/secret").payload == SECRET
    assert plant.owner.asks(Code.GET, "plant/1/secret").payload == SECRET
    assert plant.hub.retained_count == 4


def test_forms_that_only_mqtt_knows_are_no_way_in(plant: Plant) -> None:
    reader = plant.device("reader")
    for text in ("$share/g/plant/#", "$share/g/#", "$share", "$share/", "$queue/plant/#", "plant/#/x", "pl+nt/x"):
        for options in ((), (OBSERVE,)):
            reader.sends(Code.GET, "", b"", *options, query=f"filter={text}")
            (answer,) = reader.messages()
            assert answer.code in (Code.BAD_REQUEST, Code.FORBIDDEN)
    two = reader.asks(Code.GET, query="filter=plant/1/open&filter=#")
    assert two.code == Code.BAD_REQUEST, "not the one checked and the other read"
    assert reader.asks(Code.GET, "plant/1/open", query="filter=#").code == Code.BAD_REQUEST


def observes_all(plant: Plant) -> Device:
    reader = plant.device("reader")
    reader.observes("plant/1/open", token=b"\x02")
    reader.observes(query="filter=plant/#", type=Type.NON)
    return reader


def test_a_right_that_is_taken_ends_what_an_observer_hears(plant: Plant) -> None:
    reader = observes_all(plant)
    plant.devices.deny("device:reader", Operation.RECEIVE, "plant/#")
    plant.owner.asks(Code.PUT, "plant/1/open", SECRET)
    plant.passes(1)
    for message in reader.messages():
        tells_nothing(message)
    assert reader.asks(Code.GET, "plant/1/open").code == Code.FORBIDDEN
    assert reader.observes("plant/1/open", token=b"\x03").code == Code.FORBIDDEN
    for _ in range(100):  # it is asked for a sign of life meanwhile
        plant.passes(60)
        for message in reader.messages():
            tells_nothing(message)
            if message.type == Type.CON:
                reader.acknowledges(message)
    assert plant.unheard == []
    assert not [each for each in plant.refusals() if "unexpected" in str(each)]
    assert not reader.link.is_closed


@pytest.mark.parametrize("how", ["revoked", "blocked"])
def test_who_is_revoked_says_and_hears_nothing_more_on_a_link_that_stands(plant: Plant, how: str) -> None:
    reader = observes_all(plant)
    if how == "revoked":
        plant.devices.change_credentials("reader", is_revoked=True)
    else:
        plant.devices.change("reader", is_blocked=True)
    plant.owner.asks(Code.PUT, "plant/1/open", SECRET)
    before = plant.hub.retained_count
    reader.sends(Code.PUT, "devices/reader/x", b"1")
    reader.sends(Code.GET, "plant/1/open")
    for message in reader.messages():
        tells_nothing(message)
        assert message.code >= 128 or message.code == 0
    assert plant.hub.retained_count == before


def test_texts_of_refusals_bring_no_lines_and_no_colours_of_their_own(plant: Plant) -> None:
    reader = plant.device("reader")
    evil = "\x1b[2J\r\nclient.connected device=admin\u202e"
    answers = [
        reader.asks(Code.PUT, evil, b"1"),
        reader.asks(Code.GET, evil),
        reader.asks(Code.GET, query=f"filter={evil}/#"),
        reader.asks(Code.GET, query=evil),
        reader.asks(Code.GET, query=f"filter=+{evil}"),
        reader.asks(Code.PUT, f"{evil}+", b"1"),
    ]
    for answer in answers:
        assert answer.code >= 128
        assert not [each for each in answer.payload.decode() if not each.isprintable()], answer.payload
    for refusal in plant.refusals():
        assert not [each for each in str(refusal) if each in "\x1b\r\n\u202e"], refusal


def test_a_format_that_nobody_knows_comes_back_as_it_was(plant: Plant) -> None:
    number = (OptionNumber.CONTENT_FORMAT, b"\xfd\xe8")
    for payload in (b"1", b"2"):
        plant.owner.asks(Code.PUT, "plant/1/open", payload, number)
    assert plant.owner.asks(Code.GET, "plant/1/open").number(OptionNumber.CONTENT_FORMAT) == 0xFDE8
    for text in ("application/x-coap-content-format;number=99999", "application/x-coap-content-format;number=²"):
        message = Message(topic_name("plant/x"), b"1", retain=True, properties=MessageProperties(content_type=text))
        owner = plant.owner.handler._principal
        assert owner is not None
        plant.hub.publish(owner, message)
        assert plant.owner.asks(Code.GET, "plant/x").number(OptionNumber.CONTENT_FORMAT) is None
