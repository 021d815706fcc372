"""Threat: a decision that was remembered outlives the rule, group, role, binding or credential that it came of.

A change of the registry makes the hub ask anew about those whom it concerns, and about nobody else. Whatever changes,
and in whatever order, what the hub remembers must be what one that has just started would say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lockgate.errors import LockgateError
from lockgate.hub.routes import Memory
from lockgate.hub.session import Session
from lockgate.hub.trie import Trie
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import Denied, PolicyEngine
from lockgate.registry.registry import Registry
from lockgate.store import groups, rules
from lockgate.store.credentials import revoke_credential
from lockgate.store.registry_db import RegistryDb
from lockgate.store.rules import Held
from tests.support.fakes import FakeStore

NAMES = ("a", "b", "c", "d")
GROUPS = ("g", "h")
ROLES = ("r", "s")
TOPICS = ("x", "x/a", "x/b", "devices/a/x", "devices/b/x", "devices/d/x")
FILTERS = ("x", "x/+", "x/${device}", "x/${client_id}", "devices/+/x", "#")
STEPS, LONG_STEPS = 150, 2000


class Administration:
    """Somebody who changes a registry at random; what cannot be done is left."""

    def __init__(self, office: RegistryDb, chance: random.Random) -> None:
        self._office = office
        self._chance = chance
        self._acts: tuple[Callable[[], object], ...] = (
            self._add, self._remove, self._block, self._block_group, self._join, self._leave, self._remove_group,
            self._bind, self._unbind, self._allow, self._allow, self._allow, self._drop_rule, self._add_role,
            self._drop_role, self._grant, self._revoke_role, self._revoke, self._describe,
        )  # fmt: skip

    def act(self) -> str:
        """Do one thing; give its name."""
        chosen = self._chance.choice(self._acts)
        with suppress(LockgateError):
            chosen()
        return chosen.__name__

    def _one(self, *of: str) -> str:
        return self._chance.choice(of)

    def _add(self) -> None:
        name = self._one(*NAMES)
        member = tuple(group for group in GROUPS if self._chance.random() < 0.5)
        made = Device(name, groups=member, credentials=(Credential(0, name, CredentialKind.PASSWORD, "hash"),))
        self._office.add_device(made, (), actor="anna", now=1.0)

    def _remove(self) -> None:
        self._office.remove_device(self._one(*NAMES), actor="anna", now=1.0)

    def _block(self) -> None:
        self._office.set_blocked(self._one(*NAMES), self._chance.random() < 0.5, actor="anna", now=1.0)

    def _block_group(self) -> None:
        groups.set_group_blocked(self._office, self._one(*GROUPS), self._chance.random() < 0.5, actor="anna", now=1.0)

    def _join(self) -> None:
        self._office.join_group(self._one(*NAMES), self._one(*GROUPS), actor="anna", now=1.0)

    def _leave(self) -> None:
        self._office.leave_group(self._one(*NAMES), self._one(*GROUPS), actor="anna", now=1.0)

    def _remove_group(self) -> None:
        groups.remove_group(self._office, self._one(*GROUPS), actor="anna", now=1.0)

    def _bind(self) -> None:
        groups.bind_gateway(self._office, self._one(*NAMES), self._one(*NAMES), actor="anna", now=1.0)

    def _unbind(self) -> None:
        groups.unbind_gateway(self._office, self._one(*NAMES), self._one(*NAMES), actor="anna", now=1.0)

    def _allow(self) -> None:
        subject = self._one(
            "everyone", *(f"device:{n}" for n in NAMES), *(f"group:{g}" for g in GROUPS), *(f"role:{r}" for r in ROLES)
        )
        effect = Effect.DENY if self._chance.random() < 0.2 else Effect.ALLOW
        operation = Operation.PUBLISH if self._chance.random() < 0.5 else Operation.RECEIVE
        self._office.add_rule(Rule(subject, operation, self._one(*FILTERS), effect), actor="anna", now=1.0)

    def _drop_rule(self) -> None:
        for _ in range(3):
            known = rules.rules(self._office)
            if known:
                rules.remove_rule(self._office, self._chance.choice(known).id, actor="anna", now=1.0)

    def _add_role(self) -> None:
        rules.add_role(self._office, self._one(*ROLES), actor="anna", now=1.0)

    def _drop_role(self) -> None:
        rules.remove_role(self._office, self._one(*ROLES), actor="anna", now=1.0)

    def _held(self) -> Held:
        return Held(self._one(*ROLES), self._one(*(f"device:{n}" for n in NAMES), *(f"group:{g}" for g in GROUPS)))

    def _grant(self) -> None:
        rules.grant_role(self._office, self._held(), actor="anna", now=1.0)

    def _revoke_role(self) -> None:
        rules.revoke_role(self._office, self._held(), actor="anna", now=1.0)

    def _revoke(self) -> None:
        device = self._office.device(self._one(*NAMES))
        if device is not None and device.credentials:
            revoke_credential(self._office, device.credentials[0].id, actor="anna", now=1.0)

    def _describe(self) -> None:
        groups.set_metadata(self._office, self._one(*NAMES), {"where": "attic"}, actor="anna", now=1.0)


def decisions(memory: Memory, principals: list[Principal]) -> dict[tuple[str, str], str]:
    """Give what a hub says about each publish, and who hears each topic."""
    memory.check_epoch()
    said = {}
    for principal in principals:
        for topic in TOPICS:
            message = Message(TopicName(topic), b"")
            walk = memory.walk(principal, message)
            answer = walk if walk is not None else memory.decide(principal, message)
            said[principal.client_id, topic] = answer.reason + answer.fix if isinstance(answer, Denied) else "yes"
    for topic in TOPICS:
        route = memory.route(topic)
        hearers = [target.session.client_id for target in route.targets]
        members = [target.session.client_id for share in route.shares for target in share.members]
        said["hears", topic] = f"{sorted(hearers)} and {sorted(members)}"
    return said


@pytest.mark.requirement("Q13")
@pytest.mark.parametrize(
    ("seed", "steps"),
    [*((seed, STEPS) for seed in range(4)), *(pytest.param(9, LONG_STEPS, marks=pytest.mark.long) for _ in range(1))],
)
def test_what_is_remembered_is_what_a_hub_that_just_started_would_say(tmp_path: Path, seed: int, steps: int) -> None:
    chance = random.Random(seed)
    with RegistryDb(tmp_path / "registry.db") as office, RegistryDb(office.path, read_only=True) as gate:
        registry, trie = Registry(gate), Trie()
        remembering = Memory(PolicyEngine(registry), trie)
        administration = Administration(office, chance)
        sessions: dict[tuple[str, int], Principal] = {}
        spared = 0
        for step in range(steps):
            act = administration.act()
            if chance.random() < 0.3:
                continue  # several changes in one poll
            registry.poll()
            for name in NAMES:
                device = registry.device(name)
                for credential in device.credentials if device is not None else ():
                    if (name, credential.id) not in sessions:
                        found = sessions[name, credential.id] = Principal(name, f"{name}/1", "password", credential.id)
                        session = Session(found, 0.0, FakeStore(), 10, 1000, 10)
                        for share in ("", "team"):
                            trie.insert(session, Subscription(TopicFilter("#"), share=share))
                        remembering.forget_routes("#")
            principals = list(sessions.values())[-8:]
            before = remembering._policy.clock.number
            spared += sum(remembering._policy.clock.moved_at(name) < before for name in NAMES)
            fresh = Memory(PolicyEngine(Registry(gate)), trie)
            assert decisions(remembering, principals) == decisions(fresh, principals), f"step {step}: {act}"
        assert spared > steps, "most changes concern a few"
