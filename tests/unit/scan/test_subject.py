"""Facts: what is missing says why, doors are told apart."""

from __future__ import annotations

import pytest

from lockgate.scan.subject import Door, Login, NotKnown, Subject

TCP, SIX = Door("mqtt", "0.0.0.0", 8883, True), Door("mqtt", "::", 8883, True)
WEB, LAB = Door("mqtt", "::", 8884, True, "websocket"), Door("mqtt", "127.0.0.1", 1883, False)


def test_a_missing_fact_says_why() -> None:
    subject = Subject(0.0, "x", reasons={"doors": "no hub runs"})
    with pytest.raises(NotKnown, match="no hub runs"):
        subject.tls_doors()
    with pytest.raises(NotKnown, match="no hub runs"):
        subject.probe()
    with pytest.raises(NotKnown, match="registry is not known"):
        subject.need(subject.devices, "registry")


def test_each_port_is_one_door() -> None:
    subject = Subject(0.0, "x", doors=(TCP, SIX, WEB, LAB))
    assert {door.port for door in subject.tls_doors()} == {8883, 8884}
    assert subject.mqtt_doors() == (TCP,)


def test_a_door_knows_what_it_is() -> None:
    assert (str(TCP), str(SIX)) == ("mqtt 0.0.0.0:8883", "mqtt [::]:8883")
    assert [d.is_loopback for d in (TCP, SIX, LAB, Door("mqtt", "::1", 1, True))] == [False, False, True, True]
    assert (Login(0).is_in, Login(5).is_in, Login(None).is_in) == (True, False, False)
