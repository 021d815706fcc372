"""The hub's memory: it remembers, it forgets in time, it is bounded, and it never skips the policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub import routes as room
from lockgate.hub.routes import MAX_DENIALS_PER_CLIENT, Memory, Target, Walk
from lockgate.hub.trie import Trie
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Subscription
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import UNLIMITED_BYTES, Denied, Grant, PolicyEngine
from tests.support.fakes import EVERYTHING, FakeRules, principal
from tests.unit.hub.test_trie import session, subscription

SENSOR = principal("sensor")


class World:
    def __init__(self, *rules: Rule) -> None:
        self.rules = FakeRules(*(rules or EVERYTHING))
        self.policy = CountingPolicy(self.rules)
        self.trie = Trie()
        self.memory = Memory(self.policy, self.trie)

    def hearers(self, topic: str) -> list[str]:
        return [target.session.client_id for target in self.memory.route(topic).targets]

    def decide(
        self, who: Principal = SENSOR, topic: str = "a", qos: int = 0, retain: bool = False, size: int = 0
    ) -> Grant | Denied:
        answer = self.memory.decide(who, Message(TopicName(topic), b"x" * size, qos, retain))
        return answer.grant if isinstance(answer, Walk) else answer

    def known(self, who: Principal, topic: str, qos: int = 0, retain: bool = False, size: int = 0) -> Grant | None:
        """Give the grant that is remembered."""
        walk = self.memory.walk(who, Message(TopicName(topic), b"x" * size, qos, retain))
        return None if walk is None else walk.grant

    def remembers(
        self, who: Principal = SENSOR, topic: str = "a", qos: int = 0, retain: bool = False, size: int = 0
    ) -> bool:
        """Say whether the answer comes without asking the policy."""
        if self.known(who, topic, qos, retain, size) is not None:
            return True
        asked = self.policy.asked
        self.decide(who, topic, qos, retain, size)
        return self.policy.asked == asked


class CountingPolicy(PolicyEngine):
    asked = 0

    def authorize(
        self,
        principal: Principal,
        operation: Operation,
        topic: str,
        qos: int = 0,
        retain: bool = False,
        payload_bytes: int = 0,
    ) -> Grant | Denied:
        self.asked += 1
        return super().authorize(principal, operation, topic, qos, retain, payload_bytes)


def test_a_route_holds_only_those_who_may_receive() -> None:
    world = World(EVERYTHING[1], Rule("device:spy", Operation.RECEIVE, "a", Effect.DENY))
    for name in ("office", "spy"):
        world.trie.insert(session(name), subscription("a"))
    assert world.hearers("a") == ["office"]


def test_a_route_is_remembered_until_its_topic_is_touched() -> None:
    world = World()
    world.trie.insert(session("one"), subscription("a"))
    first = world.memory.route("a")
    assert world.memory.route("a") is first
    world.trie.insert(session("two"), subscription("a"))
    world.memory.forget_routes("b")
    assert world.memory.route("a") is first
    world.memory.forget_routes("a")
    assert world.hearers("a") == ["one", "two"]


@pytest.mark.parametrize(
    ("topic_filter", "touched"),
    [("+", {"x"}), ("#", {"x", "x/y", "x/z/y"}), ("x/#", {"x", "x/y", "x/z/y"}), ("+/y", {"x/y"}), ("a/#", set())],
)
def test_a_wildcard_touches_the_routes_that_it_takes_in(topic_filter: str, touched: set[str]) -> None:
    world = World()
    before = {topic: world.memory.route(topic) for topic in ("x", "x/y", "x/z/y", "$SYS/y")}
    world.memory.forget_routes(topic_filter)
    assert {topic for topic, route in before.items() if world.memory.route(topic) is not route} == touched


def test_a_wildcard_that_takes_in_very_many_topics_touches_every_route() -> None:
    world = World()
    before = [world.memory.route(f"devices/{number}/x") for number in range(1000)]
    world.trie.insert(session("office"), subscription("devices/+/x"))
    world.memory.forget_routes("devices/+/x")
    assert not any(world.memory.route(f"devices/{number}/x") is before[number] for number in range(1000))
    assert world.hearers("devices/7/x") == ["office"]


@pytest.mark.parametrize("share", ["", "team"])
@pytest.mark.parametrize("wanted", ["hall/1/door", "hall/+/door", "+/1/#"])
def test_one_more_subscriber_of_many_is_one_more_question_to_the_policy(wanted: str, share: str) -> None:
    world = World()
    for number in range(100):
        world.trie.insert(session(str(number)), Subscription(TopicFilter(wanted), share=share))
    world.memory.route("hall/1/door")
    asked = world.policy.asked
    for number in range(100, 110):
        world.trie.insert(session(str(number)), Subscription(TopicFilter(wanted), share=share))
        world.memory.forget_routes(wanted)
        route = world.memory.route("hall/1/door")
        heard = [t.session.client_id for t in (route.shares[0].members if share else route.targets)]
        assert heard == [str(each) for each in range(number + 1)]
    assert world.policy.asked - asked == 10


def test_what_was_decided_about_a_receiver_is_asked_anew_when_it_is_another_or_wants_something_else() -> None:
    world = World()
    many = [session(str(number)) for number in range(50)]
    for each in many:
        world.trie.insert(each, subscription("a", 1))
    world.memory.route("a")
    asked = world.policy.asked
    many[3].principal = principal("3")
    world.trie.insert(many[4], subscription("a", 2))
    world.trie.insert(many[5], subscription("#"))
    world.trie.remove(many[6], "a")
    world.memory.forget_routes("a")
    route = world.memory.route("a")
    assert world.policy.asked - asked == 3
    assert {t.session.client_id: t.qos for t in route.targets if t.qos != 1} == {"4": 2}
    assert [len(t.subscriptions) for t in route.targets if t.session is many[5]] == [2]
    assert all(t.session is not many[6] for t in route.targets)


def test_a_route_that_is_kept_for_its_answers_asks_anew_when_the_policy_has_changed() -> None:
    world = World()
    for number in range(50):
        world.trie.insert(session(str(number)), subscription("a"))
    world.memory.route("a")
    world.memory.forget_routes("a")
    world.rules.change()
    world.memory.check_epoch()
    assert world.hearers("a") == []


def test_a_change_of_the_policy_forgets_everything() -> None:
    world = World()
    world.trie.insert(session("office"), subscription("a"))
    assert isinstance(world.decide(), Grant)
    assert world.hearers("a") == ["office"]
    world.memory.check_epoch()
    assert world.known(SENSOR, "a", 0, False, 0) is not None
    world.rules.change()
    world.memory.check_epoch()
    assert world.known(SENSOR, "a", 0, False, 0) is None
    assert world.hearers("a") == []


def test_a_grant_counts_only_for_what_it_grants_and_for_whom() -> None:
    world = World(Rule("everyone", Operation.PUBLISH, "a", qos=(0, 2), retain=False, max_payload_bytes=9))
    assert world.known(SENSOR, "a") is None
    grant = world.decide()
    assert world.known(SENSOR, "a", 2, False, 9) is grant
    assert world.known(SENSOR, "a", 1, False, 0) is None
    assert world.known(SENSOR, "a", 0, True, 0) is None
    assert world.known(SENSOR, "a", 0, False, 10) is None
    assert world.known(SENSOR, "b", 0, False, 0) is None
    assert world.known(principal("other"), "a", 0, False, 0) is None
    assert world.known(principal("other", "sensor"), "a", 0, False, 0) is None, "the same client id, somebody else"


def test_where_one_of_several_rules_has_a_rate_each_message_finds_its_own() -> None:
    rules = (
        Rule("everyone", Operation.PUBLISH, "a", id=1, max_payload_bytes=9),
        Rule("everyone", Operation.PUBLISH, "+", id=2, messages_per_second=1.0),
    )
    world = World(*rules)
    for size, number in ((99, 2), (9, 1), (99, 2)):
        answer = world.decide(size=size)
        assert isinstance(answer, Grant)
        assert answer.decision.rule is rules[number - 1]
        assert world.known(SENSOR, "a", 0, False, size) is None


def test_a_client_that_left_is_forgotten_and_a_new_one_begins_anew() -> None:
    world = World()
    world.decide(SENSOR, "a")
    again = principal("sensor")
    world.decide(again, "c")
    assert world.known(again, "a", 0, False, 0) is None
    assert world.known(again, "c", 0, False, 0) is not None
    world.memory.forget_client("sensor")
    assert world.known(again, "c", 0, False, 0) is None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.hub.routes.MAX_ROUTES", 3)
    monkeypatch.setattr("lockgate.hub.routes.MAX_GRANTS_PER_CLIENT", 3)
    world = World()
    for number in range(10):
        world.memory.route(str(number))
        world.decide(SENSOR, str(number))
        assert len(world.memory._routes) <= 3
        assert len(world.memory._grants["sensor"].by_topic) <= 3


def test_overlapping_subscriptions_make_one_target_capped_by_the_policy() -> None:
    one = session()
    wide = Subscription(TopicFilter("#"), 2, identifier=5, no_local=True)
    narrow = Subscription(TopicFilter("a"), 1, identifier=6, retain_as_published=True)
    target = Target(one, [wide, narrow, subscription("+")], 1, UNLIMITED_BYTES)
    assert (target.qos, target.identifiers) == (1, (5, 6))
    assert target.retain_as_published
    local = target.without_local()
    assert local is not None
    assert (local.qos, local.identifiers) == (1, (6,))
    assert Target(one, [wide], 2, UNLIMITED_BYTES).without_local() is None


def test_a_wildcard_at_the_end_touches_the_routes_under_them_alone() -> None:
    world = World()
    kept = world.memory.route("devices/one/x")
    touched = {topic: world.memory.route(topic) for topic in ("devices/two", "devices/two/x")}
    world.trie.insert(session("office"), subscription("devices/two/#"))
    world.memory.forget_routes("devices/two/#")
    assert world.memory.route("devices/one/x") is kept
    for topic, before in touched.items():
        assert world.memory.route(topic) is not before
    assert world.hearers("devices/two") == ["office"]


filters = st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=3)


@given(st.lists(st.tuples(filters, st.booleans(), st.sampled_from(["", "team"])), max_size=12))
def test_a_remembered_route_is_what_a_fresh_look_finds(wanted: list[tuple[list[str], bool, str]]) -> None:
    world = World()
    topics = [f"{x}{y}{z}" for x in "ab" for y in ("", "/a", "/b") for z in ("", "/a")]
    for number, (levels, is_deep, share) in enumerate(wanted):
        text = TopicFilter("/".join([*levels, "#"] if is_deep else levels))
        world.trie.insert(session(str(number)), Subscription(text, share=share))
        world.memory.forget_routes(text)
        for topic in topics:
            route = world.memory.route(topic)
            assert [t.session for t in route.targets] == list(world.trie.match(topic))
            members = [[m.session for m in shared.members] for shared in route.shares]
            assert members == [list(share.members) for share in world.trie.match_shares(topic)]


def test_the_memory_is_bounded_by_the_members_of_shares_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.hub.routes.MAX_ROUTE_BYTES", 100_000)
    world = World()
    for number in range(100):
        world.trie.insert(session(str(number)), Subscription(TopicFilter("#"), share="team"))
    for number in range(50):
        world.memory.route(str(number))
        assert len(world.memory._routes) <= 5
        assert len(world.memory._known.taken_in("#") or ()) <= 5


def test_a_denial_is_remembered_for_exactly_its_publish_until_the_policy_changes() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "#"))
    denied = world.decide()
    assert isinstance(denied, Denied)
    assert world.decide() is denied
    assert world.decide(qos=1) is not denied
    assert world.decide(retain=True) is not denied
    assert world.decide(size=9) is denied
    assert world.decide(principal("sensor")) is not denied, "a new proof is decided anew"
    world.rules.clock.move()
    world.memory.check_epoch()
    assert world.decide() is not denied


def test_a_denial_for_its_size_is_remembered_for_what_is_as_large() -> None:
    world = World(Rule("everyone", Operation.PUBLISH, "a", max_payload_bytes=9))
    denied = world.decide(size=20)
    assert isinstance(denied, Denied)
    assert world.remembers(size=20)
    assert world.remembers(size=99)
    assert world.decide(size=10) is not denied
    assert isinstance(world.decide(size=9), Grant)


def test_denials_are_bounded_by_client_and_by_the_length_of_the_topic() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "#"))
    for number in range(MAX_DENIALS_PER_CLIENT + 1):
        world.decide(topic=f"t/{number}")
    assert [world.remembers(topic=f"t/{n}") for n in (0, MAX_DENIALS_PER_CLIENT)] == [False, True]
    for topic in ("x" * 256, "x" * 257):
        world.decide(topic=topic)
    assert [world.remembers(topic="x" * length) for length in (256, 257)] == [True, False]


def test_grants_and_denials_of_all_clients_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_GRANTS", 100)
    world = World(*EVERYTHING, Rule("everyone", Operation.PUBLISH, "no", Effect.DENY))
    memory, counts = world.memory, []
    for number in range(1000):
        sensor = principal(f"sensor-{number % 50}")
        world.decide(sensor, f"t/{number}")
        world.decide(sensor, "no")
        counts.append(sum(len(each.by_topic) + len(each.denied) for each in memory._grants.values()))
        assert memory._decisions == counts[-1]
        if number % 70 == 0:
            memory.forget_client(f"sensor-{number % 50}")
    assert 90 < max(counts) <= 101


def test_a_payload_larger_than_a_rule_lets_through_leaves_its_receivers_out_or_at_another_rules_qos() -> None:
    world = World(
        EVERYTHING[0],
        Rule("everyone", Operation.RECEIVE, "a", max_payload_bytes=9),
        Rule("device:office", Operation.RECEIVE, "a", qos=(0,), max_payload_bytes=99),
        Rule("device:boss", Operation.RECEIVE, "a"),
    )
    for name in ("office", "boss", "desk"):
        world.trie.insert(session(name), subscription("a", 2))
        world.trie.insert(session(name), Subscription(TopicFilter("a"), 2, share="team"))
    route = world.memory.route("a")
    assert route.max_payload_bytes == 9
    assert [(t.session.client_id, t.qos) for t in route.targets] == [("office", 2), ("boss", 2), ("desk", 2)]
    for size, heard in ((99, [("office", 0), ("boss", 2)]), (100, [("boss", 2)])):
        fit = world.memory.fitting(route, "a", size)
        assert [(t.session.client_id, t.qos) for t in fit.targets] == heard
        assert [(t.session.client_id, t.qos) for t in fit.shares[0].members] == heard
    world.rules.change(EVERYTHING[0], Rule("everyone", Operation.RECEIVE, "a", max_payload_bytes=9))
    world.memory.check_epoch()
    fit = world.memory.fitting(world.memory.route("a"), "a", 10)
    assert (fit.targets, fit.shares) == ([], [])


def test_a_change_about_others_asks_about_nobody_and_one_about_a_receiver_about_it_alone() -> None:
    world = World()
    for number in range(20):
        world.trie.insert(session(str(number)), subscription("a"))
        world.trie.insert(session(str(number)), Subscription(TopicFilter("a"), share="team"))
    world.decide()
    world.memory.route("a")
    asked = world.policy.asked
    world.rules.clock.move(["stranger"])
    world.memory.check_epoch()
    assert world.remembers()
    assert len(world.hearers("a")) == 20
    assert world.policy.asked == asked
    world.rules.clock.move(["7", "sensor"])
    world.memory.check_epoch()
    assert len(world.hearers("a")) == 20
    assert world.policy.asked == asked + 2, "its own subscription, and the shared one"
    assert not world.remembers()
