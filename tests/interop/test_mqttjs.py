"""npm's mqtt over TLS, 3.1.1 and 5.0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.conftest import Devices
from tests.support.mqttjs import SCRIPT, V5, V311, Facts, NodeClient
from tests.support.peers import ALL_KINDS

VERSIONS = [V311, V5]


def heard(message: Facts) -> tuple[str, str, int, bool]:
    return message["topic"], message["payload"], message["qos"], message["retain"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_message_crosses_the_hub_at_each_qos(devices: Devices, kind: str, version: int) -> None:
    topic = f"meeting/js/{kind}/{version}"
    with (
        NodeClient(devices(kind, "ear"), version) as ear,
        NodeClient(devices(kind, "mouth"), version) as mouth,
    ):
        ear.connected()
        assert ear.subscribe(topic)["granted"] == [2]
        mouth.connected()
        for qos in (0, 1, 2):
            assert mouth.publish(topic, f"hello {qos}", qos)["event"] == "published"
        assert [heard(ear.message()) for _ in range(3)] == [(topic, f"hello {q}", q, False) for q in (0, 1, 2)]
        mouth.end()
        ear.end()


@pytest.mark.parametrize(("speaks", "hears"), [(V311, V5), (V5, V311)])
def test_versions_understand_each_other(devices: Devices, speaks: int, hears: int) -> None:
    with NodeClient(devices("x509", "ear"), hears) as ear, NodeClient(devices("x509", "mouth"), speaks) as mouth:
        ear.connected()
        ear.subscribe("meeting/+/js")
        mouth.connected()
        mouth.publish("meeting/of/js", "hello", 2)
        assert heard(ear.message()) == ("meeting/of/js", "hello", 2, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_message_will_and_goodbye(devices: Devices, version: int) -> None:
    state = f"meeting/js/state/{version}"
    will = {"topic": state, "payload": "lost", "qos": 1, "retain": True}
    with NodeClient(devices("password", "owner"), version, will=will) as owner:
        owner.connected()
        owner.publish(state, "here", 1, retain=True)
        with NodeClient(devices("x509", "ear"), version) as ear:
            ear.connected()
            ear.subscribe(state, 1)
            assert heard(ear.message()) == (state, "here", 1, True)
            owner.drop()
            assert heard(ear.message()) == (state, "lost", 1, False)
    with NodeClient(devices("x509", "late"), version) as late:
        late.connected()
        late.subscribe(state, 1)
        assert heard(late.message()) == (state, "lost", 1, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_waits_for_its_client(devices: Devices, version: int) -> None:
    topic = f"meeting/js/away/{version}"
    keep: dict[str, object] = {"clean": False}
    if version == V5:
        keep["properties"] = {"sessionExpiryInterval": 3600}
    with NodeClient(devices("x509", f"sleeper-{version}"), version, options=keep) as first:
        assert first.connected()["sessionPresent"] is False
        first.subscribe(topic)
        first.end()
    with NodeClient(devices("x509", "mouth"), version) as mouth:
        mouth.connected()
        for qos in (1, 2):
            mouth.publish(topic, f"away {qos}", qos)
    with NodeClient(devices("x509", f"sleeper-{version}"), version, options=keep) as again:
        assert again.connected()["sessionPresent"] is True
        assert [heard(again.message()) for _ in range(2)] == [(topic, f"away {q}", q, False) for q in (1, 2)]


def test_properties_of_5_0_pass_through(devices: Devices) -> None:
    properties = {
        "contentType": "text/plain",
        "responseTopic": "meeting/js/answer",
        "messageExpiryInterval": 600,
        "userProperties": {"unit": "Celsius"},
    }
    with NodeClient(devices("x509", "ear")) as ear, NodeClient(devices("x509", "mouth")) as mouth:
        ear.connected()
        ear.subscribe("meeting/js/properties", 1, properties={"subscriptionIdentifier": 7})
        mouth.connected()
        mouth.publish("meeting/js/properties", "21.5", 1, properties=properties)
        came = ear.message()["properties"]
    assert came.pop("messageExpiryInterval") in range(590, 601)
    assert came.pop("subscriptionIdentifier") == 7
    assert came == {name: value for name, value in properties.items() if name != "messageExpiryInterval"}


def test_topic_aliases_both_ways(devices: Devices) -> None:
    topics = [f"meeting/js/aliases/{number % 2}" for number in range(6)]
    takes: dict[str, object] = {"properties": {"topicAliasMaximum": 2}}
    makes: dict[str, object] = {"autoAssignTopicAlias": True}
    with (
        NodeClient(devices("x509", "ear"), options=takes) as ear,
        NodeClient(devices("x509", "mouth"), options=makes) as mouth,
    ):
        ear.connected()
        ear.subscribe("meeting/js/aliases/+", 1)
        assert mouth.connected()["properties"]["topicAliasMaximum"] == 32
        for topic in topics:
            mouth.publish(topic, "hello", 1)
        came = [ear.message() for _ in topics]
    assert [message["topic"] for message in came] == topics
    assert [message["properties"]["topicAlias"] for message in came] == [1, 2] * 3


def test_response_topic_offered_to_a_client_is_its_own(devices: Devices) -> None:
    asks: dict[str, object] = {"properties": {"requestResponseInformation": True}}
    with NodeClient(devices("x509", "asker"), options=asks) as asker, NodeClient(devices("password", "mouth")) as mouth:
        topic = asker.connected()["properties"]["responseInformation"]
        assert asker.subscribe(topic, 1)["granted"] == [1]
        mouth.connected()
        assert mouth.publish(topic, "not yours", 1)["event"] == "published refused"
        asker.publish(topic, "mine", 1)
        assert asker.message()["payload"] == "mine"


def test_lock_file_pins_every_package_by_hash_and_names_no_address() -> None:
    lock = json.loads(Path(SCRIPT.parent / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert packages["node_modules/mqtt"]["version"]
    assert all(facts["integrity"].startswith("sha512-") for facts in packages.values())
    assert not [name for name, facts in packages.items() if "resolved" in facts]
