"""The hub: nothing in or out without a grant, everything bounded, and all of it back after a crash."""

from __future__ import annotations

import pytest

from lockgate.errors import (
    AuthenticationFailed,
    LockgateError,
    NotAuthorized,
    QuotaExceeded,
    SessionTakenOver,
    TopicFilterInvalid,
    TopicNameInvalid,
)
from lockgate.hub import Hub, Receipt, Session
from lockgate.hub.session import FULL_QUEUE
from lockgate.model.message import Message
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.principal import Principal
from lockgate.model.session import Delivery, Subscription, Will
from lockgate.model.topic import TopicFilter, TopicName
from lockgate.policy import PolicyEngine
from lockgate.settings import HubSettings
from tests.support.fakes import EVERYTHING, FakeOutlet, FakeRules, FakeStore, principal

SENSOR = principal("sensor")
NOW = 1000.0


def message(topic: str = "a", payload: bytes = b"x", qos: int = 0, retain: bool = False) -> Message:
    return Message(TopicName(topic), payload, qos, retain)


class World:
    """A hub with its rules, its store and what it reported."""

    def __init__(self, *rules: Rule, settings: HubSettings | None = None, store: FakeStore | None = None) -> None:
        self.rules = FakeRules(*(rules or EVERYTHING))
        self.store = store or FakeStore()
        self.reported: list[tuple[str, LockgateError]] = []
        self.hub = Hub(PolicyEngine(self.rules), self.store, settings or HubSettings(), self._report)

    def _report(self, error: LockgateError, who: Principal) -> None:
        self.reported.append((who.client_id, error))

    def opens(self, client_id: str, *filters: str, expiry: float = 0.0, will: Will | None = None) -> Session:
        who = principal(client_id.partition("/")[0], client_id)
        opened = self.hub.open_session(who, FakeOutlet(), False, expiry, will, 100, NOW)
        for text in filters:
            self.hub.subscribe(opened.session, Subscription(TopicFilter(text), 2), NOW)
        return opened.session

    def restarted(self, now: float = NOW) -> World:
        world = World(*self.rules.rules, store=self.store)
        world.hub.restore(self.store.load(), list(self.store.retained.values()), now)
        return world


def heard(session: Session) -> list[str]:
    topics = [delivery.message.topic for delivery in session.queue]
    session.queue.clear()
    return list(topics)


def gone(topic: str = "gone", delay: float = 0.0, expiry: float | None = None) -> Will:
    return Will(message(topic, qos=1), delay, expiry)


def outlet_of(session: Session) -> FakeOutlet:
    assert isinstance(session.outlet, FakeOutlet)
    return session.outlet


# Nothing without a grant


def test_a_publish_without_grant_reaches_nobody_and_is_not_retained() -> None:
    world = World(EVERYTHING[1])
    office = world.opens("office", "#")
    for _ in range(2):
        outcome = world.hub.publish(SENSOR, message(retain=True))
        assert isinstance(outcome, NotAuthorized)
    assert heard(office) == []
    assert world.store.retained == {}
    assert world.hub.spoke == set()


def test_each_delivery_is_authorized_for_its_receiver() -> None:
    world = World(*EVERYTHING, Rule("device:spy", Operation.RECEIVE, "secret/#", Effect.DENY))
    office, spy = world.opens("office", "#"), world.opens("spy", "#")
    assert world.hub.publish(SENSOR, message("secret/x")) == Receipt(1)
    assert world.hub.publish(SENSOR, message("open")) == Receipt(2)
    assert (heard(office), heard(spy)) == (["secret/x", "open"], ["open"])
    assert world.hub.spoke == {SENSOR.device}


def test_a_change_of_the_policy_counts_from_the_next_message_on() -> None:
    world = World()
    office = world.opens("office", "#")
    assert world.hub.publish(SENSOR, message()) == Receipt(1)
    world.rules.change(EVERYTHING[0])
    assert world.hub.publish(SENSOR, message()) == Receipt(0)
    world.rules.change(EVERYTHING[1])
    assert isinstance(world.hub.publish(SENSOR, message()), NotAuthorized)
    world.rules.change(*EVERYTHING)
    assert world.hub.publish(SENSOR, message()) == Receipt(1)
    world.rules.block("office")
    assert world.hub.publish(SENSOR, message()) == Receipt(0)
    world.rules.block("sensor")
    assert isinstance(world.hub.publish(SENSOR, message()), NotAuthorized)
    assert len(heard(office)) == 2


