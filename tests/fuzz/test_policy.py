"""Random decisions of the policy agree with a small independent model, and survive being exported and imported."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.policy import Grant, PolicyEngine
from lockgate.policy.expectations import WrittenRules
from lockgate.registry.policy_file import Document, read_policy, write_policy
from lockgate.store.rules import Held, roles_by_holder
from tests.support.policy_model import Action, Model, Someone

NAMES = ("a", "b", "g")
GROUPS = ("one", "two")
ROLES = ("r", "s")
SUBJECTS = ("everyone", *(f"device:{n}" for n in NAMES), *(f"group:{n}" for n in GROUPS), *(f"role:{n}" for n in ROLES))
RULE_LEVELS = (
    "a",
    "b",
    "g",
    "one",
    "x",
    "devices",
    "devices",
    "$SYS",
    "",
    "+",
    "+",
    "${device}",
    "${group}",
    "${client_id}",
)
TOPIC_LEVELS = ("a", "b", "g", "one", "two", "x", "1", "devices", "devices", "$SYS", "")
SUFFIXES = ("", "", "/1", "/x", "/x/y", "/+", "/#", "/")


class World:
    """Rules and devices, drawn at random, for the engine and for the model."""

    def __init__(self, random: Random) -> None:
        self.rules = [_rule(random, number) for number in range(1, random.randint(1, 9))]
        self.people = [
            Someone(
                name,
                tuple(group for group in GROUPS if random.random() < 0.5),
                tuple(other for other in NAMES if other != name and random.random() < 0.3),
                (),
                random.random() < 0.1,
            )
            for name in NAMES
        ]
        holders = [*(f"device:{name}" for name in NAMES), *(f"group:{group}" for group in GROUPS)]
        self.held = tuple(Held(role, holder) for role in ROLES for holder in holders if random.random() < 0.2)

    def model(self) -> Model:
        """Give the model, which is told who holds what in the end."""
        people = []
        for one in self.people:
            mine = {f"device:{one.name}", *(f"group:{group}" for group in one.groups)}
            roles = tuple({each.role for each in self.held if each.holder in mine})
            people.append(Someone(one.name, one.groups, one.gateways, roles, one.is_blocked))
        return Model(self.rules, people)

    def engine(self, rules: tuple[Rule, ...], held: tuple[Held, ...]) -> PolicyEngine:
        """Give the engine over rules."""
        devices = [
            Device(
                one.name, one.is_blocked, groups=one.groups, gateways=one.gateways,
                credentials=(Credential(1, one.name, CredentialKind.X509, ""),),
            )
            for one in self.people
        ]  # fmt: skip
        return PolicyEngine(WrittenRules(rules, roles_by_holder(held), devices))


def _rule(random: Random, number: int) -> Rule:
    levels = [random.choice(RULE_LEVELS) for _ in range(random.randint(1, 4))]
    if random.random() < 0.4:
        levels.append("#")
    topic_filter = "/".join(levels) or "#"
    operation, subject = random.choice(list(Operation)), random.choice(SUBJECTS)
    if random.random() < 0.3:
        return Rule(subject, operation, topic_filter, Effect.DENY, id=number)
    qos = tuple(level for level in (0, 1, 2) if random.random() < 0.6) or (1,)
    size = random.choice((None, 0, 10, 1000))
    return Rule(subject, operation, topic_filter, Effect.ALLOW, qos, random.random() < 0.7, number, size)


def _action(random: Random, rules: list[Rule]) -> Action:
    device = random.choice((*NAMES, "nobody") if random.random() < 0.05 else NAMES)
    client_id = device + random.choice(SUFFIXES)
    return Action(
        device,
        client_id,
        random.choice(list(Operation)),
        _topic(random, rules, device, client_id),
        random.randint(0, 2),
        random.random() < 0.4,
        random.choice((0, 5, 10, 11, 2000)),
    )


def _topic(random: Random, rules: list[Rule], device: str, client_id: str) -> str:
    """Give any topic, or, more often, one that a rule might speak about."""

    def levels(count: int) -> list[str]:
        return [random.choice(TOPIC_LEVELS) for _ in range(count)]

    if random.random() < 0.3:
        return "/".join(levels(random.randint(1, 4))) or "x"
    written = random.choice(rules).filter if rules and random.random() < 0.8 else "devices/${device}/#"
    names = {"${device}": device if random.random() < 0.8 else random.choice(NAMES), "${client_id}": client_id}
    names["${group}"] = random.choice(GROUPS)
    found: list[str] = []
    for level in written.split("/"):
        found += (
            levels(random.randint(0, 2)) if level == "#" else levels(1) if level == "+" else [names.get(level, level)]
        )
    return "/".join(found) or "x"


def decide(engine: PolicyEngine, action: Action) -> bool:
    who = Principal(action.device, action.client_id, "x509", 1)
    asked = action.topic, action.qos, action.retain, action.payload_bytes
    return isinstance(engine.authorize(who, Operation(action.operation), *asked), Grant)


def agree(seed: int, actions: int) -> int:
    """Compare decisions in one world; give how many were yes."""
    random = Random(seed)
    world = World(random)
    model = world.model()
    engine = world.engine(tuple(world.rules), world.held)
    document = read_policy(write_policy(Document(tuple(world.rules), ROLES, world.held)), "policy.toml")
    imported = world.engine(document.rules, document.held)
    allowed = 0
    for number in range(actions):
        action = _action(random, world.rules)
        expected = model.allows(action)
        assert decide(engine, action) is expected, (action, world.rules, world.people, world.held)
        if number % 10 == 0:
            assert decide(imported, action) is expected, (action, world.rules, document)
        allowed += expected
    return allowed


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "worlds", [pytest.param(200, id="20,000 decisions"), pytest.param(10_000, id="a million", marks=pytest.mark.long)]
)
def test_decisions_agree_with_the_model_and_after_export_and_import(worlds: int) -> None:
    counts: list[int] = []

    @settings(max_examples=worlds, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**64 - 1))
    def compare(seed: int) -> None:
        counts.append(agree(seed, 100))

    compare()
    assert len(counts) >= worlds
    assert 0.1 < sum(counts) / (100 * len(counts)) < 0.9, "neither answer is rare"
