"""The CoAP door and the hub: each method, each guarantee, and what crosses to MQTT and back."""

from __future__ import annotations

import msgspec
import pytest

from lockgate.adapters.coap import wire
from lockgate.adapters.coap.messages import CoapMessage, Code, OptionNumber, Type
from lockgate.adapters.coap.wire import encode_uint
from lockgate.adapters.mqtt.packets import Puback, Publish, SubscriptionRequest
from lockgate.errors import ShutOut
from lockgate.hub.rates import QUIET_SECONDS
from lockgate.model.permission import Effect, Operation, Rule
from lockgate.model.topic import topic_name
from lockgate.settings import CoapSettings, HubSettings, Settings
from tests.support.coap_book import CoapBook, Device
from tests.support.fakes import EVERYTHING, FakeStore

JSON = (OptionNumber.CONTENT_FORMAT, encode_uint(50))


def texts(message: CoapMessage, number: int) -> list[str]:
    return [value.decode() for value in message.all(number)]


def test_put_is_a_state_and_get_reads_it() -> None:
    lamp = CoapBook().device("lamp")
    assert lamp.asks(Code.PUT, "a/b", b"21", JSON).code == Code.CREATED
    assert lamp.asks(Code.PUT, "a/b", b"22", JSON).code == Code.CHANGED
    answer = lamp.asks(Code.GET, "a/b")
    assert (answer.code, answer.payload, answer.number(OptionNumber.CONTENT_FORMAT)) == (Code.CONTENT, b"22", 50)
    assert answer.option(OptionNumber.MAX_AGE) is None


def test_post_is_an_event_and_leaves_nothing_to_read() -> None:
    lamp = CoapBook().device("lamp")
    assert lamp.asks(Code.POST, "a/b", b"rung").code == Code.CHANGED
    answer = lamp.asks(Code.GET, "a/b")
    assert (answer.code, answer.payload[:28]) == (Code.NOT_FOUND, b"nothing is retained on 'a/b'")


def test_a_query_says_otherwise() -> None:
    lamp = CoapBook().device("lamp")
    assert lamp.asks(Code.POST, "a", b"1", query="retain=1").code == Code.CREATED
    assert lamp.asks(Code.PUT, "b", b"1", query="retain=0").code == Code.CHANGED
    assert (lamp.asks(Code.GET, "a").payload, lamp.asks(Code.GET, "b").code) == (b"1", Code.NOT_FOUND)
    assert lamp.asks(Code.PUT, "b", b"1", query="retian=0").code == Code.BAD_REQUEST


def test_delete_clears_whether_or_not_anything_is_there() -> None:
    lamp = CoapBook().device("lamp")
    lamp.asks(Code.PUT, "a", b"1")
    assert lamp.asks(Code.DELETE, "a").code == Code.DELETED
    assert lamp.asks(Code.GET, "a").code == Code.NOT_FOUND
    assert lamp.asks(Code.DELETE, "a").code == Code.DELETED
    assert lamp.asks(Code.DELETE, "a", b"x").code == Code.BAD_REQUEST


def test_a_message_expires_as_its_max_age_says() -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    lamp.asks(Code.PUT, "a", b"1", (OptionNumber.MAX_AGE, encode_uint(100)))
    hub.passes(40)
    assert lamp.asks(Code.GET, "a").number(OptionNumber.MAX_AGE) == 60
    hub.passes(61)
    assert lamp.asks(Code.GET, "a").code == Code.NOT_FOUND


def test_an_etag_spares_the_payload_until_it_changes() -> None:
    lamp = CoapBook().device("lamp")
    lamp.asks(Code.PUT, "a", b"1", JSON)
    etag = lamp.asks(Code.GET, "a").option(OptionNumber.ETAG)
    assert etag is not None
    answer = lamp.asks(Code.GET, "a", b"", (OptionNumber.ETAG, b"other"), (OptionNumber.ETAG, etag))
    assert (answer.code, answer.payload, answer.option(OptionNumber.ETAG)) == (Code.VALID, b"", etag)
    lamp.asks(Code.PUT, "a", b"1")
    assert lamp.asks(Code.GET, "a", b"", (OptionNumber.ETAG, etag)).code == Code.CONTENT


