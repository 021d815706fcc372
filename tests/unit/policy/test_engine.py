"""May you? Deny by default, deny wins, limits hold, and the answer agrees with a model that shares no code with it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import NotAuthorized, Step
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.policy import HUB_DEVICE, LAB_DEVICE, Decision, Denied, Grant, PolicyEngine
from lockgate.policy import engine as room
from tests.support.registry import FakeRegistry, es256

PUBLISH, RECEIVE = Operation.PUBLISH, Operation.RECEIVE


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.add("sensor", groups=("floor1",))
    registry.add("office")
    return registry


@pytest.fixture
def engine(registry: FakeRegistry) -> PolicyEngine:
    return PolicyEngine(registry)


def denied(answer: Grant | Denied) -> Denied:
    assert isinstance(answer, Denied)
    return answer


def granted(answer: Grant | Denied) -> Grant:
    assert isinstance(answer, Grant), answer
    return answer


# What everybody may


@pytest.mark.parametrize("operation", Operation)
def test_a_device_may_use_its_own_tree_and_nothing_else(
    registry: FakeRegistry, engine: PolicyEngine, operation: Operation
) -> None:
    sensor = registry.principal("sensor")
    for topic in ("devices/sensor", "devices/sensor/x", "devices/sensor/x/y"):
        grant = granted(engine.authorize(sensor, operation, topic, 2, True))
        assert (grant.max_qos, grant.may_retain) == (2, True)
        assert str(grant.decision.rule).endswith("(built in)")
    for topic in ("devices", "devices/sensor2", "devices/office/x", "devices/Sensor", "x", "", "/", "$mine/x"):
        error = denied(engine.authorize(sensor, operation, topic))
        assert error.decision.rule is None
        assert error.step is Step.POLICY
        assert error.evidence == {"operation": operation.value, "topic": topic, "rule": "no rule allows it"}


def test_a_refusal_names_the_command_that_would_mend_it_and_quotes_the_topic(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    error = denied(engine.authorize(registry.principal("sensor"), PUBLISH, "x; rm -rf /"))
    assert error.fix == "lockgate policy allow --device sensor '--publish=x; rm -rf /'"
    assert isinstance(error, NotAuthorized)


@pytest.mark.parametrize("subject", ["device:sensor", "group:floor1", "everyone"])
def test_rules_of_the_device_its_groups_and_everyone_count(
    registry: FakeRegistry, engine: PolicyEngine, subject: str
) -> None:
    rule = registry.allow(subject, PUBLISH, "out/${device}")
    assert granted(engine.authorize(registry.principal("sensor"), PUBLISH, "out/sensor")).decision.rule == rule
    denied(engine.authorize(registry.principal("sensor"), RECEIVE, "out/sensor"))
    other = engine.authorize(registry.principal("office"), PUBLISH, "out/office")
    assert isinstance(other, Grant) is (subject == "everyone")


@pytest.mark.requirement("Q13")
def test_deny_wins_over_every_allow_and_names_its_rule(registry: FakeRegistry, engine: PolicyEngine) -> None:
    registry.allow("device:sensor", PUBLISH, "#")
    rule = registry.deny("group:floor1", PUBLISH, "devices/sensor/secret/+")
    error = denied(engine.authorize(registry.principal("sensor"), PUBLISH, "devices/sensor/secret/x"))
    assert error.decision.rule == rule
    assert error.fix == f"lockgate policy remove {rule.id}"
    granted(engine.authorize(registry.principal("sensor"), PUBLISH, "devices/sensor/secret"))
    granted(engine.authorize(registry.principal("sensor"), RECEIVE, "devices/sensor/secret/x"))


def test_who_reaches_into_another_devices_tree_is_told_of_gateways(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    sensor = registry.principal("sensor")
    allow = "lockgate policy allow --device sensor "
    assert denied(engine.authorize(sensor, PUBLISH, "devices/office/x")).fix.startswith(
        f"lockgate gateway bind sensor office, if sensor speaks for office; else {allow}"
    )
    for topic in ("devices/nobody/x", "devices", "office/x"):
        assert denied(engine.authorize(sensor, PUBLISH, topic)).fix.startswith(allow)


# Limits


def test_a_publish_above_the_rules_qos_or_retained_against_it_is_refused(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    rule = registry.allow("device:sensor", PUBLISH, "x", max_qos=1, retain=False)
    sensor = registry.principal("sensor")
    grant = granted(engine.authorize(sensor, PUBLISH, "x", 1))
    assert (grant.max_qos, grant.may_retain) == (1, False)
    above = denied(engine.authorize(sensor, PUBLISH, "x", 2))
    assert (above.decision.reason, above.decision.rule) == ("QoS 2 is above the rule's 1", rule)
    retained = denied(engine.authorize(sensor, PUBLISH, "x", 0, True))
    assert (retained.decision.reason, retained.decision.rule) == ("the rule allows no retain", rule)


def test_limits_of_two_rules_do_not_add_up(registry: FakeRegistry, engine: PolicyEngine) -> None:
    registry.allow("device:sensor", PUBLISH, "x", max_qos=0, retain=True)
    registry.allow("device:sensor", PUBLISH, "+", max_qos=2, retain=False)
    sensor = registry.principal("sensor")
    granted(engine.authorize(sensor, PUBLISH, "x", 0, True))
    granted(engine.authorize(sensor, PUBLISH, "x", 2, False))
    denied(engine.authorize(sensor, PUBLISH, "x", 1, True))


@pytest.mark.parametrize("order", [(0, 2), (2, 0)])
def test_a_delivery_is_capped_by_the_widest_rule_not_by_the_first(
    registry: FakeRegistry, engine: PolicyEngine, order: tuple[int, int]
) -> None:
    for max_qos in order:
        registry.allow("device:sensor", RECEIVE, "x/+", max_qos)
    sensor = registry.principal("sensor")
    assert granted(engine.authorize(sensor, RECEIVE, "x/y", 2)).max_qos == 2
    assert granted(engine.authorize_filter(sensor, "x/+")).max_qos == 2


def test_a_delivery_is_not_refused_for_its_qos(registry: FakeRegistry, engine: PolicyEngine) -> None:
    registry.allow("device:sensor", RECEIVE, "x", max_qos=0)
    assert granted(engine.authorize(registry.principal("sensor"), RECEIVE, "x", 2)).max_qos == 0


# Subscriptions


def test_a_subscription_needs_one_rule_that_covers_all_of_it(registry: FakeRegistry, engine: PolicyEngine) -> None:
    registry.allow("device:sensor", RECEIVE, "a/+")
    registry.allow("device:sensor", RECEIVE, "b/#")
    sensor = registry.principal("sensor")
    for good in ("a/+", "a/x", "b", "b/#", "b/+/c", "devices/sensor/#"):
        granted(engine.authorize_filter(sensor, good))
    for wide in ("#", "+/x", "a/#", "a", "devices/+/x", "devices/#", "$share/g/a/x"):
        assert denied(engine.authorize_filter(sensor, wide)).decision.topic == wide


def test_a_deny_rule_refuses_the_subscriptions_that_lie_wholly_in_it(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    registry.allow("device:sensor", RECEIVE, "a/#")
    rule = registry.deny("everyone", RECEIVE, "a/secret/#")
    sensor = registry.principal("sensor")
    assert denied(engine.authorize_filter(sensor, "a/secret/+")).decision.rule == rule
    granted(engine.authorize_filter(sensor, "a/#"))
    denied(engine.authorize(sensor, RECEIVE, "a/secret/x"))


# Levels, sizes and rates


def test_qos_levels_need_not_begin_at_zero(registry: FakeRegistry, engine: PolicyEngine) -> None:
    rule = Rule("everyone", PUBLISH, "x", qos=(1, 2), id=1)
    registry.rules.append(rule)
    sensor = registry.principal("sensor")
    grant = granted(engine.authorize(sensor, PUBLISH, "x", 1))
    assert (grant.max_qos, grant.qos_bits) == (2, 0b110)
    below = denied(engine.authorize(sensor, PUBLISH, "x", 0))
    assert (below.decision.reason, below.decision.rule) == ("the rule allows it at QoS 1 and 2", rule)


@pytest.mark.parametrize("operation", Operation)
def test_a_payload_above_the_rules_size_is_refused_with_the_rule(
    registry: FakeRegistry, engine: PolicyEngine, operation: Operation
) -> None:
    rule = registry.allow("device:sensor", operation, "x", size=9)
    sensor = registry.principal("sensor")
    assert granted(engine.authorize(sensor, operation, "x", payload_bytes=9)).max_payload_bytes == 9
    error = denied(engine.authorize(sensor, operation, "x", payload_bytes=10))
    assert (error.decision.reason, error.decision.rule) == ("the rule allows payloads of up to 9 bytes", rule)
    assert error.from_bytes == 10
    if operation is PUBLISH:
        rule = registry.allow("device:sensor", operation, "y", max_qos=0, size=9)
        assert denied(engine.authorize(sensor, operation, "y", 1, payload_bytes=10)).from_bytes == 0


def test_of_the_rules_that_allow_a_message_the_one_with_the_highest_rate_counts(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    slow = registry.allow("everyone", PUBLISH, "x", rate=1.0)
    fast = registry.allow("everyone", PUBLISH, "x", max_qos=1, rate=5.0)
    free = registry.allow("everyone", PUBLISH, "x", max_qos=0)
    sensor = registry.principal("sensor")
    for qos, rule in ((0, free), (1, fast), (2, slow)):
        grant = granted(engine.authorize(sensor, PUBLISH, "x", qos))
        assert (grant.decision.rule, grant.messages_per_second) == (rule, rule.messages_per_second or 0.0)
        assert (grant.holder, grant.lasts) == ("sensor", False)
    registry.allow("everyone", PUBLISH, "y", rate=1.0)
    assert granted(engine.authorize(sensor, PUBLISH, "y")).lasts
    assert granted(engine.authorize(sensor, PUBLISH, "devices/sensor/x")).lasts


# Groups and roles


def test_a_rule_about_groups_stands_once_for_each_group_of_the_device(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    registry.allow("everyone", PUBLISH, "groups/${group}/${device}")
    registry.deny("everyone", PUBLISH, "secret/${group}/#")
    registry.allow("everyone", PUBLISH, "secret/#")
    registry.change("sensor", groups=("floor1", "floor2"))
    sensor, office = registry.principal("sensor"), registry.principal("office")
    for topic in ("groups/floor1/sensor", "groups/floor2/sensor", "secret/floor3"):
        granted(engine.authorize(sensor, PUBLISH, topic))
    for topic in ("groups/floor3/sensor", "groups/floor1/office", "groups//sensor", "secret/floor1", "secret/floor2/x"):
        denied(engine.authorize(sensor, PUBLISH, topic))
    denied(engine.authorize(office, PUBLISH, "groups//office"))
    granted(engine.authorize(office, PUBLISH, "secret/floor1"))


@pytest.mark.parametrize("group", ["+", "#", "a/b", ""])
def test_a_group_whose_name_would_widen_a_filter_opens_nothing_and_escapes_no_deny(
    registry: FakeRegistry, engine: PolicyEngine, group: str
) -> None:
    registry.allow("device:sensor", PUBLISH, "g/${group}/x")
    registry.allow("device:office", PUBLISH, "g/#")
    registry.deny("device:office", PUBLISH, "g/${group}/x")
    for name in ("sensor", "office"):
        registry.change(name, groups=(group,))
        for topic in ("g/a/x", "g/b/x", "g/a/b/x", f"g/{group}/x"):
            denied(engine.authorize(registry.principal(name), PUBLISH, topic))


# Gateways


@pytest.fixture
def bound(registry: FakeRegistry) -> FakeRegistry:
    """The lamp and the meter stand behind the gateway `sensor`; the office is somebody else."""
    registry.add("lamp", groups=("lamps",))
    registry.add("meter")
    for name in ("lamp", "meter"):
        registry.change(name, gateways=("other", "sensor"))
    return registry


@pytest.mark.parametrize("operation", Operation)
def test_a_gateway_speaks_for_the_devices_bound_to_it_and_for_nobody_else(
    bound: FakeRegistry, engine: PolicyEngine, operation: Operation
) -> None:
    gateway = bound.principal("sensor")
    for topic in ("devices/lamp", "devices/lamp/x", "devices/meter/x/y", "devices/sensor/x"):
        granted(engine.authorize(gateway, operation, topic))
        denied(engine.authorize(bound.principal("office"), operation, topic))
    for topic in ("devices/office/x", "devices/nobody/x", "devices", "devices/", "devices/+/x", "x/lamp/x", "$SYS/x"):
        denied(engine.authorize(gateway, operation, topic))
    for name in ("lamp", "meter"):
        denied(engine.authorize(bound.principal(name), operation, "devices/sensor/x"))
    grant = granted(engine.authorize(gateway, operation, "devices/lamp/x"))
    assert (grant.holder, grant.decision.principal) == ("lamp", gateway)


def test_a_gateway_subscribes_for_one_device_at_a_time(bound: FakeRegistry, engine: PolicyEngine) -> None:
    gateway = bound.principal("sensor")
    for good in ("devices/lamp/#", "devices/lamp/+/x", "devices/meter"):
        granted(engine.authorize_filter(gateway, good))
    for wide in ("devices/#", "devices/+/x", "#", "devices/office/#"):
        denied(engine.authorize_filter(gateway, wide))


def test_there_the_rules_of_the_device_decide_and_the_gateways_deny_rules(
    bound: FakeRegistry, engine: PolicyEngine
) -> None:
    gateway = bound.principal("sensor")
    bound.allow("device:sensor", PUBLISH, "out")
    bound.allow("device:lamp", PUBLISH, "lamps")
    denied(engine.authorize(gateway, PUBLISH, "lamps"))
    granted(engine.authorize(gateway, PUBLISH, "out"))
    rule = bound.deny("group:lamps", PUBLISH, "devices/${device}/secret")
    bound.allow("device:sensor", PUBLISH, "devices/lamp/secret")
    assert denied(engine.authorize(gateway, PUBLISH, "devices/lamp/secret")).decision.rule == rule
    granted(engine.authorize(gateway, PUBLISH, "devices/meter/secret"))
    rule = bound.deny("device:sensor", PUBLISH, "devices/meter/#")
    assert denied(engine.authorize(gateway, PUBLISH, "devices/meter/x")).decision.rule == rule
    granted(engine.authorize(bound.principal("meter"), PUBLISH, "devices/meter/x"))


@pytest.mark.parametrize(
    ("shut", "words", "fix"),
    [
        (lambda r: r.change("lamp", is_blocked=True), "the device is blocked", "device unblock lamp"),
        (
            lambda r: r.change("lamp", blocked_groups=("lamps",)),
            "the group lamps is blocked",
            "lockgate group unblock lamps",
        ),
        (lambda r: r.change_credentials("lamp", is_revoked=True), "the credential is revoked", "lamp"),
    ],
)
def test_for_a_device_that_is_shut_out_no_gateway_speaks(
    bound: FakeRegistry, engine: PolicyEngine, shut: Callable[[FakeRegistry], None], words: str, fix: str
) -> None:
    gateway = bound.principal("sensor")
    bound.allow("device:sensor", PUBLISH, "devices/#")
    granted(engine.authorize(gateway, PUBLISH, "devices/lamp/x"))
    shut(bound)
    error = denied(engine.authorize(gateway, PUBLISH, "devices/lamp/x"))
    assert error.decision.reason == f"lamp, for which it would speak: {words}"
    assert fix in error.fix
    denied(engine.authorize_filter(gateway, "devices/lamp/#"))
    granted(engine.authorize(gateway, PUBLISH, "devices/meter/x"))


def test_a_device_without_credentials_lives_by_its_gateway(bound: FakeRegistry, engine: PolicyEngine) -> None:
    bound.change("lamp", credentials=())
    granted(engine.authorize(bound.principal("sensor"), PUBLISH, "devices/lamp/x"))


def test_a_gateway_loses_a_device_that_is_unbound_or_removed_at_once(bound: FakeRegistry, engine: PolicyEngine) -> None:
    gateway = bound.principal("sensor")
    acts: dict[str, Callable[[], None]] = {
        "lamp": lambda: bound.change("lamp", gateways=()),
        "meter": lambda: bound.remove("meter"),
    }
    for name, lose in acts.items():
        granted(engine.authorize(gateway, PUBLISH, f"devices/{name}/x"))
        before = engine.clock.number
        lose()
        assert engine.clock.number != before
        denied(engine.authorize(gateway, PUBLISH, f"devices/{name}/x"))


def test_a_gateway_that_is_shut_out_speaks_for_nobody_and_binding_is_no_chain(
    bound: FakeRegistry, engine: PolicyEngine
) -> None:
    bound.change("office", gateways=("lamp",))
    denied(engine.authorize(bound.principal("sensor"), PUBLISH, "devices/office/x"))
    granted(engine.authorize(bound.principal("lamp"), PUBLISH, "devices/office/x"))
    bound.change("sensor", blocked_groups=("floor1",))
    error = denied(engine.authorize(bound.principal("sensor"), PUBLISH, "devices/lamp/x"))
    assert (error.decision.reason, error.fix) == ("the group floor1 is blocked", "lockgate group unblock floor1")


def test_the_fix_for_a_gateway_names_the_device_whose_rules_lack_it(bound: FakeRegistry, engine: PolicyEngine) -> None:
    bound.rules = [Rule("device:lamp", PUBLISH, "devices/lamp/x", qos=(0,), id=1)]
    gateway = bound.principal("sensor")
    engine_rule = denied(engine.authorize(gateway, PUBLISH, "out"))
    assert engine_rule.fix == "lockgate policy allow --device sensor --publish=out"
    assert str(granted(engine.authorize(gateway, PUBLISH, "devices/lamp/x", 2)).decision.rule).endswith("(built in)")


# Standing


def test_a_blocked_revoked_or_unknown_device_gets_nothing(registry: FakeRegistry, engine: PolicyEngine) -> None:
    registry.allow("everyone", PUBLISH, "#")
    sensor = registry.principal("sensor")
    granted(engine.authorize(sensor, PUBLISH, "x"))
    registry.change("sensor", is_blocked=True)
    error = denied(engine.authorize(sensor, PUBLISH, "x"))
    assert (error.decision.reason, error.fix) == ("the device is blocked", "lockgate device unblock sensor")
    registry.change("sensor", is_blocked=False, blocked_groups=("night",))
    error = denied(engine.authorize(sensor, PUBLISH, "x"))
    assert (error.decision.reason, error.fix) == ("the group night is blocked", "lockgate group unblock night")
    registry.change("sensor", blocked_groups=())
    registry.change_credentials("sensor", is_revoked=True)
    error = denied(engine.authorize(sensor, PUBLISH, "devices/sensor/x"))
    assert error.decision.reason == "the credential is revoked"
    assert error.fix.startswith("lockgate device rotate sensor")
    registry.add("sensor", es256())
    denied(engine.authorize(sensor, PUBLISH, "x"))
    registry.remove("sensor")
    error = denied(engine.authorize_filter(sensor, "devices/sensor/#"))
    assert error.decision.reason == "the device is not registered"
    assert error.fix.startswith("lockgate device add sensor")


def test_the_lab_may_everything_but_what_begins_with_a_dollar(engine: PolicyEngine) -> None:
    lab = Principal(LAB_DEVICE, "lab/x", "lab")
    granted(engine.authorize(lab, PUBLISH, "devices/sensor/x", 2, True))
    granted(engine.authorize_filter(lab, "#"))
    denied(engine.authorize(lab, PUBLISH, "$SYS/x"))


def test_the_hub_speaks_under_its_own_name_and_nowhere_else(engine: PolicyEngine) -> None:
    hub = Principal(HUB_DEVICE, HUB_DEVICE, HUB_DEVICE)
    granted(engine.authorize(hub, PUBLISH, "$SYS/x", 0, True))
    denied(engine.authorize(hub, PUBLISH, "devices/sensor/x"))


def test_answers_follow_the_registrys_epoch(registry: FakeRegistry, engine: PolicyEngine) -> None:
    sensor = registry.principal("sensor")
    denied(engine.authorize(sensor, PUBLISH, "x"))
    before = engine.clock.number
    registry.allow("device:sensor", PUBLISH, "x")
    assert engine.clock.number != before
    granted(engine.authorize(sensor, PUBLISH, "x"))


def test_the_memory_of_principals_is_bounded(
    registry: FakeRegistry, engine: PolicyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_REMEMBERED_PRINCIPALS", 3)
    for number in range(10):
        registry.add(f"lamp{number}")
    for number in range(10):
        lamp = registry.principal(f"lamp{number}")
        granted(engine.authorize(lamp, PUBLISH, f"devices/lamp{number}/x"))
        assert len(engine._of_devices) <= 3


def test_clients_of_a_device_share_what_is_remembered_of_it(registry: FakeRegistry, engine: PolicyEngine) -> None:
    for number in range(10):
        granted(engine.authorize(registry.principal("sensor", f"sensor/{number}"), PUBLISH, "devices/sensor/x"))
    assert (len(engine._of_devices), len(engine._of_clients)) == (1, 0)


def test_clients_that_a_rule_tells_apart_are_remembered_apart_within_a_bound(
    registry: FakeRegistry, engine: PolicyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_REMEMBERED_CLIENTS", 3)
    registry.allow("device:sensor", PUBLISH, "clients/${client_id}")
    clients = [registry.principal("sensor", f"sensor/{number}") for number in range(10)]
    for client in clients * 2:
        granted(engine.authorize(client, PUBLISH, f"clients/{client.client_id}"))
        denied(engine.authorize(client, PUBLISH, "clients/sensor/other"))
        assert len(engine._of_clients) <= 3


def test_a_decision_has_no_truth_value(registry: FakeRegistry, engine: PolicyEngine) -> None:
    decision = granted(engine.authorize(registry.principal("sensor"), PUBLISH, "devices/sensor/x")).decision
    with pytest.raises(TypeError, match="no truth value"):
        bool(decision)
    with pytest.raises(TypeError):
        assert Decision(False, decision.principal, PUBLISH, "x", "no")


# The model: filters as regular expressions, sets instead of order


def regex(pattern: str) -> re.Pattern[str]:
    if pattern == "#":
        return re.compile(r"(?!\$).*", re.S)
    head = r"(?!\$)" if pattern.startswith("+") else ""
    is_tree = pattern.endswith("/#")
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in pattern.removesuffix("/#").split("/"))
    return re.compile(head + body + ("(/.*)?" if is_tree else ""), re.S)


def model(rules: list[Rule], principal: Principal, operation: Operation, topic: str, qos: int, retain: bool) -> bool:
    own = Rule("everyone", operation, "devices/${device}/#")
    about = [r for r in [*rules, own] if r.operation is operation]
    client = principal.client_id
    is_plain = re.fullmatch(r"[^/+#]+(/[^/+#]+)?", client) is not None

    def speaks(rule: Rule) -> bool:
        pattern = rule.filter.replace("${device}", principal.device)
        pattern = pattern.replace("${group}", "floor1")
        if "${client_id}" in pattern and not is_plain:
            if rule.effect is Effect.ALLOW:
                return False
            pattern = rule.filter[: rule.filter.index("${")].rpartition("/")[0] + "/#"
            pattern = pattern.removeprefix("/")
        return regex(pattern.replace("${client_id}", client)).fullmatch(topic) is not None

    if any(speaks(rule) for rule in about if rule.effect is Effect.DENY):
        return False
    allows = [rule for rule in about if rule.effect is Effect.ALLOW and speaks(rule)]
    if operation is Operation.RECEIVE:
        return bool(allows)
    return any(qos in rule.qos and (rule.retain or not retain) for rule in allows)


LEVELS = st.sampled_from(["a", "b", "devices", "sensor", "1", "$x", ""])
FILTER_LEVELS = st.sampled_from(["a", "b", "devices", "sensor", "$x", "+", "+", "${device}", "${client_id}"])
FILTERS = st.builds(
    lambda levels, tree: "/".join([*levels, "#"] if tree else levels),
    st.lists(FILTER_LEVELS, min_size=1, max_size=3),
    st.booleans(),
) | st.just("#")
RULES = st.builds(
    Rule,
    st.sampled_from(["device:sensor", "group:floor1", "everyone"]),
    st.sampled_from(Operation),
    FILTERS,
    st.sampled_from(Effect),
    st.sets(st.integers(0, 2), min_size=1).map(lambda levels: tuple(sorted(levels))),
    st.booleans(),
)
CLIENT_IDS = st.sampled_from(["sensor", "sensor/1", "sensor/a/b", "sensor/+", "sensor/#"])


@given(
    st.lists(RULES, max_size=5),
    CLIENT_IDS,
    st.sampled_from(Operation),
    st.lists(LEVELS, min_size=1, max_size=4).map("/".join),
    st.integers(0, 2),
    st.booleans(),
)
def test_random_decisions_agree_with_the_model(
    rules: list[Rule], client_id: str, operation: Operation, topic: str, qos: int, retain: bool
) -> None:
    registry = FakeRegistry()
    registry.add("sensor", groups=("floor1",))
    registry.rules = rules
    principal = registry.principal("sensor", client_id)
    answer = PolicyEngine(registry).authorize(principal, operation, topic, qos, retain)
    assert isinstance(answer, Grant) == model(rules, principal, operation, topic, qos, retain)


def test_rules_are_made_ready_anew_for_those_alone_whom_a_change_concerns(
    registry: FakeRegistry, engine: PolicyEngine
) -> None:
    registry.allow("everyone", PUBLISH, "x")
    principals = {name: registry.principal(name) for name in ("sensor", "office")}
    before = {name: engine.rules_of(principal) for name, principal in principals.items()}
    registry.clock.move(["office"])
    assert {name: engine.rules_of(each) is before[name] for name, each in principals.items()} == {
        "sensor": True,
        "office": False,
    }
