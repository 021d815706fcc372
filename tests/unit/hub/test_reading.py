"""Who asks for retained messages gets those that it may receive, and nothing stays behind of the asking."""

from __future__ import annotations

import pytest

from lockgate.errors import NotAuthorized, RateExceeded, TopicFilterInvalid
from lockgate.hub import reading
from lockgate.hub.rates import RuleRates
from lockgate.hub.reading import Reading
from lockgate.hub.replays import RETAINED_PER_MESSAGE
from lockgate.hub.retained import Retained
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_filter, topic_name
from lockgate.policy import PolicyEngine
from tests.support.fakes import EVERYTHING, FakeRules, principal

NOW = 1000.0
LAMP = principal("lamp")
SMALL = Rule("everyone", Operation.RECEIVE, "a/#", max_payload_bytes=3)
SECRET = Rule("everyone", Operation.RECEIVE, "a/secret", Effect.DENY)


class World:
    def __init__(self, *rules: Rule) -> None:
        self.retained = Retained(10_000, 100_000_000)
        self.rules = FakeRules(*rules)
        self.policy = PolicyEngine(self.rules)
        self.charged: list[tuple[str, int]] = []
        self.reading = Reading(self.policy, self.retained, self._charge, 4, RuleRates(1.0))

    def keeps(self, topic: str, payload: bytes = b"x", expires_at: float | None = None) -> Message:
        message = Message(topic_name(topic), payload, 1, retain=True, expires_at=expires_at)
        self.retained.keep(message)
        return message

    def reads(self, topic: str, who: Principal = LAMP) -> Message | None:
        return self.reading.read(who, topic_name(topic), NOW)

    def _charge(self, principal: Principal, work: int) -> None:
        self.charged.append((principal.device, work))


def test_the_last_word_on_a_topic_is_read_until_it_expires() -> None:
    world = World(*EVERYTHING)
    kept = world.keeps("a/b")
    world.keeps("a/old", expires_at=NOW)
    assert world.reads("a/b") is kept
    assert world.reads("a/old") is None
    assert world.reads("a") is None
    assert world.reads("a/b/c") is None


def test_what_may_not_be_received_may_not_be_read_and_nobody_learns_whether_it_is_there() -> None:
    world = World()
    world.keeps("a/b")
    for topic in ("a/b", "a/nothing"):
        with pytest.raises(NotAuthorized, match="may not receive"):
            world.reads(topic)
    assert world.reads("devices/lamp/state") is None


def test_a_remembered_permission_holds_no_longer_than_the_policy() -> None:
    world = World(*EVERYTHING)
    world.keeps("a/b")
    assert world.reads("a/b") is not None
    world.rules.clock.move(["somebody else"])
    assert world.reads("a/b") is not None
    world.rules.change()
    with pytest.raises(NotAuthorized):
        world.reads("a/b")
    world.rules.change(*EVERYTHING)
    assert world.reads("a/b") is not None
    world.rules.block("lamp")
    with pytest.raises(NotAuthorized, match="blocked"):
        world.reads("a/b")


def test_a_remembered_permission_is_for_payloads_that_the_rule_allows() -> None:
    world = World(SMALL)
    world.keeps("a/b", b"123")
    assert world.reads("a/b") is not None
    world.keeps("a/b", b"1234")
    with pytest.raises(NotAuthorized, match="up to 3 bytes"):
        world.reads("a/b")


def test_a_client_id_does_not_inherit_what_another_principal_might_read() -> None:
    world = World(Rule("device:lamp", Operation.RECEIVE, "a/#"))
    world.keeps("a/b")
    assert world.reads("a/b") is not None
    with pytest.raises(NotAuthorized):
        world.reads("a/b", Principal("door", LAMP.client_id, "x509", 1))


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_READERS", 2)
    monkeypatch.setattr(reading, "MAX_TOPICS_PER_READER", 2)
    world = World(*EVERYTHING)
    for name in ("lamp", "door", "roof"):
        for topic in ("a", "b", "c", "d" * 300):
            assert world.reads(topic, principal(name)) is None
    assert len(world.reading._readers) <= 2
    assert all(len(reader.allowed) <= 2 for reader in world.reading._readers.values())
    world.reading.forget("roof")
    world.reading.forget("roof")
    assert "roof" not in world.reading._readers


def test_a_search_needs_a_rule_for_its_filter_and_leaves_out_what_is_denied() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "a/#"), SECRET)
    shown, _ = world.keeps("a/b"), world.keeps("a/secret")
    world.keeps("b")
    assert world.reading.search(LAMP, topic_filter("a/+"), NOW) == [shown]
    with pytest.raises(NotAuthorized):
        world.reading.search(LAMP, topic_filter("#"), NOW)
    with pytest.raises(TopicFilterInvalid, match="5 levels"):
        world.reading.search(LAMP, topic_filter("a/b/c/d/#"), NOW)


def test_a_search_goes_on_the_account_of_who_asks() -> None:
    world = World(*EVERYTHING)
    for number in range(2 * RETAINED_PER_MESSAGE):
        world.keeps(f"a/{number}")
    assert len(world.reading.search(LAMP, topic_filter("a/#"), NOW)) == 2 * RETAINED_PER_MESSAGE
    assert world.charged == [("lamp", 2)]


def test_everything_that_a_device_may_receive_is_found_once_and_within_the_limit() -> None:
    world = World(
        Rule("everyone", Operation.RECEIVE, "a/#"), Rule("everyone", Operation.RECEIVE, "a/b"), SECRET,
    )  # fmt: skip
    for topic in ("a/b", "a/c", "a/secret", "b", "devices/lamp/state", "devices/door/state"):
        world.keeps(topic)
    found = [message.topic for message in world.reading.all_of(LAMP, NOW, 10)]
    assert sorted(found) == ["a/b", "a/c", "devices/lamp/state"]
    assert len(world.reading.all_of(LAMP, NOW, 2)) == 2
    world.rules.block("lamp")
    assert world.reading.all_of(LAMP, NOW, 10) == []


def test_what_stands_on_a_topic_is_not_told_to_who_may_not_publish_there() -> None:
    world = World(Rule("everyone", Operation.PUBLISH, "a/#"))
    world.reading.check_publish(LAMP, Message(topic_name("a/b"), b"x", 1, retain=True))
    with pytest.raises(NotAuthorized):
        world.reading.check_publish(LAMP, Message(topic_name("b"), b"x", 1, retain=True))


def test_a_right_to_receive_is_asked_for_by_itself() -> None:
    reading = World(SMALL).reading
    reading.check_receive(LAMP, topic_name("a/b"), 3)
    for topic, size in (("a/b", 4), ("b", 0)):
        with pytest.raises(NotAuthorized):
            reading.check_receive(LAMP, topic_name(topic), size)


def test_what_is_not_published_here_counts_on_the_rate_of_its_rule() -> None:
    world = World(Rule("everyone", Operation.PUBLISH, "a/#", messages_per_second=1))
    message = Message(topic_name("a/b"), b"x", 1, False)
    world.reading.take_publish(LAMP, message, NOW)
    with pytest.raises(RateExceeded):
        world.reading.take_publish(LAMP, message, NOW)
    world.reading.take_publish(LAMP, message, NOW + 1)
    with pytest.raises(NotAuthorized):
        world.reading.take_publish(LAMP, Message(topic_name("b"), b"x", 1, False), NOW)