def test_conditions_hold_or_nothing_is_done() -> None:
    lamp = CoapBook().device("lamp")
    if_none, if_match = (OptionNumber.IF_NONE_MATCH, b""), OptionNumber.IF_MATCH
    assert lamp.asks(Code.PUT, "a", b"1", (if_match, b"")).code == Code.PRECONDITION_FAILED
    assert lamp.asks(Code.PUT, "a", b"1", if_none).code == Code.CREATED
    assert lamp.asks(Code.PUT, "a", b"2", if_none).code == Code.PRECONDITION_FAILED
    assert lamp.asks(Code.PUT, "a", b"2", (if_match, b"")).code == Code.CHANGED
    etag = lamp.asks(Code.GET, "a").option(OptionNumber.ETAG) or b""
    assert lamp.asks(Code.PUT, "a", b"3", (if_match, etag)).code == Code.CHANGED
    assert lamp.asks(Code.DELETE, "a", b"", (if_match, etag)).code == Code.PRECONDITION_FAILED
    assert lamp.asks(Code.GET, "a").payload == b"3"


def test_conditions_tell_nothing_to_who_may_not_publish() -> None:
    hub = CoapBook(rules=(Rule("device:lamp", Operation.PUBLISH, "a"), Rule("device:lamp", Operation.RECEIVE, "a")))
    hub.device("lamp").asks(Code.PUT, "a", b"1")
    spy = hub.device("spy")
    for option in ((OptionNumber.IF_NONE_MATCH, b""), (OptionNumber.IF_MATCH, b"")):
        assert spy.asks(Code.PUT, "a", b"2", option).code == Code.FORBIDDEN
    writer_only = CoapBook(rules=(Rule("everyone", Operation.PUBLISH, "a"),)).device("pen")
    assert writer_only.asks(Code.PUT, "a", b"1", (OptionNumber.IF_MATCH, b"guess")).code == Code.FORBIDDEN


def test_who_accepts_another_format_gets_none() -> None:
    lamp = CoapBook().device("lamp")
    lamp.asks(Code.PUT, "a", b"{}", JSON)
    lamp.asks(Code.PUT, "b", b"?")
    accept = OptionNumber.ACCEPT
    assert lamp.asks(Code.GET, "a", b"", (accept, encode_uint(60))).code == Code.NOT_ACCEPTABLE
    assert lamp.asks(Code.GET, "a", b"", (accept, encode_uint(50))).code == Code.CONTENT
    assert lamp.asks(Code.GET, "b", b"", (accept, encode_uint(42))).code == Code.CONTENT
    assert lamp.asks(Code.GET, "b", b"", (accept, b"")).code == Code.NOT_ACCEPTABLE


def test_methods_that_a_topic_does_not_take_are_refused() -> None:
    lamp = CoapBook().device("lamp")
    assert lamp.asks(Code.FETCH, "a").code == Code.METHOD_NOT_ALLOWED
    assert lamp.asks(Code.PUT, ".well-known/core", b"x").code == Code.METHOD_NOT_ALLOWED
    assert lamp.asks(Code.GET).code == Code.NOT_FOUND
    assert lamp.asks(Code.PUT, "a/#", b"x").code == Code.BAD_REQUEST


def test_a_filter_lists_what_is_retained_below_it() -> None:
    lamp = CoapBook().device("lamp")
    for topic in ("rooms/1/t", "rooms/2/t", "rooms/2/h", "a b"):
        lamp.asks(Code.PUT, topic, b"21", JSON)
    answer = lamp.asks(Code.GET, query="filter=rooms/+/t")
    assert answer.number(OptionNumber.CONTENT_FORMAT) == 40
    assert answer.payload == b"</rooms/1/t>;ct=50;obs;sz=2,</rooms/2/t>;ct=50;obs;sz=2"
    assert lamp.asks(Code.GET, query="filter=a b").payload == b"</a%20b>;ct=50;obs;sz=2"
    assert lamp.asks(Code.GET, query="filter=a/#/b").code == Code.BAD_REQUEST
    assert lamp.asks(Code.GET, "rooms", query="filter=#").code == Code.BAD_REQUEST
    assert lamp.asks(Code.GET, query="filter=$share/x/#").code == Code.BAD_REQUEST
    assert lamp.asks(Code.GET, "", b"", (OptionNumber.ACCEPT, encode_uint(50)), query="filter=#").code == (
        Code.NOT_ACCEPTABLE
    )


