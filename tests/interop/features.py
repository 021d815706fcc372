"""Which features of MQTT each real client has, so that `test_features.py` shows them: data, and nothing that runs.

What a client does not have stands here with its reason; docs/reference/interop.md is made from these tables.
"""

from __future__ import annotations

import json
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

V311, V5 = 4, 5


class Peer(StrEnum):
    """The clients."""

    PAHO = "paho-mqtt"
    AIOMQTT = "aiomqtt"
    GMQTT = "gmqtt"
    MQTTJS = "mqtt.js"
    MOSQUITTO = "mosquitto_pub, mosquitto_sub"


class Feature(StrEnum):
    """What is shown, in the words of the page."""

    QOS = "QoS 0, 1 and 2"
    RETAINED = "retained messages"
    WILL = "will"
    SESSION = "session that waits"
    SHARED = "shared subscriptions"
    SYS = "$SYS topics"
    SESSION_EXPIRY = "session expiry"
    MESSAGE_EXPIRY = "message expiry"
    WILL_DELAY = "will delay"
    REASON_CODES = "reason codes"
    REASON_STRINGS = "reason strings"
    USER_PROPERTIES = "user properties"
    PAYLOAD_FORMAT = "payload format indicator"
    CONTENT_TYPE = "content type"
    REQUEST_RESPONSE = "request and response (response topic, correlation data)"
    ALIAS_TO_HUB = "topic alias, to the hub"
    ALIAS_FROM_HUB = "topic alias, from the hub"
    RECEIVE_MAXIMUM_OF_CLIENT = "receive maximum, the client's"
    RECEIVE_MAXIMUM_OF_HUB = "receive maximum, the hub's"
    PACKET_SIZE_OF_CLIENT = "maximum packet size, the client's"
    PACKET_SIZE_OF_HUB = "maximum packet size, the hub's"
    IDENTIFIERS = "subscription identifiers"
    NO_LOCAL = "no local"
    RETAIN_AS_PUBLISHED = "retain as published"
    RETAIN_HANDLING = "retain handling"
    SERVER_KEEP_ALIVE = "server keep alive"
    ASSIGNED_CLIENT_ID = "assigned client identifier"
    PROBLEM_INFORMATION = "request problem information"
    RESPONSE_INFORMATION = "request response information"
    SERVER_REFERENCE = "server reference"
    ENHANCED_AUTHENTICATION = "enhanced authentication (SCRAM-SHA-256, a fresh JWT)"


IN_BOTH_VERSIONS = (
    Feature.QOS,
    Feature.RETAINED,
    Feature.WILL,
    Feature.SESSION,
    Feature.SHARED,
    Feature.SYS,
)
"""What MQTT 3.1.1 has as well; all else came with 5.0."""

ELSEWHERE = {Feature.ENHANCED_AUTHENTICATION: "tests/interop/test_scram.py"}
"""What other tests show."""

_NO_AUTH = "it has no AUTH packet"
_CONNACK = "it does not tell what a CONNACK says"
_PUBACK = "it does not tell what a PUBACK says"
_DISCONNECT = "it does not tell what a DISCONNECT says"
_PROGRAM = "it sends more, unless the program bounds it itself"
_SIZE = "it sends what is too large, and is cut off"

