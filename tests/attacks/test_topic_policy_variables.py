"""Threat: a name or client id that fills a rule's variable widens the rule to other devices' topics."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidSettings, LockgateError
from lockgate.model.device import check_name
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.policy import Grant, PolicyEngine
from lockgate.registry.rules import check_rule_filter
from tests.attacks.conftest import Target

SMUGGLED = [
    "#",
    "+",
    "sensor/#",
    "sensor/+",
    "sensor/+/x",
    "sensor/a/b",
    "sensor/../office",
    "sensor/",
    "sensor//",
    "",
    "/",
]


@pytest.mark.parametrize("client_id", SMUGGLED)
def test_a_smuggled_client_id_opens_no_topic(target: Target, client_id: str) -> None:
    target.registry.allow("everyone", Operation.PUBLISH, "clients/${client_id}/up")
    target.registry.allow("everyone", Operation.RECEIVE, "clients/${client_id}/#")
    credential = target.registry.devices["sensor"].credentials[0].id
    principal = Principal("sensor", client_id, "jwt-es256", credential)
    engine = PolicyEngine(target.registry)
    topics = [
        "clients/office/up",
        "clients/sensor/up",
        "clients/up",
        "clients//up",
        "clients/a/b/up",
        f"clients/{client_id}/up",
    ]
    for topic in topics:
        assert not isinstance(engine.authorize(principal, Operation.PUBLISH, topic), Grant)
        assert not isinstance(engine.authorize(principal, Operation.RECEIVE, topic), Grant)
    for pattern in ("clients/#", "clients/+/up", "clients/+/#", f"clients/{client_id}/#"):
        assert not isinstance(engine.authorize_filter(principal, pattern), Grant)


@pytest.mark.parametrize("client_id", [*SMUGGLED, "sensor"])
def test_a_smuggled_client_id_slips_out_of_no_deny_rule(target: Target, client_id: str) -> None:
    target.registry.allow("everyone", Operation.PUBLISH, "clients/#")
    target.registry.deny("everyone", Operation.PUBLISH, "clients/${client_id}/#")
    credential = target.registry.devices["sensor"].credentials[0].id
    principal = Principal("sensor", client_id, "jwt-es256", credential)
    assert not isinstance(
        PolicyEngine(target.registry).authorize(principal, Operation.PUBLISH, "clients/sensor/x"), Grant
    )


@pytest.mark.parametrize(
    "name", ["#", "+", "a/b", "a/#", "${client_id}", "${device}", "$SYS", "a b", "a\x00b", "a\nb", "../a"]
)
@pytest.mark.parametrize("what", ["device", "group"])
def test_a_name_that_could_widen_a_filter_is_never_registered(name: str, what: str) -> None:
    with pytest.raises(InvalidSettings):
        check_name(name, what)


@pytest.mark.parametrize(
    "pattern",
    [
        "x/${groups}",
        "x/${device}-${group}",
        "x/${client_id}-${device}",
        "x/a-${client_id}",
        "x/${client_id}b/c",
        "x/${}",
        "x/${device",
        "x/${Device}/#",
        "x/#/${device}",
        "x/${device}+",
        "+${client_id}",
        "x/${device}#",
        "${${device}}",
        "",
    ],
)
def test_a_rule_with_another_variable_or_a_wildcard_beside_one_is_refused(pattern: str) -> None:
    with pytest.raises(LockgateError):
        check_rule_filter(pattern)