def test_discovery_shows_what_a_device_may_receive_and_no_more() -> None:
    hub = CoapBook(rules=(Rule("everyone", Operation.PUBLISH, "#"), Rule("device:lamp", Operation.RECEIVE, "rooms/#")))
    lamp, spy = hub.device("lamp"), hub.device("spy")
    lamp.asks(Code.PUT, "rooms/1", b"21")
    lamp.asks(Code.PUT, "secret", b"21")
    own = b'</>;rt="lockgate.hub";title="each topic is a resource"'
    assert lamp.asks(Code.GET, ".well-known/core").payload == own + b",</rooms/1>;obs;sz=2"
    assert spy.asks(Code.GET, ".well-known/core").payload == own
    assert lamp.asks(Code.GET, ".well-known/core", query="href=/rooms*").payload == b"</rooms/1>;obs;sz=2"
    assert lamp.asks(Code.GET, ".well-known/core", query="rt=lockgate.*").payload == own
    assert lamp.asks(Code.GET, ".well-known/core", query="filter=x").payload == b""


def test_the_answer_to_a_put_waits_for_the_disk() -> None:
    hub = CoapBook(store=FakeStore(holds=True))
    lamp = hub.device("lamp")
    request = lamp.sends(Code.PUT, "a", b"1")
    lamp.gets_nothing()
    hub.commits()
    (answer,) = lamp.messages()
    assert (answer.type, answer.message_id, answer.code) == (Type.ACK, request.message_id, Code.CREATED)


def test_an_answer_that_takes_long_comes_separately() -> None:
    hub = CoapBook(store=FakeStore(holds=True))
    lamp = hub.device("lamp")
    request = lamp.sends(Code.PUT, "a", b"1")
    hub.passes(1)
    (ack,) = lamp.messages()
    assert (ack.type, ack.code, ack.message_id) == (Type.ACK, Code.EMPTY, request.message_id)
    hub.commits()
    (answer,) = lamp.messages()
    assert (answer.type, answer.code, answer.token) == (Type.CON, Code.CREATED, request.token)


def test_a_full_disk_is_said_so() -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    hub.store.is_full = True
    assert lamp.asks(Code.PUT, "a", b"1").code == Code.SERVICE_UNAVAILABLE


def test_a_repeated_request_acts_once() -> None:
    hub = CoapBook()
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#")
    lamp.sends(Code.POST, "a", b"1")
    lamp.sends_bytes(b"")
    first = lamp.messages()
    lamp._message_id -= 1
    lamp.sends(Code.POST, "a", b"1")
    assert lamp.messages() == first
    office.gets_publish("a", b"1")


# Crossing


def test_what_coap_says_mqtt_hears() -> None:
    hub = CoapBook()
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#", qos=1)
    lamp.asks(Code.PUT, "a/b", b"21", JSON, (OptionNumber.MAX_AGE, encode_uint(60)))
    found = office.takes(Publish)
    assert (found.topic, found.payload, found.qos, found.properties.content_type) == (
        "a/b", b"21", 1, "application/json",
    )  # fmt: skip
    assert found.properties.message_expiry_interval == 60
    assert lamp.asks(Code.POST, "a/b", b"22", type=Type.NON).code == Code.CHANGED
    assert office.takes(Publish).qos == 0


def test_what_mqtt_retains_coap_reads() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    sensor.publishes("a/b", b"21", retain=True)
    assert lamp.asks(Code.GET, "a/b").payload == b"21"
    lamp.asks(Code.DELETE, "a/b")
    sensor.subscribes(SubscriptionRequest("a/b", 0))
    assert [packet for packet in sensor.packets() if isinstance(packet, Publish)] == []


def test_what_mqtt_says_an_observer_hears() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    first = lamp.observes("a/b")
    assert (first.code, first.payload) == (Code.CONTENT, b"")
    sensor.publishes("a/b", b"21", qos=1).gets(Puback(1))
    told = lamp.gets(b"21")
    assert (told.type, told.code, told.token) == (Type.CON, Code.CONTENT, b"\x01")
    assert (told.number(OptionNumber.OBSERVE) or 0) > (first.number(OptionNumber.OBSERVE) or 0)
    session = next(iter(hub.hub.sessions_of("lamp")))
    assert len(session.unsettled) == 1
    lamp.acknowledges(told)
    assert not session.unsettled
    sensor.publishes("a/b", b"22")
    assert lamp.gets(b"22").type == Type.NON


def test_an_observer_hears_first_what_is_retained() -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    lamp.asks(Code.PUT, "a", b"1", JSON)
    first = lamp.observes("a")
    assert (first.payload, first.number(OptionNumber.CONTENT_FORMAT)) == (b"1", 50)


