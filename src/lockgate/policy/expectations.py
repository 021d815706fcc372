"""Expectations: what people want the policy to answer, in a file, for `lockgate policy check` and their own CI.

```toml
[[expect]]
device = "sensor"
publish = "Office/Temperature"    # or receive = ...; with a wildcard it is a subscription
qos = 1
allowed = true
```
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from lockgate.errors import InvalidSettings
from lockgate.model.device import Credential, CredentialKind, Device
from lockgate.model.epoch import Epoch
from lockgate.model.permission import EVERYONE, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy.engine import Grant, PolicyEngine, RuleSource


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row: what a device asks for, and what the answer shall be.

    `publish` or `receive` is the topic; `rule` the beginning of the sentence of the rule that shall decide, "" for any.
    """

    device: str
    allowed: bool
    publish: str = ""
    receive: str = ""
    qos: int = 0
    retain: bool = False
    payload_bytes: int = 0
    client_id: str = ""
    rule: str = ""

    @property
    def operation(self) -> Operation:
        """What it asks to do."""
        return Operation.PUBLISH if self.publish else Operation.RECEIVE

    @property
    def topic(self) -> str:
        """The topic name, or for receiving perhaps a topic filter."""
        return self.publish or self.receive


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device as the file describes it, for a check that has no home."""

    name: str
    groups: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


class Expectations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    expect: tuple[Expectation, ...]
    device: tuple[Described, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """What became of one expectation: the answer that came, why, and by which rule."""

    expectation: Expectation
    is_met: bool
    is_allowed: bool
    reason: str
    rule: str


class WrittenRules:
    """Rules and devices from files, as the policy asks for them: a `RuleSource` without a registry.

    Args:
        rules: all rules.
        roles: the roles of each holder.
        devices: the devices that are described; one that only an expectation names is registered as well.
    """

    clock = Epoch()

    def __init__(self, rules: Iterable[Rule], roles: Mapping[str, tuple[str, ...]], devices: Iterable[Device]) -> None:
        self._rules: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            self._rules[rule.subject].append(rule)
        self._roles = roles
        self._devices = {device.name: device for device in devices}

    def device(self, name: str, /) -> Device | None:
        """Find a device by name."""
        return self._devices.get(name)

    def rules_for(self, device: str, /) -> tuple[Rule, ...]:
        """Give the rules of a device, its groups, their roles and everyone."""
        known = self._devices.get(device)
        holders = [f"device:{device}", *(f"group:{group}" for group in (known.groups if known else ()))]
        roles = dict.fromkeys(f"role:{role}" for holder in holders for role in self._roles.get(holder, ()))
        return tuple(rule for subject in (*holders, *roles, EVERYONE) for rule in self._rules.get(subject, ()))


def read_expectations(text: str, name: str) -> Expectations:
    """Read a file of expectations.

    Raises:
        InvalidSettings: when it is no TOML, or a key or a value cannot be, naming the row and the key.
    """
    fix = "docs/guides/permissions.md shows an example"
    try:
        found = msgspec.convert(tomllib.loads(text), Expectations)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{name} is no TOML: {error}", fix="mend that line") from error
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"{name}: {error}", fix=fix) from error
    for number, each in enumerate(found.expect, 1):
        if bool(each.publish) == bool(each.receive):
            raise InvalidSettings(f"{name}: expectation {number} needs either publish or receive", fix=fix)
        if not 0 <= each.qos <= 2 or each.payload_bytes < 0:
            raise InvalidSettings(f"{name}: expectation {number}: qos is 0 to 2, payload_bytes not negative", fix=fix)
    return found


def described_devices(expectations: Expectations) -> list[Device]:
    """Give the devices that a file describes, and those that it only names, each with a credential that holds."""
    described = {each.device: Described(each.device) for each in expectations.expect}
    described |= {each.name: each for each in expectations.device}
    return [
        Device(
            each.name,
            groups=each.groups,
            credentials=(Credential(1, each.name, CredentialKind.X509, ""),),
            gateways=each.gateways,
        )
        for each in described.values()
    ]


def check(expectations: Expectations, source: RuleSource) -> list[Outcome]:
    """Ask the policy for each expectation.

    Raises:
        TopicNameInvalid: when a topic is none.
        TopicFilterInvalid: likewise for a filter.
    """
    engine = PolicyEngine(source)
    return [_outcome(each, engine, source) for each in expectations.expect]


def _outcome(each: Expectation, engine: PolicyEngine, source: RuleSource) -> Outcome:
    device = source.device(each.device)
    good = [c.id for c in device.credentials if not c.is_revoked] if device is not None else []
    principal = Principal(each.device, each.client_id or each.device, "check", good[0] if good else 0)
    if each.operation is Operation.RECEIVE and ("+" in each.topic or "#" in each.topic):
        answer = engine.authorize_filter(principal, topic_filter(each.topic))
    else:
        topic = topic_name(each.topic)
        answer = engine.authorize(principal, each.operation, topic, each.qos, each.retain, each.payload_bytes)
    decision, is_allowed = answer.decision, isinstance(answer, Grant)
    rule = decision.rule.sentence if decision.rule is not None else ""
    is_met = is_allowed is each.allowed and rule.startswith(each.rule)
    return Outcome(each, is_met, is_allowed, decision.reason, str(decision.rule) if decision.rule is not None else "")