ABSENT: dict[Peer, dict[Feature, str]] = {
    Peer.PAHO: {
        Feature.ALIAS_FROM_HUB: "it hands messages with an alias on without their topic",
        Feature.RECEIVE_MAXIMUM_OF_HUB: _PROGRAM,
        Feature.PACKET_SIZE_OF_HUB: _SIZE,
        Feature.ENHANCED_AUTHENTICATION: _NO_AUTH,
    },
    Peer.AIOMQTT: {
        Feature.REASON_STRINGS: "it does not tell what stands beside a code",
        Feature.ALIAS_FROM_HUB: "it hands messages with an alias on without their topic",
        Feature.RECEIVE_MAXIMUM_OF_HUB: _PROGRAM,
        Feature.PACKET_SIZE_OF_HUB: _SIZE,
        Feature.SERVER_KEEP_ALIVE: _CONNACK,
        Feature.ASSIGNED_CLIENT_ID: _CONNACK,
        Feature.PROBLEM_INFORMATION: "it does not tell what stands beside a code",
        Feature.RESPONSE_INFORMATION: _CONNACK,
        Feature.SERVER_REFERENCE: _DISCONNECT,
        Feature.ENHANCED_AUTHENTICATION: _NO_AUTH,
    },
    Peer.GMQTT: {
        Feature.PACKET_SIZE_OF_HUB: _SIZE,
        Feature.ASSIGNED_CLIENT_ID: "it makes up a client id when it is given none",
        Feature.SERVER_REFERENCE: _DISCONNECT,
        Feature.ENHANCED_AUTHENTICATION: _NO_AUTH,
    },
    Peer.MQTTJS: {
        Feature.RECEIVE_MAXIMUM_OF_HUB: _PROGRAM,
        Feature.PACKET_SIZE_OF_HUB: _SIZE,
    },
    Peer.MOSQUITTO: {
        Feature.REASON_STRINGS: "they do not print them",
        Feature.ALIAS_FROM_HUB: "they print messages with an alias without their topic",
        Feature.NO_LOCAL: "no program of the two both publishes and subscribes",
        Feature.RETAIN_HANDLING: "they have no option for it (2.0.11)",
        Feature.SERVER_KEEP_ALIVE: "they keep to it, and do not print it",
        Feature.ASSIGNED_CLIENT_ID: "they do not print it",
        Feature.PROBLEM_INFORMATION: "they do not print reason strings",
        Feature.RESPONSE_INFORMATION: "they do not print it",
        Feature.SERVER_REFERENCE: "they do not print it",
        Feature.ENHANCED_AUTHENTICATION: _NO_AUTH,
    },
}
"""What a client does not have, and why: everything else of the list it has."""


def versions(peer: Peer, feature: Feature) -> tuple[int, ...]:
    """Give the versions of MQTT in which this feature is shown with this client."""
    if feature in ABSENT[peer]:
        return ()
    return (V311, V5) if feature in IN_BOTH_VERSIONS else (V5,)


def cases(feature: Feature) -> list[tuple[Peer, int]]:
    """Give each client and version with which a feature is shown."""
    return [(peer, each) for peer in Peer for each in versions(peer, feature)]


def page() -> str:
    """Give the page of the reference: which feature is shown with which client, and what a client does not have."""
    head = f"| feature | {' | '.join(Peer)} |\n| --- |{' --- |' * len(Peer)}\n"
    rows = "".join(f"| {feature} | {' | '.join(_shown(peer, feature) for peer in Peer)} |\n" for feature in Feature)
    absent = "".join(
        f"| {peer} | {feature} | {reason} |\n"
        for peer, reasons in ABSENT.items()
        for feature, reason in reasons.items()
    )
    return (
        "# Clients\n\n"
        "What tests show with clients that others wrote, over TLS with provisioned devices "
        "(`tests/interop/test_features.py`), by version of MQTT. A dash: the client does not have it, for the reason "
        "below; other clients, and the [conformance tests](conformance.md), show it.\n\n"
        f"{head}{rows}\n"
        f"The clients' releases: {', '.join(f'{peer} {_release(peer)}' for peer in Peer)}. "
        "mosquitto_pub and mosquitto_sub run as two clients.\n\n"
        "## What a client does not have\n\n"
        f"| client | feature | why |\n| --- | --- | --- |\n{absent}"
    )


def _shown(peer: Peer, feature: Feature) -> str:
    return ", ".join({V311: "3.1.1", V5: "5.0"}[each] for each in versions(peer, feature)) or "\u2014"


def _release(peer: Peer) -> str:
    if peer is Peer.MQTTJS:
        package = json.loads((Path(__file__).parent / "js" / "package.json").read_text(encoding="utf-8"))
        return str(package["dependencies"]["mqtt"])
    return "2.0.11 (Debian 12)" if peer is Peer.MOSQUITTO else version(peer)