def test_a_wildcard_observation_says_whose_each_notification_is() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.asks(Code.PUT, "rooms/1/t", b"20")
    first = lamp.observes(query="filter=rooms/+/t")
    assert first.payload == b"</rooms/1/t>;obs;sz=2"
    sensor.publishes("rooms/2/t", b"21")
    told = lamp.gets(b"21")
    assert texts(told, OptionNumber.LOCATION_PATH) == ["rooms", "2", "t"]
    sensor.publishes("rooms/" + "x" * 300 + "/t", b"22")
    lamp.gets_nothing()


def test_an_observation_ends_when_the_observer_says_so() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("a")
    answer = lamp.asks(Code.GET, "a", b"", (OptionNumber.OBSERVE, b"\x01"))
    assert answer.code == Code.NOT_FOUND
    sensor.publishes("a", b"1")
    lamp.gets(b"1")  # of another token: it goes on
    lamp.sends(Code.GET, "a", b"", (OptionNumber.OBSERVE, b"\x01"), token=b"\x01")
    lamp.messages()
    sensor.publishes("a", b"2")
    lamp.gets_nothing()
    assert hub.hub.subscription_count == 0


def test_a_reset_ends_an_observation() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    for type_ in (Type.CON, Type.NON):
        lamp.observes("a", type=type_)
        sensor.publishes("a", b"1", qos=1).gets(Puback(1))
        lamp.resets(lamp.gets(b"1"))
        assert hub.hub.subscription_count == 0
        assert not next(iter(hub.hub.sessions_of("lamp"))).unsettled


def test_who_does_not_acknowledge_observes_no_longer() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("a")
    sensor.publishes("a", b"1", qos=1).gets(Puback(1))
    for _ in range(400):
        hub.passes(0.25)
    assert {message.payload for message in lamp.messages()} == {b"1"}
    assert hub.hub.subscription_count == 0
    assert not lamp.link.is_closed


def test_two_observations_of_one_filter_are_one_delivery_and_two_notifications() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("a", token=b"\x01")
    lamp.observes("a", token=b"\x02")
    sensor.publishes("a", b"1", qos=1).gets(Puback(1))
    session = next(iter(hub.hub.sessions_of("lamp")))
    seen = set()
    for _ in range(2):  # NSTART: the second goes when the first is acknowledged
        (told,) = lamp.messages()
        seen.add(told.token)
        assert len(session.unsettled) == 1
        lamp.acknowledges(told)
    assert (seen, len(session.unsettled)) == ({b"\x01", b"\x02"}, 0)


def test_of_states_the_newest_goes_and_of_events_each() -> None:
    hub = CoapBook()
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("state")
    lamp.observes("event", token=b"\x02")
    for number in range(5):
        sensor.publishes("state", b"%d" % number, qos=1, retain=True, packet_id=number + 1)
        sensor.publishes("event", b"%d" % number, qos=1, packet_id=number + 11)
    sensor.packets()
    seen = []
    while found := lamp.messages():
        (told,) = found
        seen.append((told.token, told.payload))
        lamp.acknowledges(told)
    assert [payload for token, payload in seen if token == b"\x01"] == [b"0", b"4"]
    assert [payload for token, payload in seen if token == b"\x02"] == [b"0", b"1", b"2", b"3", b"4"]


def test_among_unconfirmed_notifications_one_is_confirmed_now_and_then() -> None:
    hub = CoapBook(Settings(coap=CoapSettings(non_per_con=3, idle_seconds=1e6)))
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes("a", type=Type.NON)
    kinds = []
    for _ in range(7):
        sensor.publishes("a", b"1")
        told = lamp.gets(b"1")
        kinds.append(Type(told.type).name)
        if told.type == Type.CON:
            lamp.acknowledges(told)
    assert kinds == ["NON", "NON", "CON", "NON", "NON", "CON", "NON"]
    hub.passes(24 * 3600)
    sensor.publishes("a", b"1")
    assert lamp.gets(b"1").type == Type.CON


