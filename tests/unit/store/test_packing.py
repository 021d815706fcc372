"""What the store keeps comes back as it was, and what is none is an error."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.model.message import Message, MessageProperties
from lockgate.model.principal import Principal
from lockgate.model.session import SessionRecord, Will
from lockgate.model.topic import TopicName
from lockgate.store.packing import pack, unpack

MESSAGE = Message(TopicName("a"), b"x", 1, True, MessageProperties(content_type="text/plain"), 5.0, "sensor")
RECORD = SessionRecord(Principal("sensor", "sensor", "x509", 3, 9.0), 60.0, None, Will(MESSAGE, 1.0))


def test_a_session_with_its_will_comes_back() -> None:
    assert unpack(pack(RECORD), SessionRecord) == RECORD


def test_the_form_is_that_of_the_fields_names() -> None:
    fields = msgspec.msgpack.decode(pack(RECORD))
    assert fields["principal"] == {
        "device": "sensor", "client_id": "sensor", "auth": "x509", "credential_id": 3, "expires_at": 9.0
    }  # fmt: skip
    assert list(fields["will"]["message"]) == [
        "topic", "payload", "qos", "retain", "properties", "expires_at", "publisher"
    ]  # fmt: skip


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        unpack(b"\x81\xa1a\x01", SessionRecord)
    with pytest.raises(msgspec.MsgspecError):
        unpack(pack({"principal": {"device": 1}, "expiry_seconds": 1.0}), SessionRecord)
    with pytest.raises(NotImplementedError):
        pack(object())
