"""Threat: a device was taken that is close to others: a gateway, a device behind one, a member of a group.

It may what it may by that, and nothing more: a gateway speaks for those bound to it, nobody speaks for their gateway.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockgate.adapters.mqtt.packets import Puback, Publish, Suback, Subscribe, SubscriptionRequest, WillPacket
from lockgate.model.topic import TopicName
from tests.support.hub import RunningHub, eventually
from tests.support.intruder import Ledger, Line, Thief

pytestmark = [pytest.mark.process, pytest.mark.requirement("I1", "I8")]

NO_RULE = "not authorized: no rule allows it"
NOT_ITS_ID = "client id belongs to another device"


class Village:
    """`gate` speaks for `leaf`; `far` for `twig`, and `twig` for `gate`. `mate` and `peer` are in `hall`."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.ledger = Ledger()
        self.people = {
            name: Thief(hub, hub.add_device(name, "x509"), False, self.ledger)
            for name in ("gate", "leaf", "far", "twig", "mate", "peer", "alone")
        }
        hub.lockgate("gateway", "bind", "gate", "leaf")
        hub.lockgate("gateway", "bind", "far", "twig")
        hub.lockgate("gateway", "bind", "twig", "gate")
        for group, names in (("hall", ("mate", "peer")), ("roof", ("alone",))):
            for name in names:
                hub.lockgate("group", "join", group, name)
        hub.lockgate(
            "policy", "allow", "--everyone", "--publish", "groups/${group}/#", "--receive", "groups/${group}/#"
        )
        self.ears = {name: person.enters(f"{name}/home") for name, person in self.people.items()}
        for name, ear in self.ears.items():
            assert subscribes(ear, f"devices/{name}/#")
        eventually(lambda: publishes(self.ears["gate"], "devices/leaf/ready", self.ledger) or None)
        eventually(lambda: subscribes(self.ears["mate"], "groups/hall/#", self.ledger) or None)

    def __getitem__(self, name: str) -> Thief:
        return self.people[name]


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    with RunningHub(tmp_path_factory.mktemp("hub")) as hub:
        made = Village(hub)
        yield made
        for ear in made.ears.values():
            ear.cut()


def publishes(line: Line, topic: str, ledger: Ledger | None = None, retain: bool = False) -> bool:
    """Publish; say whether the hub took it. A refusal is noted."""
    line.send(Publish(TopicName(topic), b"from a neighbour", 1, retain, packet_id=7))
    answer = line.receive(Puback)
    if answer.code >= 0x80 and ledger is not None:
        ledger.enter(answer.properties.reason_string or "", {NO_RULE})
    return answer.code < 0x80


def subscribes(line: Line, wanted: str, ledger: Ledger | None = None) -> bool:
    """Subscribe; say whether the hub granted it. A refusal is noted."""
    line.send(Subscribe(7, (SubscriptionRequest(wanted, 1),)))
    answer = line.receive(Suback)
    if answer.codes[0] >= 0x80 and ledger is not None:
        ledger.enter(answer.properties.reason_string or "", {NO_RULE})
    return answer.codes[0] < 0x80


def reaches(village: Village, thief: str, victim: str) -> bool:
    """Try all that reaches a device's tree; say whether anything did."""
    tree, ledger = f"devices/{victim}", village.ledger
    with village[thief].enters() as line:
        got = [publishes(line, f"{tree}/{rest}", ledger, retain) for rest in ("cmd", "a/b") for retain in (False, True)]
        for wanted in (f"{tree}/#", f"{tree}/cmd", f"{tree}/+", f"$share/g/{tree}/#", f"$share/g/{tree}/cmd"):
            got.append(subscribes(line, wanted, ledger))
    return any(got)


@pytest.mark.parametrize(
    ("thief", "victim"),
    [
        ("gate", "twig"), ("gate", "far"), ("gate", "alone"),  # a gateway speaks for those bound to it alone
        ("leaf", "gate"), ("twig", "far"),  # and nobody for their gateway
        ("far", "gate"),  # and not through a device that is a gateway itself
        ("leaf", "twig"), ("mate", "peer"), ("peer", "mate"), ("alone", "mate"),
    ],
)  # fmt: skip
def test_a_neighbours_tree_is_out_of_reach(village: Village, thief: str, victim: str) -> None:
    assert not reaches(village, thief, victim)


def test_a_gateway_takes_in_no_more_than_single_trees(village: Village) -> None:
    with village["gate"].enters() as line:
        for wanted in ("devices/#", "devices/+/#", "devices/+/ready", "+/leaf/#", "$share/g/devices/+/#", "#"):
            assert not subscribes(line, wanted, village.ledger)
        assert subscribes(line, "devices/leaf/#")


@pytest.mark.parametrize("thief", ["gate", "far", "mate"])
def test_who_may_speak_for_a_device_may_not_be_it(village: Village, thief: str) -> None:
    for victim in ("leaf", "twig", "peer"):
        for client_id in (victim, f"{victim}/home", f"{victim}/new"):
            village[thief].is_refused({NOT_ITS_ID}, client_id, expiry=3600)


def test_wills_reach_no_further_than_messages(village: Village) -> None:
    for thief, topic in (("gate", "devices/twig/x"), ("leaf", "devices/gate/x"), ("alone", "groups/hall/x")):
        village[thief].is_refused({NO_RULE}, will=WillPacket(topic, b"from a neighbour", 1, retain=True))


def test_a_groups_topics_are_its_members_and_nobody_elses(village: Village) -> None:
    with village["alone"].enters() as line:
        assert not publishes(line, "groups/hall/news", village.ledger)
        assert not publishes(line, "groups/hall/news", village.ledger, retain=True)
        for wanted in ("groups/hall/#", "groups/+/#", "groups/#", "$share/g/groups/hall/#", "groups/+/news"):
            assert not subscribes(line, wanted, village.ledger)
        assert publishes(line, "groups/roof/news")
    with village["peer"].enters() as line:
        assert not publishes(line, "groups/roof/news", village.ledger)
        assert publishes(line, "groups/hall")  # what stands before a filter's /# belongs to it
        assert publishes(line, "groups/hall/news")
    ear = village.ears["mate"]
    assert ear.is_alive()
    assert [message.topic for message in ear.heard if message.topic.startswith("groups/")] == [
        "groups/hall",
        "groups/hall/news",
    ]


def test_nobody_heard_a_neighbour_and_every_attempt_is_on_record(village: Village) -> None:
    for name, ear in village.ears.items():
        assert ear.is_alive(), f"{name} lost its connection"
        others = {m.topic for m in ear.heard if not m.topic.startswith("groups/hall")}
        assert others <= ({"devices/leaf/ready"} if name == "leaf" else set())
    village.ledger.compare(village.hub)