@pytest.mark.parametrize("retained", [b"", b"21"])
def test_who_observes_and_hears_nothing_for_long_is_asked_for_a_sign_of_life(retained: bytes) -> None:
    hub = CoapBook(Settings(coap=CoapSettings(idle_seconds=300.0)))
    lamp, gone = hub.device("lamp"), hub.device("gone")
    if retained:
        lamp.asks(Code.PUT, "a", retained)
    for each in (lamp, gone):
        each.observes("a", type=Type.NON)
    for _ in range(3):
        hub.passes(100)
        told = lamp.gets(retained)
        assert told.type == Type.CON
        lamp.acknowledges(told)
        gone.messages()
    for _ in range(400):
        hub.passes(0.25)
        for message in lamp.messages():
            lamp.acknowledges(message)
    assert [session.client_id for session in hub.hub.sessions.values() if session.subscriptions] == ["lamp/coap/1"]


def test_another_content_format_ends_an_observation() -> None:
    hub = CoapBook()
    pen, lamp = hub.device("pen"), hub.device("lamp")
    lamp.observes("a")
    pen.asks(Code.PUT, "a", b"1", JSON)
    lamp.acknowledges(lamp.gets(b"1"))
    pen.asks(Code.PUT, "a", b"1", (OptionNumber.CONTENT_FORMAT, encode_uint(60)))
    (told,) = lamp.messages()
    assert (told.code, told.option(OptionNumber.OBSERVE)) == (Code.NOT_ACCEPTABLE, None)
    assert hub.hub.subscription_count == 0


def test_too_many_observations_are_refused() -> None:
    hub = CoapBook(Settings(coap=CoapSettings(max_observations=2)))
    lamp = hub.device("lamp")
    for number in range(2):
        assert lamp.observes(f"a/{number}", token=bytes([number])).code == Code.CONTENT
    answer = lamp.observes("a/2", token=b"\x09")
    assert (answer.code, answer.payload[:21]) == (Code.TOO_MANY_REQUESTS, b"too many observations")


# Policy


def test_policy_decides_as_for_mqtt() -> None:
    hub = CoapBook(rules=())
    lamp = hub.device("lamp")
    for answer in (
        lamp.asks(Code.PUT, "a", b"1"),
        lamp.asks(Code.POST, "a", b"1"),
        lamp.asks(Code.DELETE, "a"),
        lamp.asks(Code.GET, "a"),
        lamp.asks(Code.GET, query="filter=#"),
        lamp.observes("a"),
    ):
        assert answer.code == Code.FORBIDDEN
        assert answer.payload.startswith(b"not authorized: no rule allows it (reference ")
    assert {refusal.door for refusal in hub.refusals()} == {"coap"}
    assert lamp.asks(Code.PUT, "devices/lamp/state", b"1").code == Code.CREATED


def test_a_rule_without_retain_takes_an_event_and_no_state() -> None:
    hub = CoapBook(rules=(Rule("everyone", Operation.PUBLISH, "a", retain=False),))
    lamp = hub.device("lamp")
    assert lamp.asks(Code.PUT, "a", b"1").code == Code.FORBIDDEN
    assert lamp.asks(Code.POST, "a", b"1").code == Code.CHANGED


def test_what_is_denied_inside_a_filter_is_not_notified() -> None:
    deny = Rule("device:lamp", Operation.RECEIVE, "a/secret", Effect.DENY)
    hub = CoapBook(rules=(*EVERYTHING, deny))
    sensor, lamp = hub.client("sensor"), hub.device("lamp")
    lamp.observes(query="filter=a/#")
    sensor.publishes("a/secret", b"1")
    lamp.gets_nothing()
    sensor.publishes("a/b", b"1")
    lamp.gets(b"1")


def test_who_floods_is_told_and_does_nothing() -> None:
    settings = Settings(hub=HubSettings(max_messages_per_second=10.0, rate_burst_seconds=1.0))
    hub = CoapBook(settings)
    lamp, office = hub.device("lamp"), hub.subscriber("office", "#")
    codes = [lamp.asks(Code.POST, "a", b"1").code for _ in range(15)]
    assert codes[:9] == [Code.CHANGED] * 9
    assert codes[11:] == [Code.TOO_MANY_REQUESTS] * 4
    assert len(office.packets()) == codes.count(Code.CHANGED)
    assert [refusal.reason for refusal in hub.refusals()] == ["rate exceeded"]
    hub.passes(QUIET_SECONDS)
    assert lamp.asks(Code.POST, "a", b"1").code == Code.CHANGED


