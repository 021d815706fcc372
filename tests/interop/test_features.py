"""Each feature of MQTT with each real client that has it, over TLS; what a client lacks stands in `features.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.interop.conftest import Devices
from tests.interop.features import ABSENT, ELSEWHERE, V5, V311, Feature, Peer, cases
from tests.support.clients.base import Client, Heard, Will, Wishes
from tests.support.clients.by_aiomqtt import Aiomqtt
from tests.support.clients.by_gmqtt import Gmqtt
from tests.support.clients.by_mosquitto import Mosquitto
from tests.support.clients.by_mqttjs import Mqttjs
from tests.support.clients.by_paho import Paho
from tests.support.hub import RunningHub
from tests.support.paho_client import PahoClient
from tests.support.peers import Login, login

pytestmark = pytest.mark.process

CLIENTS: dict[Peer, type[Client]] = {
    Peer.PAHO: Paho,
    Peer.AIOMQTT: Aiomqtt,
    Peer.GMQTT: Gmqtt,
    Peer.MQTTJS: Mqttjs,
    Peer.MOSQUITTO: Mosquitto,
}
NOT_AUTHORIZED, PACKET_TOO_LARGE = 0x87, 0x95
KEEP_ALIVE, RECEIVE_MAXIMUM, PACKET_BYTES = 120, 5, 4096
REFERENCE = "other.example:8883"
SETTINGS = f"""
max_keep_alive_seconds = {KEEP_ALIVE}
receive_maximum = {RECEIVE_MAXIMUM}
max_packet_bytes = {PACKET_BYTES}
server_reference = "{REFERENCE}"
[hub]
sys_interval_seconds = 0.5
"""
SHOWN: set[Feature] = set()

Test = TypeVar("Test", bound=Callable[..., None])


def shows(*features: Feature) -> Callable[[Test], Test]:
    """Run a test with each client and version that has the features; give it the first of them as `make`."""
    SHOWN.update(features)
    pairs = [case for case in cases(features[0]) if all(case in cases(other) for other in features)]
    names = [f"{peer.split(',')[0]} {'3.1.1' if version == V311 else '5.0'}" for peer, version in pairs]
    return pytest.mark.parametrize("make", pairs, ids=names, indirect=True)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with small limits, so that clients come upon them."""
    with RunningHub(tmp_path_factory.mktemp("hub"), settings=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def devices(hub: RunningHub) -> Devices:
    """One device with a certificate, which may do all under meeting/# and hear what the hub tells of itself."""
    allowed = ("--publish", "meeting/#", "--receive", "meeting/#", "--receive", "$SYS/#")
    folder = hub.add_device("some-x509", "x509", *allowed)
    return lambda _kind="x509", suffix="": login(folder, suffix)


class Maker:
    """Makes clients of one kind and version."""

    def __init__(self, peer: Peer, version: int, devices: Devices, number: int) -> None:
        self.peer = peer
        self.version = version
        self.topic = f"meeting/{number}"
        self._devices = devices
        self._number = number

    def login(self, name: str) -> Login:
        """Give the login of a client of this test's own."""
        return self._devices("x509", f"{name}-{self._number}")

    def __call__(self, name: str = "client", **wishes: Any) -> Client:
        """Give a client that is not connected yet; `wishes` are those of the CONNECT."""
        return CLIENTS[self.peer](self.login(name), self.version, Wishes(**wishes))

    def other(self, name: str = "other", **wishes: Any) -> Client:
        """Give a client of paho with 5.0, to have somebody on the other side."""
        return Paho(self.login(name), V5, Wishes(**wishes))


NUMBERS = itertools.count()


@pytest.fixture
def make(request: pytest.FixtureRequest, devices: Devices) -> Maker:
    peer, version = request.param
    return Maker(peer, version, devices, next(NUMBERS))


def test_every_feature_is_shown_here_or_elsewhere_and_what_is_absent_has_a_reason() -> None:
    assert set(Feature) == SHOWN | set(ELSEWHERE)
    assert all(reason for reasons in ABSENT.values() for reason in reasons.values())


# What both versions have


@shows(Feature.QOS)
def test_messages_cross_at_each_qos(make: Maker) -> None:
    with make("ear") as ear, make("mouth") as mouth:
        assert ear.subscribe(make.topic, 2).code == 2
        for qos in (0, 1, 2):
            mouth.publish(make.topic, f"hello {qos}", qos)
        assert [ear.message() for _ in range(3)] == [Heard(make.topic, f"hello {qos}", qos) for qos in (0, 1, 2)]


@shows(Feature.RETAINED)
def test_a_retained_message_waits_for_who_subscribes(make: Maker) -> None:
    with make("mouth") as mouth, make("ear") as ear:
        mouth.publish(make.topic, "on", retain=True)
        ear.subscribe(make.topic)
        assert ear.message() == Heard(make.topic, "on", 1, is_retained=True)


@shows(Feature.WILL)
def test_a_will_goes_out_when_its_owner_is_lost(make: Maker) -> None:
    with make.other() as ear:
        ear.subscribe(make.topic)
        with make(will=Will(make.topic, "gone")) as owner:
            owner.subscribe("meeting/nothing")
            owner.drop()
            assert ear.message() == Heard(make.topic, "gone", 1)


@shows(Feature.SESSION)
def test_a_session_keeps_what_came_while_its_client_was_away(make: Maker) -> None:
    wishes: dict[str, Any] = {"clean": False}
    if make.version == V5:
        wishes["properties"] = {"session_expiry_interval": 600}
    assert_waits(make, wishes)


@shows(Feature.SESSION_EXPIRY)
def test_a_session_waits_as_long_as_its_client_asked(make: Maker) -> None:
    assert_waits(make, {"clean": False, "properties": {"session_expiry_interval": 600}})


def assert_waits(make: Maker, wishes: dict[str, Any]) -> None:
    with make(**wishes) as first:
        first.subscribe(make.topic)
    with make.other() as mouth:
        assert mouth.publish(make.topic, "while you were out").code == 0
    with make(**wishes) as again:
        if make.peer is Peer.MOSQUITTO:  # it hears nothing before it has subscribed
            again.subscribe(make.topic)
        assert again.message() == Heard(make.topic, "while you were out", 1)


@shows(Feature.SHARED)
def test_members_of_a_share_take_turns(make: Maker) -> None:
    with make("one") as one, make("two") as two, make.other() as mouth:
        for member in (one, two):
            member.subscribe(f"$share/team/{make.topic}")
        for number in range(6):
            mouth.publish(make.topic, str(number))
        heard = [[int(member.message().payload) for _ in range(3)] for member in (one, two)]
    assert sorted(heard) == [[0, 2, 4], [1, 3, 5]]


@shows(Feature.SYS)
def test_an_operator_hears_how_the_hub_is_doing(make: Maker) -> None:
    with make() as operator:
        assert operator.subscribe("$SYS/broker/version").code == 1
        heard = operator.message()
    assert (heard.topic, heard.payload.split()[0]) == ("$SYS/broker/version", "lockgate")


# What a message carries


def passes(make: Maker, **properties: Any) -> dict[str, Any]:
    """Give what is left of the properties of a message from one client to another of its kind."""
    with make("ear") as ear, make("mouth") as mouth:
        ear.subscribe(make.topic)
        mouth.publish(make.topic, "hello", properties=properties)
        heard = ear.message()
    assert heard.payload == "hello"
    return heard.properties


@shows(Feature.MESSAGE_EXPIRY)
def test_message_expiry_is_counted_down(make: Maker) -> None:
    assert 590 <= passes(make, message_expiry_interval=600)["message_expiry_interval"] <= 600


@shows(Feature.USER_PROPERTIES)
def test_user_properties_pass_in_order(make: Maker) -> None:
    pairs = [("unit", "Celsius"), ("unit", "again"), ("place", "7")]
    assert [tuple(pair) for pair in passes(make, user_property=pairs)["user_property"]] == pairs


@shows(Feature.PAYLOAD_FORMAT)
def test_payload_format_passes(make: Maker) -> None:
    assert passes(make, payload_format_indicator=1) == {"payload_format_indicator": 1}


@shows(Feature.CONTENT_TYPE)
def test_content_type_passes(make: Maker) -> None:
    assert passes(make, content_type="text/plain") == {"content_type": "text/plain"}


@shows(Feature.REQUEST_RESPONSE)
def test_a_command_is_answered_on_its_response_topic(make: Maker) -> None:
    commands, answers = f"{make.topic}/lamp/commands", f"{make.topic}/answers/office"
    with make("office") as office, make("lamp") as lamp:
        lamp.subscribe(commands)
        office.subscribe(answers)
        said = {"response_topic": answers, "correlation_data": b"order-7"}
        office.publish(commands, "switch on", properties=said)
        command = lamp.message()
        assert command.payload == "switch on"
        asked = command.properties["correlation_data"]
        asked = asked.encode() if isinstance(asked, str) else asked
        lamp.publish(command.properties["response_topic"], "is on", properties={"correlation_data": asked})
        answer = office.message()
    assert (answer.topic, answer.payload) == (answers, "is on")
    assert answer.properties["correlation_data"] in (b"order-7", "order-7")


@shows(Feature.IDENTIFIERS)
def test_a_subscription_identifier_tells_by_which_filter_a_message_came(make: Maker) -> None:
    with make() as client, make.other() as mouth:
        client.subscribe(make.topic, properties={"subscription_identifier": 7})
        mouth.publish(make.topic, "hello")
        assert client.message().properties["subscription_identifier"] in ([7], 7)


@shows(Feature.ALIAS_TO_HUB)
def test_a_client_names_a_topic_by_an_alias(make: Maker) -> None:
    with make.other() as ear, make() as mouth:
        ear.subscribe(make.topic)
        mouth.publish_twice_by_alias(make.topic, "hello")
        assert [ear.message() for _ in range(2)] == [Heard(make.topic, "hello", 1)] * 2


@shows(Feature.ALIAS_FROM_HUB)
def test_the_hub_names_a_topic_by_an_alias(make: Maker) -> None:
    with make(properties={"topic_alias_maximum": 10}) as ear, make.other() as mouth:
        ear.subscribe(make.topic)
        mouth.publish(make.topic, "one")
        mouth.publish(make.topic, "two")
        heard = [ear.message() for _ in range(2)]
    assert [(each.topic, each.payload) for each in heard] == [(make.topic, "one"), (make.topic, "two")]
    assert heard[1].properties["topic_alias"] == heard[0].properties["topic_alias"] == 1


# Wills, answers and what was asked for


@shows(Feature.WILL_DELAY)
def test_a_delayed_will_comes_after_what_was_said_meanwhile(make: Maker) -> None:
    expiry = {"session_expiry_interval": 600}
    with make.other() as ear, make.other("mouth") as mouth:
        ear.subscribe(make.topic)
        will = Will(make.topic, "gone", {"will_delay_interval": 1})
        with make(will=will, clean=False, properties=expiry) as owner:
            owner.subscribe("meeting/nothing")
            owner.drop()
            mouth.publish(make.topic, "meanwhile")
            assert [ear.message().payload for _ in range(2)] == ["meanwhile", "gone"]


@shows(Feature.REASON_CODES)
def test_a_refusal_has_its_code(make: Maker) -> None:
    with make() as client:
        assert refusal(make, client)[0] == NOT_AUTHORIZED


@shows(Feature.REASON_STRINGS)
def test_a_refusal_says_why(make: Maker) -> None:
    with make() as client:
        assert "reference" in refusal(make, client)[1]


@shows(Feature.PROBLEM_INFORMATION)
def test_a_client_that_asks_for_no_reasons_gets_none(make: Maker) -> None:
    with make(properties={"request_problem_information": 0}) as client:
        assert refusal(make, client) == (NOT_AUTHORIZED, "")


def refusal(make: Maker, client: Client) -> tuple[int, str]:
    """Give code and reason of a refused PUBLISH, or SUBSCRIBE with clients that tell of that alone."""
    if make.peer in (Peer.AIOMQTT, Peer.GMQTT):
        answer = client.subscribe("forbidden/#")
    else:
        answer = client.publish("forbidden/topic", "hello")
    return answer.code, answer.properties.get("reason_string", "")


@shows(Feature.RESPONSE_INFORMATION)
def test_response_information_names_where_answers_may_go(make: Maker) -> None:
    client = make(properties={"request_response_information": 1})
    answer = client.connect()
    client.close()
    assert answer.properties["response_information"] == "devices/some-x509/response"


@shows(Feature.SERVER_KEEP_ALIVE)
def test_the_hub_says_how_long_a_client_may_be_silent(make: Maker) -> None:
    client = make(keep_alive=600)
    answer = client.connect()
    client.close()
    assert answer.properties["server_keep_alive"] == KEEP_ALIVE


@shows(Feature.ASSIGNED_CLIENT_ID)
def test_a_client_without_a_client_id_is_told_its_own(make: Maker) -> None:
    client = CLIENTS[make.peer](make.login("none").but(client_id=""), V5, Wishes())
    answer = client.connect()
    client.close()
    assert answer.properties["assigned_client_identifier"].startswith("some-x509/")


# Bounds


@shows(Feature.RECEIVE_MAXIMUM_OF_CLIENT)
def test_a_client_that_takes_two_at_once_gets_all(make: Maker) -> None:
    with make(properties={"receive_maximum": 2}) as ear, make.other() as mouth:
        ear.subscribe(make.topic)
        for number in range(10):
            mouth.publish(make.topic, str(number))
        assert [ear.message().payload for _ in range(10)] == [str(number) for number in range(10)]


@shows(Feature.RECEIVE_MAXIMUM_OF_HUB)
def test_a_client_sends_no_more_at_once_than_the_hub_takes(make: Maker) -> None:
    wanted = [str(number) for number in range(8 * RECEIVE_MAXIMUM)]
    with make.other() as ear, make() as mouth:
        ear.subscribe(make.topic)
        mouth.publish_many(make.topic, wanted)
        assert [ear.message().payload for _ in wanted] == wanted


@shows(Feature.PACKET_SIZE_OF_CLIENT)
def test_a_client_is_spared_what_is_too_large_for_it(make: Maker) -> None:
    with make(properties={"maximum_packet_size": 500}) as ear, make.other() as mouth:
        ear.subscribe(make.topic)
        mouth.publish(make.topic, "x" * 1000)
        mouth.publish(make.topic, "small")
        assert ear.message().payload == "small"


@shows(Feature.PACKET_SIZE_OF_HUB)
def test_a_client_does_not_send_what_is_too_large_for_the_hub(hub: RunningHub, make: Maker) -> None:
    large = "x" * (2 * PACKET_BYTES)
    with make.other() as ear, make() as mouth, PahoClient(make.login("careless")) as careless:
        ear.subscribe(make.topic)
        mouth.publish(make.topic, large)
        mouth.publish(make.topic, "small")
        assert ear.message().payload == "small"
        careless.send(make.topic, large)
        assert careless.end().code == PACKET_TOO_LARGE
    refused = hub.wait_for_refusal("packet too large")
    assert refused["client_id"] == make.login("careless").client_id
    assert not [each for each in hub.why() if each["client_id"].startswith(make.login("client").client_id)]


# Options of a subscription


@shows(Feature.NO_LOCAL)
def test_no_local_spares_a_client_its_own_messages(make: Maker) -> None:
    with make() as client, make.other() as other:
        client.subscribe(make.topic, options={"no_local": True})
        client.publish(make.topic, "mine")
        other.publish(make.topic, "yours")
        assert client.message().payload == "yours"


@shows(Feature.RETAIN_AS_PUBLISHED)
def test_retain_as_published_keeps_the_flag(make: Maker) -> None:
    with make() as client, make.other() as other:
        client.subscribe(make.topic, options={"retain_as_published": True})
        other.publish(make.topic, "kept", retain=True)
        assert client.message() == Heard(make.topic, "kept", 1, is_retained=True)


@shows(Feature.RETAIN_HANDLING)
def test_retain_handling_leaves_out_what_was_retained(make: Maker) -> None:
    with make() as client, make.other() as other:
        other.publish(make.topic, "old", retain=True)
        client.subscribe(make.topic, options={"retain_handling": 2})
        other.publish(make.topic, "new")
        assert client.message().payload == "new"


# What ends the hub comes last


@shows(Feature.SERVER_REFERENCE)
def test_a_hub_that_stops_names_another(hub: RunningHub, make: Maker) -> None:
    with make() as client:
        client.subscribe(make.topic)
        hub.restart()
        assert client.end().properties["server_reference"] == REFERENCE
