"""The packets that come by the million: compared by what they say, and cut out of what was read when wanted."""

from __future__ import annotations

from lockgate.adapters.mqtt.exchange import NO_PROPERTIES, Acknowledgement, Puback, Pubcomp, Publish, Pubrec, Pubrel
from lockgate.adapters.mqtt.properties import Properties
from lockgate.model.topic import TopicName

A = TopicName("a")


def test_a_payload_is_cut_out_of_its_packet_when_somebody_wants_it() -> None:
    publish = Publish(A, None, packet=b"head and payload", payload_at=9)
    assert publish.content is None
    assert publish.payload == publish.payload == b"payload"
    assert publish == Publish(A, b"payload")
    assert publish != Publish(A, b"other")
    assert publish != "a"
    assert len({publish, Publish(A, b"payload")}) == 1
    assert repr(publish) == "Publish('a', b'payload', 0, False, False, 0, Properties())"


def test_acknowledgements_are_told_apart_by_kind_and_value() -> None:
    every: list[Acknowledgement] = [Puback(1), Pubrec(1), Pubrel(1), Pubcomp(1), Puback(2), Puback(1, 0x10)]
    assert [sum(one == other for other in every) for one in every] == [1] * len(every)
    assert len({*every, *every}) == len(every)
    assert Puback(1) != 1
    assert repr(Puback(1, 16)) == "Puback(1, 16, Properties())"


def test_without_its_reason_an_acknowledgement_says_the_same() -> None:
    said = Properties(reason_string="because", user_properties=(("a", "b"),))
    rest = Properties(user_properties=(("a", "b"),))
    for kind in (Puback, Pubrec, Pubrel, Pubcomp):
        assert kind(7, 0x87, said).without_reason() == kind(7, 0x87, rest)
    assert Puback(1).properties is NO_PROPERTIES
