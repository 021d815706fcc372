"""Properties show what is there, and no proof."""

from __future__ import annotations

from lockgate.adapters.mqtt.properties import Properties


def test_only_what_is_there_is_shown_and_of_a_proof_its_length() -> None:
    assert repr(Properties()) == "Properties()"
    shown = repr(Properties(authentication_method="SCRAM-SHA-256", authentication_data=b"secret"))
    assert shown == "Properties(authentication_method='SCRAM-SHA-256', authentication_data=<6 bytes>)"