def test_who_floods_is_cut_off_where_that_is_wanted() -> None:
    hub_settings = HubSettings(max_messages_per_second=1.0, rate_burst_seconds=1.0, on_exceeded_rate="disconnect")
    hub = CoapBook(Settings(hub=hub_settings))
    lamp = hub.device("lamp")
    for _ in range(3):
        lamp.sends(Code.POST, "a", b"1")
    assert lamp.link.is_closed
    assert hub.hub.sessions_of("lamp") == []


# Coming and going


def test_a_link_is_a_session_that_ends_with_it() -> None:
    hub = CoapBook()
    lamp, other = hub.device("lamp"), hub.device("lamp")
    assert [session.client_id for session in hub.hub.sessions_of("lamp")] == ["lamp/coap/1", "lamp/coap/2"]
    lamp.observes("a")
    lamp.is_cut()
    assert (hub.hub.subscription_count, len(hub.hub.sessions_of("lamp"))) == (0, 1)
    other.is_cut(ConnectionError())
    assert (hub.hub.sessions, hub.coap.connections) == ({}, set())


def test_who_is_not_let_in_is_told_why_and_may_come_again() -> None:
    hub = CoapBook()
    hub.authenticator.refusals["lamp"] = ShutOut("lamp is blocked", reason="device blocked")
    lamp = hub.device("lamp")
    answer = lamp.asks(Code.GET, "a")
    assert (answer.code, answer.payload[:14]) == (Code.FORBIDDEN, b"device blocked")
    assert lamp.link.is_closed
    del hub.authenticator.refusals["lamp"]
    assert hub.device("lamp").asks(Code.PUT, "a", b"1").code == Code.CREATED


def test_who_is_shut_out_hears_so_on_each_observation_and_no_more() -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    lamp.observes("a", token=b"\x01")
    lamp.observes("b", token=b"\x02")
    (session,) = hub.hub.sessions_of("lamp")
    hub.hub.end_session(session, hub.now, ShutOut("gone", reason="credential revoked"))
    hub.loop.run()
    told = lamp.messages()
    assert [(message.type, message.code, message.token) for message in told] == [
        (Type.NON, Code.FORBIDDEN, b"\x01"), (Type.NON, Code.FORBIDDEN, b"\x02"),
    ]  # fmt: skip
    assert lamp.link.is_closed
    lamp.sends(Code.GET, "a")
    lamp.gets_nothing()


def test_a_hub_that_stops_says_so() -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    lamp.observes("a")
    hub.coap.close()
    hub.loop.run()
    (told,) = lamp.messages()
    assert (told.code, told.payload, lamp.link.is_closed) == (
        Code.SERVICE_UNAVAILABLE, b"server shutting down", True,
    )  # fmt: skip
    assert hub.coap.connections == set()


def test_a_fault_of_ours_is_5_00_with_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = CoapBook()
    lamp = hub.device("lamp")
    monkeypatch.setattr(hub.hub.retained, "find", lambda *_: 1 / 0)
    answer = lamp.asks(Code.GET, "a")
    assert (answer.code, answer.payload[:19]) == (Code.INTERNAL_SERVER_ERROR, b"unspecified error (")
    monkeypatch.undo()
    assert lamp.asks(Code.PUT, "a", b"1").code == Code.CREATED


def test_messages_that_are_none_do_no_harm() -> None:
    lamp = CoapBook().device("lamp")
    for data in (b"\x40", b"\x40\x00\x00\x01", b"\x50\x00\x00\x01", b"\x70\x00\x00\x01", b"\xff" * 40):
        lamp.sends_bytes(data)
    assert [message.type for message in lamp.messages()] == [Type.RST]
    assert lamp.asks(Code.PUT, "a", b"1").code == Code.CREATED


def test_the_names_of_topics_are_any_that_mqtt_takes() -> None:
    hub = CoapBook()
    lamp, sensor = hub.device("lamp"), hub.client("sensor")
    sensor.publishes("/a//ü", b"1", retain=True)
    assert lamp.asks(Code.GET, "/a//ü").payload == b"1"
    assert lamp.asks(Code.GET, "", b"", (OptionNumber.URI_PATH, b"a/b")).code == Code.BAD_REQUEST
    assert lamp.asks(Code.GET, "", b"", (OptionNumber.URI_PATH, b"\xff")).code == Code.BAD_REQUEST
    assert lamp.asks(Code.GET, "", b"", (OptionNumber.URI_QUERY, b"\xff")).code == Code.BAD_REQUEST
    assert msgspec.structs.asdict(hub.settings.coap)["max_exchanges"] > 4
    assert topic_name("/a//ü")


