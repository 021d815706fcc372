"""Reach agrees with trying everything: who can be reached is, by the topic it gives; who cannot, is not."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import filter_matches
from lockgate.policy import Grant, PolicyEngine
from lockgate.policy import reach as room
from lockgate.policy.reach import MAX_BARRIERS, Reach, Reached, overlap
from tests.support.registry import FakeRegistry

PUBLISH, RECEIVE = Operation.PUBLISH, Operation.RECEIVE


def fleet(*names: str) -> FakeRegistry:
    registry = FakeRegistry()
    for name in names or ("a", "b"):
        registry.add(name)
    return registry


def find(registry: FakeRegistry, one: str = "a", two: str = "b") -> Reached:
    return Reach(registry, registry.devices.values()).find(one, two)


def is_true(registry: FakeRegistry, way: Reached) -> bool:
    """Try a way that was found."""
    engine = PolicyEngine(registry)

    def may(name: str, client: str, operation: Operation) -> bool:
        who = Principal(name, client, "x509", registry.devices[name].credentials[0].id)
        return any(isinstance(engine.authorize(who, operation, way.topic, qos), Grant) for qos in (0, 1, 2))

    return may(way.publisher, way.publishes_as, PUBLISH) and may(way.receiver, way.receives_as, RECEIVE)


def test_nobody_reaches_anybody_until_rules_overlap() -> None:
    registry = fleet()
    way = find(registry)
    assert (way.is_possible, way.reason, way.barriers) == (False, "no allow rules overlap", ())
    publish = registry.allow("device:a", PUBLISH, "out/+")
    receive = registry.allow("everyone", RECEIVE, "out/#")
    way = find(registry)
    assert (way.topic, way.publish, way.receive) == ("out/anything", publish, receive)
    assert not find(registry, "b", "a").is_possible
    registry.deny("everyone", PUBLISH, "out/anything")
    registry.deny("everyone", PUBLISH, "out/anything-1")
    registry.deny("everyone", RECEIVE, "out/anything/#")
    assert find(registry).topic == "out/anything-2"


def test_deny_rules_that_take_away_the_whole_overlap_are_named() -> None:
    registry = fleet()
    publish, receive = registry.allow("device:a", PUBLISH, "out/#"), registry.allow("device:b", RECEIVE, "out/#")
    denies = (registry.deny("device:a", PUBLISH, "out"), registry.deny("device:b", RECEIVE, "out/+/#"))
    way = find(registry)
    assert way.reason == "deny rules take away all that allow rules have in common"
    (barrier,) = way.barriers
    assert (barrier.overlap, barrier.publish, barrier.receive) == ("out/#", publish, receive)
    assert barrier.denied_by == denies
    for number in range(30):
        registry.allow("device:b", RECEIVE, f"out/{number}")
    assert len(find(registry).barriers) == MAX_BARRIERS


def test_a_topic_that_only_its_length_saves_is_found() -> None:
    registry = fleet()
    registry.allow("device:a", PUBLISH, "#")
    registry.allow("device:b", RECEIVE, "#")
    for depth in range(1, 6):
        registry.deny("everyone", PUBLISH, "/".join("+" * depth))
    assert find(registry).topic.count("/") == 5
    registry.deny("everyone", RECEIVE, "+/+/+/+/+/+/#")
    assert not find(registry).is_possible


def test_no_topic_is_deeper_than_topics_may_be() -> None:
    registry = fleet()
    registry.allow("device:a", PUBLISH, "/".join(["x"] * 31 + ["${client_id}"]))
    registry.allow("device:b", RECEIVE, "x/#")
    assert find(registry).publishes_as == "a"
    registry.deny("everyone", PUBLISH, "/".join(["x"] * 31 + ["a"]))
    assert not find(registry).is_possible


@pytest.mark.parametrize(("one", "two"), [("$own/x", "#"), ("$own/x", "+/x"), ("#", "$own/#"), ("+/+", "$own/x")])
def test_a_wildcard_reaches_nothing_that_begins_with_a_dollar(one: str, two: str) -> None:
    registry = fleet()
    registry.allow("device:a", PUBLISH, one)
    registry.allow("device:b", RECEIVE, two)
    registry.deny("device:a", PUBLISH, "devices/#")
    registry.deny("device:b", RECEIVE, "devices/#")
    assert not find(registry).is_possible
    registry.allow("device:a", PUBLISH, "$own/x")
    registry.allow("device:b", RECEIVE, "$own/+")
    assert find(registry).topic == "$own/x"


def test_who_is_shut_out_or_unknown_reaches_nobody() -> None:
    registry = fleet("a", "b")
    registry.allow("everyone", PUBLISH, "#")
    registry.allow("everyone", RECEIVE, "#")
    registry.change("b", is_blocked=True)
    for one, two in (("a", "b"), ("b", "a")):
        assert find(registry, one, two).reason == "b: the device is blocked"
    assert find(registry, "nobody", "a").reason == "nobody: the device is not registered"


def test_a_client_id_of_its_own_choice_is_chosen_well() -> None:
    registry = fleet()
    registry.allow("device:a", PUBLISH, "clients/${client_id}/up")
    registry.allow("device:b", RECEIVE, "clients/a/kitchen/up")
    way = find(registry)
    assert (way.topic, way.publishes_as, way.receives_as) == ("clients/a/kitchen/up", "a/kitchen", "b")
    registry.deny("everyone", RECEIVE, "clients/+/+/up")
    assert not find(registry).is_possible
    registry.allow("everyone", PUBLISH, "own/#")
    registry.allow("everyone", RECEIVE, "own/#")
    registry.deny("everyone", PUBLISH, "own/#")
    registry.rules[-1] = Rule("everyone", PUBLISH, "${client_id}/#", Effect.DENY, id=9)
    registry.allow("device:a", PUBLISH, "a/#")
    registry.allow("device:b", RECEIVE, "a")
    registry.deny("device:b", RECEIVE, "own/#")
    way = find(registry)
    assert way.publishes_as.startswith("a/")
    assert is_true(registry, way)


def test_gateways_count_on_both_sides() -> None:
    registry = fleet("gw", "lamp", "other", "office")
    registry.change("lamp", gateways=("gw",))
    registry.allow("device:office", RECEIVE, "devices/lamp/#")
    assert find(registry, "gw", "office").topic == "devices/lamp"
    assert find(registry, "office", "gw").is_possible is False
    registry.allow("device:office", PUBLISH, "devices/+/set")
    assert find(registry, "office", "gw").topic in ("devices/gw/set", "devices/lamp/set")
    registry.deny("device:office", PUBLISH, "devices/gw/#")
    assert find(registry, "office", "gw").topic == "devices/lamp/set"
    assert find(registry, "gw", "lamp").topic == find(registry, "lamp", "gw").topic == "devices/lamp"
    assert not find(registry, "gw", "other").is_possible
    registry.change("lamp", is_blocked=True)
    registry.allow("device:gw", PUBLISH, "devices/lamp/x")
    assert not find(registry, "gw", "office").is_possible


def test_all_ways_of_a_device_are_found() -> None:
    registry = fleet("a", "b", "c")
    registry.allow("device:a", PUBLISH, "x")
    registry.allow("device:c", RECEIVE, "x")
    search = Reach(registry, registry.devices.values())
    assert [(way.receiver, way.is_possible) for way in search.from_device("a")] == [("b", False), ("c", True)]
    assert [(way.publisher, way.is_possible) for way in search.to_device("c")] == [("a", True), ("b", False)]


def test_a_client_id_makes_no_difference_to_rules_that_do_not_name_it() -> None:
    registry = fleet()
    for pattern in ("out/#", "clients/${client_id}"):
        registry.allow("everyone", PUBLISH, pattern)
        registry.allow("everyone", RECEIVE, pattern)
    registry.deny("everyone", PUBLISH, "out/#")
    assert len(find(registry).barriers) == 1


# Against brute force

LEVELS = ["a", "b", "g", "devices", "s"]
TOPICS = ["/".join(t) for count in (1, 2, 3) for t in product([*LEVELS, "zz", "$x", ""], repeat=count) if any(t)]
PATTERN_LEVELS = st.sampled_from(["a", "b", "g", "devices", "s", "+", "+", "$x", "", "${device}", "${client_id}"])
FILTERS = st.builds(
    lambda levels, tree: "/".join([*levels, "#"] if tree else levels),
    st.lists(PATTERN_LEVELS, min_size=1, max_size=3),
    st.booleans(),
).filter(bool) | st.just("#")
RULES = st.builds(
    Rule,
    st.sampled_from(["device:a", "device:b", "device:g", "everyone"]),
    st.sampled_from(Operation),
    FILTERS,
    st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
)
BINDINGS = st.sampled_from([{}, {"g": ("a",)}, {"b": ("a",)}, {"g": ("a", "b")}, {"a": ("b",), "b": ("a",)}])


def reaches_by_trying(registry: FakeRegistry, one: str, two: str) -> bool:
    engine = PolicyEngine(registry)

    def allowed(name: str, operation: Operation) -> set[str]:
        found: set[str] = set()
        for client in (name, *(f"{name}/{suffix}" for suffix in [*LEVELS, "zz", "$x", "new"])):
            who = registry.principal(name, client)
            found.update(topic for topic in TOPICS if isinstance(engine.authorize(who, operation, topic), Grant))
        return found

    return bool(allowed(one, PUBLISH) & allowed(two, RECEIVE))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(RULES, min_size=1, max_size=7), BINDINGS, st.sampled_from([("a", "b"), ("b", "a"), ("g", "a"), ("a", "a")])
)
def test_the_answer_is_the_one_that_trying_everything_gives(
    rules: list[Rule], bindings: dict[str, tuple[str, ...]], pair: tuple[str, str]
) -> None:
    registry = fleet("a", "b", "g")
    registry.rules = rules
    for name, gateways in bindings.items():
        registry.change(name, gateways=gateways)
    way = find(registry, *pair)
    if way.is_possible:
        assert is_true(registry, way)
    else:
        assert not reaches_by_trying(registry, *pair)


@settings(max_examples=300)
@given(FILTERS.filter(lambda f: "$" not in f[1:]), FILTERS.filter(lambda f: "$" not in f[1:]))
def test_an_overlap_takes_in_what_both_filters_do(one: str, two: str) -> None:
    both = overlap(tuple(one.split("/")), tuple(two.split("/")))
    for topic in TOPICS:
        expected = filter_matches(one, topic) and filter_matches(two, topic)
        assert (both is not None and filter_matches("/".join(both), topic)) == expected


def test_a_thousand_devices_are_searched_and_what_is_remembered_is_bounded() -> None:
    registry = fleet("hub1", *(f"d{number}" for number in range(1000)))
    for pattern in ("status/${device}", "clients/${client_id}/up", "alarms/#"):
        registry.allow("everyone", PUBLISH, pattern)
        registry.allow("everyone", RECEIVE, pattern)
    registry.deny("everyone", RECEIVE, "alarms/#")
    by_subject = {"everyone": tuple(registry.rules)}
    registry.rules_for = lambda device: by_subject.get(f"device:{device}", ()) + by_subject["everyone"]  # type: ignore[method-assign]
    search = Reach(registry, registry.devices.values())
    ways = list(search.from_device("hub1"))
    assert len(ways) == 1000
    assert not any(way.is_possible for way in ways)
    assert len(search._sides) <= room.MAX_REMEMBERED_SIDES
