"""The records of packets keep secrets out of sight, and their errors name a reason code."""

from __future__ import annotations

from lockgate.adapters.mqtt.packets import V5, Connect, MqttError, ReasonCode
from lockgate.errors import Step


def test_a_connect_never_shows_its_password() -> None:
    shown = repr(Connect(V5, "sensor-1", user_name="user", password=b"hunter2"))
    assert "hunter2" not in shown
    assert "sensor-1" in shown


def test_an_mqtt_error_carries_its_code_and_says_it_in_words() -> None:
    error = MqttError(ReasonCode.TOPIC_ALIAS_INVALID, "the topic alias 0 is not legal")
    assert (error.code, error.reason, error.step) == (0x94, "topic alias invalid", Step.PROTOCOL)
    assert str(error) == "the topic alias 0 is not legal"
