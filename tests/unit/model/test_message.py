"""The records that cross rooms cannot be changed, and come back from the store's form as they were."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.errors import Step
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.message import Message, MessageProperties
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.refusal import Refusal
from lockgate.model.session import SessionRecord, Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.store.packing import pack, unpack

PROPERTIES = MessageProperties(True, "text/plain", "answers/here", b"\0\xff", (("k", "v"), ("k", "w")))
MESSAGE = Message(TopicName("a/b"), b"\0\xff", 2, True, PROPERTIES, 1000.5, "sensor")
PRINCIPAL = Principal("sensor", "sensor/1", "jwt-es256", 7, 2000.0)
RECORDS: list[msgspec.Struct] = [
    PROPERTIES,
    Subscription(TopicFilter("a/#"), 2, True, True, 1, 268_435_455),
    SessionRecord(PRINCIPAL, float("inf"), 999.5, Will(MESSAGE, 10.0, 20.0)),
    Rule("device:s", Operation.RECEIVE, "a", Effect.DENY, (1,), False, 3),
    Device("s", True, 1.0, ("g",), (Credential(1, "s", CredentialKind.X509, "PEM", "00", 1.0, 2.0, True),)),
    Refusal("K7Q2-9XMD", 1.0, Step.POLICY, "not authorized", "one sentence", evidence={"rule": "x"}, count=3),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_cannot_be_changed(record: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(record, record.__struct_fields__[0], "something else")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_from_its_packed_form_as_it_was(record: msgspec.Struct) -> None:
    assert unpack(pack(record), type(record)) == record


def test_a_payload_is_cut_out_of_its_packet_when_somebody_wants_it() -> None:
    message = Message(TopicName("a"), None, packet=b"head and payload", payload_at=9, packet_kind=4)
    assert (message.payload_bytes, message.size, message.content) == (7, 7, None)
    assert message.payload == message.payload == b"payload"
    assert message.payload_bytes == 7
    assert message == Message(TopicName("a"), b"payload")


def test_the_size_counts_what_is_put_elsewhere_than_in_the_payload() -> None:
    assert Message(TopicName("a"), b"1234").size == 4
    assert Message(TopicName("a" * 300), b"1234").size == 304
    assert Message(TopicName("a"), b"1234", properties=PROPERTIES).size > 4 + len("text/plainanswers/here")


def test_another_end_changes_nothing_else() -> None:
    assert MESSAGE.until(5.0) != MESSAGE
    assert MESSAGE.until(5.0).until(1000.5) == MESSAGE
    assert hash(MESSAGE.until(1000.5)) == hash(MESSAGE)
    assert "a/b" in repr(MESSAGE)
