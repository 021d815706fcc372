"""paho-mqtt over TLS, 3.1.1 and 5.0."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.conftest import Devices
from tests.support.hub import RunningHub, eventually
from tests.support.paho_client import V5, V311, Heard, PahoClient, Will
from tests.support.peers import ALL_KINDS

VERSIONS = [V311, V5]
TAKEN_OVER, NO_SUBSCRIBERS, NOT_AUTHORIZED = 0x8E, 0x10, 0x87


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_message_crosses_the_hub_at_each_qos(devices: Devices, kind: str, version: int) -> None:
    topic = f"meeting/paho/{kind}/{version}"
    with PahoClient(devices(kind, "ear"), version) as ear, PahoClient(devices(kind, "mouth"), version) as mouth:
        assert ear.subscribe(topic).code == 2
        for qos in (0, 1, 2):
            assert mouth.publish(topic, f"hello {qos}", qos).code == 0
        assert [ear.message() for _ in range(3)] == [Heard(topic, f"hello {qos}", qos) for qos in (0, 1, 2)]


@pytest.mark.parametrize(("speaks", "hears"), [(V311, V5), (V5, V311)])
def test_versions_understand_each_other(devices: Devices, speaks: int, hears: int) -> None:
    with PahoClient(devices("x509", "ear"), hears) as ear, PahoClient(devices("password", "mouth"), speaks) as mouth:
        ear.subscribe("meeting/+/paho")
        mouth.publish("meeting/of/paho", "hello", 2)
        assert ear.message() == Heard("meeting/of/paho", "hello", 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriber_gets_at_most_the_qos_that_it_asked_for(devices: Devices, version: int) -> None:
    with PahoClient(devices("x509", "ear"), version) as ear:
        for qos in (0, 1, 2):
            topic = f"meeting/qos/{version}/{qos}"
            assert ear.subscribe(topic, qos).code == qos
            ear.publish(topic, "hello", 2)
            assert ear.message() == Heard(topic, "hello", qos)


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message_waits_for_subscribers_until_it_is_cleared(devices: Devices, version: int) -> None:
    topic = f"meeting/retained/{version}"
    with PahoClient(devices("x509", "mouth"), version) as mouth:
        mouth.publish(topic, "on", 1, retain=True)
        with PahoClient(devices("x509", "ear"), version) as ear:
            ear.subscribe(topic)
            assert ear.message() == Heard(topic, "on", 1, is_retained=True)
            mouth.publish(topic, "off", 2, retain=True)
            assert ear.message() == Heard(topic, "off", 2, is_retained=False)
        mouth.publish(topic, "", 1, retain=True)
        with PahoClient(devices("x509", "late"), version) as late:
            late.subscribe(topic)
            mouth.publish(topic, "live", 0)
            assert late.message() == Heard(topic, "live", 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_will_goes_out_when_its_owner_is_lost_and_not_when_it_says_goodbye(devices: Devices, version: int) -> None:
    topic = f"meeting/will/{version}"
    with PahoClient(devices("x509", "ear"), version) as ear:
        ear.subscribe(topic)
        with PahoClient(devices("jwt-es256", "polite"), version, will=Will(topic, "polite")):
            pass
        with PahoClient(devices("jwt-es256", "lost"), version, will=Will(topic, "lost", qos=2, retain=True)) as lost:
            lost.drop()
        assert ear.message() == Heard(topic, "lost", 2)
    with PahoClient(devices("x509", "late"), version) as late:
        late.subscribe(topic)
        assert late.message() == Heard(topic, "lost", 2, is_retained=True)


def test_will_of_5_0_carries_its_properties(devices: Devices) -> None:
    said = {"ContentType": "text/plain", "UserProperty": [("why", "battery")], "ResponseTopic": "meeting/answer"}
    with PahoClient(devices("x509", "ear")) as ear:
        ear.subscribe("meeting/last-words")
        with PahoClient(devices("x509", "owner"), will=Will("meeting/last-words", "gone", properties=said)) as owner:
            owner.drop()
        assert ear.message().properties == said


@pytest.mark.parametrize("version", VERSIONS)
def test_session_keeps_its_subscriptions_and_what_came_while_its_client_was_away(
    devices: Devices, version: int
) -> None:
    topic = f"meeting/away/{version}"
    sleeper = devices("password", f"sleeper-{version}")
    first = PahoClient(sleeper, version, clean=False, expiry_seconds=3600)
    assert not first.connect().session_present
    first.subscribe(topic)
    first.close()
    with PahoClient(devices("x509", "mouth"), version) as mouth:
        for qos in (0, 1, 2):
            mouth.publish(topic, f"away {qos}", qos)
    again = PahoClient(sleeper, version, clean=False, expiry_seconds=3600)
    assert again.connect().session_present
    queued = [again.message() for _ in range(2)]
    again.publish(topic, "awake")
    assert [*queued, again.message()] == [
        Heard(topic, "away 1", 1),
        Heard(topic, "away 2", 2),
        Heard(topic, "awake", 1),
    ]
    again.close()
    anew = PahoClient(sleeper, version, clean=True)
    assert not anew.connect().session_present
    anew.close()


def test_session_of_5_0_without_an_expiry_ends_with_its_connection(devices: Devices) -> None:
    brief = devices("x509", "brief")
    with PahoClient(brief, clean=False, expiry_seconds=0) as first:
        first.subscribe("meeting/brief")
    again = PahoClient(brief, clean=False)
    assert not again.connect().session_present
    again.close()


def test_session_of_5_0_expires(hub: RunningHub, devices: Devices) -> None:
    with PahoClient(devices("x509", "expiring"), expiry_seconds=1) as first:
        first.subscribe("meeting/expiry")
    with PahoClient(devices("x509", "mouth")) as mouth:
        assert mouth.publish("meeting/expiry", "waits").code == 0
        # Nobody listens any more once the session is gone.
        while mouth.publish("meeting/expiry", "too late").code != NO_SUBSCRIBERS:
            continue
    again = PahoClient(devices("x509", "expiring"), clean=False, expiry_seconds=1)
    assert not again.connect().session_present
    again.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_second_connection_takes_the_session_over(hub: RunningHub, devices: Devices, version: int) -> None:
    twin = devices("x509", f"twin-{version}")
    topic = f"meeting/twin/{version}"
    first = PahoClient(twin, version, clean=False, expiry_seconds=60)
    first.connect()
    first.subscribe(topic)
    second = PahoClient(twin, version, clean=False, expiry_seconds=60)
    assert second.connect().session_present
    end = first.end()
    if version == V5:
        assert end.code == TAKEN_OVER
        assert end.reason.startswith("session taken over (reference ")
    second.publish(topic, "mine now")
    assert second.message() == Heard(topic, "mine now", 1)
    hub.wait_for_refusal("session taken over", client_id=twin.client_id)
    first.close()
    second.close()


def test_properties_of_a_message_pass_through(devices: Devices) -> None:
    said: dict[str, Any] = {
        "PayloadFormatIndicator": 1,
        "ContentType": "application/json",
        "ResponseTopic": "meeting/answers",
        "CorrelationData": b"\x00\x01\xff",
        "UserProperty": [("unit", "Celsius"), ("unit", "again"), ("", "")],
    }
    with PahoClient(devices("x509", "ear")) as ear, PahoClient(devices("x509", "mouth")) as mouth:
        ear.subscribe("meeting/properties")
        mouth.publish("meeting/properties", "21.5", 1, **said)
        heard = ear.message().properties
        assert heard.pop("CorrelationData") == said.pop("CorrelationData").hex()
        assert heard == said


@pytest.mark.requirement("Q21")
def test_request_is_answered_on_its_response_topic(devices: Devices) -> None:
    with PahoClient(devices("x509", "asks")) as asks, PahoClient(devices("jwt-rs256", "answers")) as answers:
        asks.subscribe("meeting/answers/asks")
        answers.subscribe("meeting/questions")
        asks.publish("meeting/questions", "how warm?", 1, ResponseTopic="meeting/answers/asks", CorrelationData=b"7")
        question = answers.message().properties
        answers.publish(
            question["ResponseTopic"], "21.5", 1, CorrelationData=bytes.fromhex(question["CorrelationData"])
        )
        answer = asks.message()
        assert (answer.payload, answer.properties["CorrelationData"]) == ("21.5", b"7".hex())


def test_message_expiry_is_counted_down_while_the_message_waits(devices: Devices) -> None:
    sleeper = devices("x509", "expiry-sleeper")
    with PahoClient(sleeper, expiry_seconds=600) as first:
        first.subscribe("meeting/expiring")
    with PahoClient(devices("x509", "mouth")) as mouth:
        mouth.publish("meeting/expiring", "short", 1, MessageExpiryInterval=1)
        mouth.publish("meeting/expiring", "long", 1, MessageExpiryInterval=600)
        mouth.publish("meeting/expiring", "for ever", 1)
        with PahoClient(devices("x509", "clock"), expiry_seconds=1) as clock:
            clock.subscribe("meeting/clock")
        while mouth.publish("meeting/clock", "tick").code != NO_SUBSCRIBERS:
            continue
    again = PahoClient(sleeper, clean=False, expiry_seconds=600)
    again.connect()
    long, for_ever = again.message(), again.message()
    assert (long.payload, for_ever.payload) == ("long", "for ever")
    assert 0 < long.properties["MessageExpiryInterval"] < 600
    assert "MessageExpiryInterval" not in for_ever.properties
    again.close()


def test_subscription_identifiers_tell_which_filters_a_message_came_by(devices: Devices) -> None:
    with PahoClient(devices("x509", "ear")) as ear:
        ear.subscribe("meeting/ids/one", SubscriptionIdentifier=11)
        ear.subscribe("meeting/ids/+", SubscriptionIdentifier=268_435_455)
        ear.publish("meeting/ids/two", "two")
        assert ear.message().properties["SubscriptionIdentifier"] == [268_435_455]
        ear.publish("meeting/ids/one", "one")
        heard = ear.message()
        came = [*heard.properties["SubscriptionIdentifier"]]
        if len(came) == 1:  # one copy for each of the two subscriptions is as good (MQTT 5.0 section 3.3.4)
            came += ear.message().properties["SubscriptionIdentifier"]
        assert sorted(came) == [11, 268_435_455]


def test_no_local_spares_a_client_its_own_messages(devices: Devices) -> None:
    with PahoClient(devices("x509", "self")) as own, PahoClient(devices("x509", "other")) as other:
        own.subscribe("meeting/no-local", no_local=True)
        own.publish("meeting/no-local", "mine")
        other.publish("meeting/no-local", "yours")
        assert own.message().payload == "yours"


def told_under(hub: RunningHub, reference: str) -> dict[str, Any]:
    """Wait until `lockgate why` knows a reference; give what it says."""
    return eventually(lambda: next((r for r in hub.why() if r["reference"] == reference), None), what=reference)


def test_reason_strings_say_why_and_give_a_reference_that_why_knows(hub: RunningHub, devices: Devices) -> None:
    with PahoClient(devices("x509", "curious")) as curious:
        refused = {
            "forbidden/#": curious.subscribe("forbidden/#"),
            "forbidden/topic": curious.publish("forbidden/topic", "hello", 1),
        }
    for topic, answer in refused.items():
        assert answer.code == NOT_AUTHORIZED
        _reason, _, reference = answer.reason.rstrip(")").partition(" (reference ")
        told = told_under(hub, reference)
        assert told["evidence"]["topic"] == topic
        assert told["fix"].startswith("lockgate policy allow --device some-x509 ")


def test_server_says_what_it_offers(devices: Devices) -> None:
    client = PahoClient(devices("x509", "offer"), expiry_seconds=3_000_000_000)
    offer = client.connect().properties
    client.close()
    assert offer["ReceiveMaximum"] == 1024
    assert offer["MaximumPacketSize"] == 1_048_576
    assert offer["TopicAliasMaximum"] == 32
    assert "SharedSubscriptionAvailable" not in offer, "what is not mentioned is offered"
    assert offer["SessionExpiryInterval"] == 168 * 3600


@pytest.mark.parametrize("version", VERSIONS)
def test_client_without_a_client_id_gets_one_under_its_name(devices: Devices, version: int) -> None:
    nameless = PahoClient(devices("x509").but(client_id=""), version)
    answer = nameless.connect()
    assert answer.code == 0
    if version == V5:
        assert answer.properties["AssignedClientIdentifier"].startswith("some-x509/auto-")
    nameless.close()