def test_a_remembered_grant_does_not_stretch_to_higher_qos_or_retain() -> None:
    world = World(Rule("everyone", Operation.PUBLISH, "a", qos=(0, 1), retain=False))
    assert world.hub.publish(SENSOR, message(qos=1)) == Receipt(0)
    assert isinstance(world.hub.publish(SENSOR, message(qos=2)), NotAuthorized)
    assert isinstance(world.hub.publish(SENSOR, message(retain=True)), NotAuthorized)


def test_the_grant_of_one_device_is_no_grant_for_another_with_its_client_id() -> None:
    world = World(Rule("device:sensor", Operation.PUBLISH, "a"))
    assert world.hub.publish(SENSOR, message()) == Receipt(0)
    assert isinstance(world.hub.publish(principal("thief", "sensor"), message()), NotAuthorized)


def test_a_subscription_needs_a_rule_that_covers_it() -> None:
    world = World(Rule("everyone", Operation.RECEIVE, "a/#", qos=(0, 1)))
    office = world.opens("office")
    with pytest.raises(NotAuthorized):
        world.hub.subscribe(office, Subscription(TopicFilter("#"), 2), NOW)
    assert office.subscriptions == {}
    assert world.hub.subscribe(office, Subscription(TopicFilter("a/b"), 2), NOW) == (1, 0)


def test_retained_messages_are_authorized_one_by_one() -> None:
    world = World(*EVERYTHING, Rule("device:spy", Operation.RECEIVE, "secret/#", Effect.DENY))
    for topic in ("secret/x", "open"):
        world.hub.publish(SENSOR, message(topic, retain=True))
    assert heard(world.opens("spy", "#")) == ["open"]


def test_a_will_is_checked_when_it_is_given_and_again_when_it_fires() -> None:
    world = World(EVERYTHING[1])
    with pytest.raises(NotAuthorized):
        world.opens("sensor", will=gone())
    assert world.hub.sessions == {}
    world.rules.change(*EVERYTHING)
    office, sensor = world.opens("office", "#"), world.opens("sensor", will=gone())
    world.rules.change(EVERYTHING[1])
    world.hub.close_session(sensor, outlet_of(sensor), True, NOW)
    assert heard(office) == []
    ((who, error),) = world.reported
    assert who == "sensor"
    assert isinstance(error, NotAuthorized)


def test_a_principal_that_came_back_with_another_credential_is_judged_anew() -> None:
    world = World(*EVERYTHING)
    office = world.opens("office", "a", expiry=60.0)
    assert world.hub.publish(SENSOR, message()) == Receipt(1)
    other = Principal("office", "office", "x509", credential_id=99)
    world.hub.open_session(other, FakeOutlet(), False, 60.0, None, 100, NOW)
    assert world.hub.publish(SENSOR, message()) == Receipt(0), "credential 99 is not the device's"
    assert office.principal is other


# Bounds


def test_quotas_are_told_with_what_would_mend_them() -> None:
    world = World(settings=HubSettings(max_subscriptions=1, max_retained_messages=1, max_sessions=2))
    office = world.opens("office", "a")
    world.hub.subscribe(office, Subscription(TopicFilter("a"), 1), NOW)
    with pytest.raises(QuotaExceeded) as caught:
        world.hub.subscribe(office, Subscription(TopicFilter("b")), NOW)
    assert "hub.max_subscriptions" in caught.value.fix
    assert world.hub.publish(SENSOR, message("a", retain=True)) == Receipt(1)
    refused = world.hub.publish(SENSOR, message("b", retain=True))
    assert isinstance(refused, QuotaExceeded)
    assert "hub.max_retained_messages" in refused.fix
    world.opens("one")
    with pytest.raises(QuotaExceeded) as caught:
        world.opens("two")
    assert "hub.max_sessions" in caught.value.fix
    world.opens("one")


def test_the_newest_message_for_a_full_queue_is_dropped_and_counted_and_others_hear_it() -> None:
    world = World(settings=HubSettings(max_queued_messages=1))
    slow, office = world.opens("slow", "#"), world.opens("office", "#")
    world.hub.publish(SENSOR, message("first"))
    heard(office)
    assert world.hub.publish(SENSOR, message("second")) == Receipt(1)
    assert (heard(slow), heard(office), slow.dropped) == (["first"], ["second"], 1)