def test_a_device_is_one_whichever_door_it_comes_by() -> None:
    hub = CoapBook(Settings(hub=HubSettings(max_sessions_per_device=2)))
    hub.client("lamp")
    lamp = hub.device("lamp")
    assert lamp.asks(Code.PUT, "a", b"1").code == Code.CREATED
    refused: Device = hub.device("lamp")
    answer = refused.asks(Code.GET, "a")
    assert (answer.code, answer.payload[:17]) == (Code.TOO_MANY_REQUESTS, b"too many sessions")


LAMPS_OWN = (
    Rule("device:phone", Operation.RECEIVE, "$devices/lamp/#"),
    Rule("device:phone", Operation.PUBLISH, "$devices/lamp/#"),
)


@pytest.mark.requirement("C4")
def test_a_device_is_asked_over_its_own_link_by_who_may() -> None:
    hub = CoapBook(rules=LAMPS_OWN)
    lamp, phone, spy = hub.device("lamp"), hub.device("phone"), hub.device("spy")
    phone.sends(Code.GET, "$devices/lamp/led", query="n=1")
    (asked,) = lamp.messages()
    assert (asked.type, asked.code, texts(asked, 11), texts(asked, 15)) == (Type.CON, Code.GET, ["led"], ["n=1"])
    phone.gets_nothing()
    lamp.sends_bytes(wire.encode(CoapMessage(Type.ACK, Code.CONTENT, asked.message_id, asked.token, (JSON,), b"{}")))
    answer = phone.gets(b"{}")
    assert (answer.type, answer.code, answer.number(OptionNumber.CONTENT_FORMAT)) == (Type.ACK, Code.CONTENT, 50)
    assert spy.asks(Code.GET, "$devices/lamp/led").code == Code.FORBIDDEN
    assert spy.asks(Code.PUT, "$devices/lamp/led", b"off").code == Code.FORBIDDEN
    lamp.gets_nothing()


def test_who_asks_a_slow_device_is_told_that_the_answer_comes_later() -> None:
    hub = CoapBook(rules=LAMPS_OWN)
    lamp, phone = hub.device("lamp"), hub.device("phone")
    phone.sends(Code.PUT, "$devices/lamp/led", b"on")
    (asked,) = lamp.messages()
    lamp.sends_bytes(wire.empty(Type.ACK, asked.message_id))
    hub.passes(1)
    assert phone.gets(b"").code == Code.EMPTY
    lamp.sends_bytes(wire.encode(CoapMessage(Type.CON, Code.CHANGED, 77, asked.token)))
    assert [each.type for each in lamp.messages()] == [Type.ACK]
    answer = phone.gets(b"")
    assert (answer.type, answer.code) == (Type.CON, Code.CHANGED)


def test_a_device_that_says_nothing_resets_or_leaves_is_told_of() -> None:
    hub = CoapBook(rules=LAMPS_OWN)
    lamp, phone = hub.device("lamp"), hub.device("phone")
    phone.sends(Code.GET, "$devices/lamp/led")
    (asked,) = lamp.messages()
    lamp.sends_bytes(wire.empty(Type.RST, asked.message_id))
    (answer,) = phone.messages()
    assert answer.code == Code.BAD_GATEWAY
    phone.sends(Code.GET, "$devices/lamp/led", type=Type.NON)
    hub.passes(21)
    (answer,) = phone.messages()
    assert answer.code == Code.GATEWAY_TIMEOUT
    phone.sends(Code.GET, "$devices/lamp/led", type=Type.NON)
    lamp.is_cut()
    (answer,) = phone.messages()
    assert answer.code == Code.BAD_GATEWAY
    assert phone.asks(Code.GET, "$devices/lamp/led").code == Code.BAD_GATEWAY


def test_who_asked_and_left_takes_nothing_along() -> None:
    hub = CoapBook(rules=LAMPS_OWN)
    lamp, phone = hub.device("lamp"), hub.device("phone")
    phone.sends(Code.GET, "$devices/lamp/led")
    (asked,) = lamp.messages()
    phone.is_cut()
    lamp.sends_bytes(wire.encode(CoapMessage(Type.ACK, Code.CONTENT, asked.message_id, asked.token, (), b"x")))
    phone.gets_nothing()
    lamp.gets_nothing()
    assert lamp.asks(Code.GET, "a").code == Code.FORBIDDEN
