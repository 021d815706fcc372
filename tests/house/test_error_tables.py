"""Each of our errors has a word in each packet that carries one, in each version, and the word is legal there.

The sets below are copied from the standard by hand, not imported: MQTT 5.0 table 2-6 (section 2.4) and the tables of
sections 3.2.2.2 to 3.14.2.1 (0x8C in DISCONNECT stands in section 2.4 only); MQTT 3.1.1 sections 3.2.2.3 and 3.9.3.
"""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import lockgate
from lockgate.adapters.coap import mapping as coap
from lockgate.adapters.mqtt import mapping
from lockgate.adapters.mqtt.packets import V5, V311, MqttError, PacketType, ReasonCode
from lockgate.errors import LockgateError, ProofExpired, ShutOut, Step
from lockgate.model.permission import Operation
from lockgate.net.failures import TlsFailure, TlsReason, TlsRefused
from lockgate.policy import Decision, Denied
from tests.support.fakes import principal

# What a server may send to say no.
REFUSALS_5_0 = {
    PacketType.CONNACK: "80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F",
    PacketType.PUBACK: "80 83 87 90 91 97 99",
    PacketType.PUBREC: "80 83 87 90 91 97 99",
    PacketType.SUBACK: "80 83 87 8F 91 97 9E A1 A2",
    PacketType.UNSUBACK: "80 83 87 8F 91",
    PacketType.DISCONNECT: "80 81 82 83 87 89 8B 8C 8D 8E 8F 90 93 94 95 96 97 98 99 9A 9B 9C 9D 9E 9F A0 A1 A2",
}
REFUSALS_3_1_1 = {PacketType.CONNACK: "01 02 03 04 05", PacketType.SUBACK: "80"}


def kinds(root: type[LockgateError]) -> list[type[LockgateError]]:
    found = [root]
    for kind in root.__subclasses__():
        found += kinds(kind)
    return found


def every_error() -> list[LockgateError]:
    """Make one error of each kind that lockgate knows, at each step where it may come up."""
    for module in pkgutil.walk_packages(lockgate.__path__, "lockgate."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    errors: list[LockgateError] = []
    for kind in kinds(LockgateError):
        if not kind.__module__.startswith("lockgate."):
            continue  # a test's own
        if kind is MqttError:
            errors += [MqttError(code, "x") for code in ReasonCode if code >= 0x80]
        elif kind is Denied:
            errors.append(Denied(Decision(False, principal("x"), Operation.PUBLISH, "a", "no rule allows it")))
        elif kind is TlsRefused:
            errors += [TlsRefused(TlsFailure(reason, "x")) for reason in TlsReason]
        else:
            errors += [kind(step=step) for step in Step]
    return errors


def as_numbers(text: str) -> set[int]:
    return {int(word, 16) for word in text.split()}


@pytest.mark.parametrize("packet", REFUSALS_5_0)
def test_in_5_0_every_error_has_a_legal_code_in_every_packet(packet: PacketType) -> None:
    legal = as_numbers(REFUSALS_5_0[packet])
    for error in every_error():
        assert mapping.reason_code(error, packet) in legal, (error, packet)


def test_in_5_0_a_refused_connect_or_filter_has_a_legal_code() -> None:
    for error in every_error():
        assert mapping.connack_code(error, V5) in as_numbers(REFUSALS_5_0[PacketType.CONNACK]), error
        assert mapping.suback_code(error, V5) in as_numbers(REFUSALS_5_0[PacketType.SUBACK]), error


def test_in_3_1_1_a_refused_connect_or_filter_has_a_legal_return_code() -> None:
    for error in every_error():
        assert mapping.connack_code(error, V311) in as_numbers(REFUSALS_3_1_1[PacketType.CONNACK]), error
        assert mapping.suback_code(error, V311) in as_numbers(REFUSALS_3_1_1[PacketType.SUBACK]), error


# RFC 7252 section 12.1.2, RFC 8132 (4.09, 4.22), RFC 8516 (4.29): what a server may send to say no.
REFUSALS_COAP = "80 81 82 83 84 85 86 88 89 8C 8D 8F 96 9D A0 A1 A2 A3 A4 A5 A8"


def test_in_coap_every_error_has_a_response_code() -> None:
    legal = as_numbers(REFUSALS_COAP)
    for error in every_error():
        assert coap.code_of(error) in legal, error
        assert coap.refusal(error, "x").code in legal, error


def test_each_of_our_own_errors_says_the_same_by_every_door() -> None:
    assert set(coap.CODES) <= set(kinds(LockgateError))
    assert set(mapping.CODES) - set(coap.CODES) == {ShutOut, ProofExpired}, "those are NotAuthorized and so on in CoAP"


def test_the_walk_found_errors_beyond_the_errors_module() -> None:
    assert {type(error).__name__ for error in every_error()} >= {"LockgateError", "MqttError", "Denied", "TlsRefused"}


def test_our_own_table_names_only_errors_that_exist_and_codes_that_refuse() -> None:
    assert set(mapping.CODES) <= set(kinds(LockgateError))
    assert all(code >= 0x80 for code in mapping.CODES.values())