def test_after_everybody_left_nothing_is_kept() -> None:
    world = World()
    for number in range(20):
        client = world.opens(f"c/{number}", "#", f"x/{number}", expiry=10.0)
        world.hub.publish(SENSOR, message(f"x/{number}", retain=True))
        world.hub.publish(SENSOR, message(f"x/{number}", b"", retain=True))
        world.hub.unsubscribe(client, "#")
        world.hub.end_session(client, NOW)
        assert not client.queue
    hub = world.hub
    assert (len(hub._trie), len(hub.retained), hub.sessions) == (0, 0, {})
    store = world.store
    assert not any((hub._trie._root.children, hub.retained._root.children, hub._timers._current))
    assert not any((store.sessions, store.subscriptions, store.deliveries, store.retained))


# Sessions


def test_the_receipt_names_the_commit_that_holds_the_message() -> None:
    world = World()
    world.opens("office", "kept", expiry=60.0)
    world.opens("brief", "#")
    world.store.holds = True
    assert world.hub.publish(SENSOR, message("kept", qos=1)) == Receipt(2, 1)
    assert world.hub.publish(SENSOR, message("other", qos=1)) == Receipt(1, 0)
    assert world.hub.publish(SENSOR, message("unheard", retain=True, qos=1)) == Receipt(1, 1)


def test_an_opened_session_names_the_commit_after_which_nothing_of_it_can_be_undone() -> None:
    world = World()
    world.store.holds = True
    world.opens("office", expiry=60.0)
    opened = world.hub.open_session(principal("office"), FakeOutlet(), False, 60.0, None, 10, NOW)
    assert (opened.is_present, opened.commit) == (True, 1)
    opened = world.hub.open_session(principal("office"), FakeOutlet(), True, 0.0, None, 10, NOW)
    assert (opened.is_present, opened.commit) == (False, 1), "the kept session may still come back"
    world.store.commit()
    opened = world.hub.open_session(principal("other"), FakeOutlet(), True, 0.0, None, 10, NOW)
    assert opened.commit <= world.store.committed


def test_take_over_ends_the_older_connection_and_keeps_the_session() -> None:
    world = World()
    first = world.opens("office", "a", expiry=60.0)
    older = outlet_of(first)
    opened = world.hub.open_session(principal("office"), FakeOutlet(), False, 60.0, None, 10, NOW)
    assert opened.is_present
    assert opened.session is first
    assert isinstance(older.ended[0], SessionTakenOver)
    world.hub.close_session(first, older, True, NOW)
    assert first.outlet is not None, "the older connection's end is no longer its business"
    clean = world.hub.open_session(principal("office"), FakeOutlet(), True, 60.0, None, 10, NOW)
    assert not clean.is_present
    assert clean.session is not first


def test_a_session_whose_time_is_up_is_gone_before_the_timer_looks() -> None:
    world = World()
    for later, is_present in ((9.9, True), (10.0, False)):
        session = world.opens("office", "a", expiry=10.0)
        world.hub.disconnect(session, AuthenticationFailed(), NOW)
        opened = world.hub.open_session(principal("office"), FakeOutlet(), False, 0.0, None, 10, NOW + later)
        assert opened.is_present == is_present


def test_disconnect_leaves_the_session_waiting_and_end_does_not() -> None:
    world = World()
    session = world.opens("office", "a", expiry=60.0)
    outlet, error = outlet_of(session), AuthenticationFailed()
    world.hub.disconnect(session, error, NOW)
    world.hub.disconnect(session, error, NOW)
    assert outlet.ended == [error]
    assert world.hub.publish(SENSOR, message(qos=1)) == Receipt(1)
    world.hub.end_session(session, NOW, error)
    assert world.hub.publish(SENSOR, message(qos=1)) == Receipt(0)
    assert world.hub.sessions_of("office") == []


def test_a_session_ended_while_it_is_connected_tells_its_client_and_sends_its_will() -> None:
    world = World()
    watcher = world.opens("watcher", "gone")
    session = world.opens("office", expiry=60.0, will=gone(delay=30.0))
    outlet, error = outlet_of(session), AuthenticationFailed()
    world.hub.end_session(session, NOW, error)
    assert outlet.ended == [error]
    assert heard(watcher) == ["gone"]
    assert set(world.hub.sessions) == {"watcher"}


def test_the_sessions_of_a_device_are_those_it_opened() -> None:
    world = World()
    mine = [world.opens(name) for name in ("office", "office/2")]
    world.opens("other")
    assert world.hub.sessions_of("office") == mine


def test_a_session_that_is_over_cannot_touch_the_one_that_followed_it() -> None:
    world = World()
    old = world.opens("office", "a", expiry=60.0)
    world.hub.end_session(old, NOW)
    new = world.opens("office", "a", expiry=60.0)
    world.hub.end_session(old, NOW)
    assert world.hub.publish(SENSOR, message(qos=1)) == Receipt(1)
    assert (heard(new), heard(old)) == (["a"], [])
    assert set(world.store.sessions) == {"office"}


def test_unsubscribing_says_whether_there_was_something_to_drop() -> None:
    world = World()
    office = world.opens("office", "a", expiry=60.0)
    assert world.hub.unsubscribe(office, "b") == (False, 0)
    world.store.holds = True
    assert world.hub.unsubscribe(office, "a") == (True, 1)
    assert world.hub.publish(SENSOR, message()) == Receipt(0)


# Time


def test_will_expiry_and_proof_come_at_their_moments() -> None:
    world = World()
    office = world.opens("office", "#")
    sensor = world.opens("sensor", expiry=60.0, will=gone(delay=10.0, expiry=5.0))
    world.hub.close_session(sensor, outlet_of(sensor), True, NOW)
    world.hub.handle_timer(NOW + 9.9)
    assert heard(office) == []
    world.hub.handle_timer(NOW + 10)
    assert [one.message.expires_at for one in office.queue] == [NOW + 15]
    assert world.store.sessions["sensor"].will is None, "it must not go out again after a crash"
    world.hub.handle_timer(NOW + 59.9)
    assert "sensor" in world.hub.sessions
    world.hub.handle_timer(NOW + 60)
    assert "sensor" not in world.hub.sessions


def test_a_session_goes_on_under_a_fresh_proof_until_that_ends() -> None:
    world = World()
    opened = world.hub.open_session(principal("sensor", "", NOW + 10), FakeOutlet(), False, 60.0, None, 100, NOW)
    session = opened.session
    world.hub.subscribe(session, Subscription(TopicFilter("a"), 1), NOW)
    fresh = principal("sensor", "", NOW + 20)
    world.hub.prolong(session, fresh)
    assert session.principal is fresh
    assert world.store.sessions["sensor"].principal == fresh
    assert world.hub.publish(fresh, message()) == Receipt(1)
    world.hub.handle_timer(NOW + 19.9)
    outlet = outlet_of(session)
    assert outlet.ended == []
    world.hub.handle_timer(NOW + 20)
    assert [error.reason for error in outlet.ended] == ["credential expired"]


def test_a_proof_that_never_ends_takes_the_place_of_one_that_does() -> None:
    world = World()
    opened = world.hub.open_session(principal("sensor", "", NOW + 10), FakeOutlet(), False, 0.0, None, 100, NOW)
    world.hub.prolong(opened.session, SENSOR)
    world.hub.handle_timer(NOW + 1_000_000)
    assert outlet_of(opened.session).ended == []
    assert world.store.sessions == {}


@pytest.mark.parametrize("other", [principal("office", "sensor"), principal("sensor", "sensor/1")])
def test_a_session_goes_on_for_nobody_else(other: Principal) -> None:
    world = World()
    session = world.opens("sensor")
    with pytest.raises(NotAuthorized):
        world.hub.prolong(session, other)
    assert session.principal == SENSOR


def test_a_client_that_came_back_is_not_ended_by_the_time_of_its_absence() -> None:
    world = World()
    first = world.opens("sensor", expiry=60.0)
    world.hub.close_session(first, outlet_of(first), True, NOW)
    world.opens("sensor", expiry=60.0)
    world.hub.handle_timer(NOW + 100)
    assert world.hub.sessions["sensor"] is first
    assert first.outlet is not None


def test_the_end_of_a_token_and_of_an_absence_in_one_turn_do_not_mix() -> None:
    world = World()
    who = principal("sensor", expires_at=NOW + 50)
    session = world.hub.open_session(who, FakeOutlet(), False, 20.0, None, 10, NOW).session
    world.hub.close_session(session, outlet_of(session), True, NOW)
    world.hub.open_session(who, FakeOutlet(), False, 20.0, None, 10, NOW + 1)
    world.hub.handle_timer(NOW + 60)
    assert "sensor" in world.hub.sessions, "it waits its 20 seconds from now on"
    world.hub.handle_timer(NOW + 80)
    assert "sensor" not in world.hub.sessions


def test_expired_retained_messages_are_swept_from_memory_and_store() -> None:
    world = World()
    short = Message(TopicName("a"), b"x", retain=True, expires_at=NOW + 1)
    world.hub.publish(SENSOR, short)
    world.hub.publish(SENSOR, message("b", retain=True))
    world.hub.clear_expired(NOW + 1)
    assert set(world.store.retained) == {"b"}
    assert heard(world.opens("office", "#")) == ["b"]


# After a restart


def test_restored_sessions_go_on_where_they_were() -> None:
    world = World()
    office = world.opens("office", "a", "b/#", expiry=60.0)
    for qos in (1, 2, 2):
        world.hub.publish(SENSOR, message(qos=qos))
    while office.take(NOW, 0) is not None:
        pass
    office.release(2)
    office.receive(9)
    world = world.restarted()
    back = world.hub.sessions["office"]
    assert set(back.subscriptions) == {"a", "b/#"}
    assert (back.incoming, back.released, set(back.unsettled)) == ({9}, {2}, {2})
    assert [(one.tag, one.is_repeated) for one in back.queue] == [(1, True), (3, True)]
    assert world.hub.publish(SENSOR, message("b/c", qos=1)) == Receipt(1)
    assert back.queue[-1].tag == 4
    world.hub.handle_timer(NOW + 60)
    assert world.hub.sessions == {}


def test_restored_wills_find_restored_subscribers_whatever_their_order() -> None:
    world = World()
    world.opens("sensor", expiry=60.0, will=gone())
    world.opens("office", "gone", expiry=60.0)
    world = world.restarted()
    assert heard(world.hub.sessions["office"]) == ["gone"]
    world = world.restarted()
    assert [one.tag for one in world.hub.sessions["office"].queue] == [1], "the will went out once"


def test_restored_retained_messages_are_there_unless_they_expired() -> None:
    world = World()
    world.hub.publish(SENSOR, Message(TopicName("a"), b"x", retain=True, expires_at=NOW + 1))
    world.hub.publish(SENSOR, message("b", retain=True))
    world = world.restarted(NOW + 1)
    assert heard(world.opens("office", "#")) == ["b"]
    assert set(world.store.retained) == {"b"}


def test_deliveries_carry_what_their_subscriptions_ask_for() -> None:
    world = World()
    office = world.opens("office")
    world.hub.subscribe(office, Subscription(TopicFilter("a"), 1, True, True, 2, 7), NOW)
    sent = message(qos=2, retain=True)
    world.hub.publish(SENSOR, sent)
    world.hub.publish(office.principal, sent)
    assert list(office.queue) == [Delivery(sent, 1, True, (7,), 1)]


def test_what_is_dropped_while_the_client_is_away_is_told_by_the_hub() -> None:
    told: list[tuple[str, str, str, int]] = []
    settings = HubSettings(max_queued_messages=2)
    hub = Hub(PolicyEngine(FakeRules(*EVERYTHING)), FakeStore(), settings, lambda *_: None, lambda *w: told.append(w))
    outlet = FakeOutlet()
    session = hub.open_session(principal("office"), outlet, False, 3600, None, 100, NOW).session
    hub.subscribe(session, Subscription(TopicFilter("a"), 1), NOW)
    hub.close_session(session, outlet, False, NOW)
    for _ in range(5):
        hub.publish(principal("sensor"), Message(TopicName("a"), b"x", 1))
    assert told == []
    hub.handle_timer(NOW)
    hub.handle_timer(NOW)
    assert told == [("office", "", FULL_QUEUE, 3)]


def test_a_topic_with_more_levels_than_the_hub_takes_is_refused_everywhere() -> None:
    world = World(settings=HubSettings(max_topic_levels=3))
    session = world.opens("sensor", "a/b/#")
    assert isinstance(world.hub.publish(SENSOR, message("a/b/c")), Receipt)
    outcome = world.hub.publish(SENSOR, message("a/b/c/d"))
    assert isinstance(outcome, TopicNameInvalid)
    assert outcome.fix == "use fewer levels, or raise hub.max_topic_levels"
    with pytest.raises(TopicFilterInvalid):
        world.hub.subscribe(session, Subscription(TopicFilter("a/b/c/#"), 2), NOW)
    with pytest.raises(TopicNameInvalid):
        world.opens("office", will=gone("a/b/c/d"))
    assert heard(session) == ["a/b/c"]
