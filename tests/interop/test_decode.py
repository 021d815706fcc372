"""`lockgate mqtt decode` on a capture of a real client at the lab door, held against what tshark makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.capture import Capture
from tests.support.hub import RunningHub

pytestmark = pytest.mark.process

TEXT = "it is " + "very " * 40 + "warm"
TYPES = {
    1: "CONNECT",
    2: "CONNACK",
    3: "PUBLISH",
    4: "PUBACK",
    5: "PUBREC",
    6: "PUBREL",
    7: "PUBCOMP",
    14: "DISCONNECT",
}


@pytest.mark.requirement("Q8")
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_a_captured_conversation_is_decoded_as_tshark_decodes_it(tmp_path: Path, version: str) -> None:
    path = tmp_path / "lab.pcap"
    with RunningHub(tmp_path / "hub", lab=True) as hub, Capture(path):
        words = ["-h", "127.0.0.1", "-p", str(hub.lab_port), "-V", version, "-i", "teacher", "-t", "room/temperature"]
        for more in (["-q", "2", "-m", TEXT], ["-q", "1", "-r", "-m", "21.5"]):
            subprocess.run(["mosquitto_pub", *words, *more], check=True, timeout=20)
        port = hub.lab_port
    command = [sys.executable, "-m", "lockgate", "mqtt", "decode", "--json", str(path)]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert all(packet["problem"] == "" for packet in ours)
    fields = ["mqtt.msgtype", "mqtt.len", "mqtt.dupflag", "mqtt.qos", "mqtt.retain"]
    options = [word for name in fields for word in ("-e", name)]
    tshark = ["tshark", "-r", str(path), "-d", f"tcp.port=={port},mqtt", "-Y", "mqtt", "-T", "fields", *options]
    said = subprocess.run(
        [*tshark, "-E", "occurrence=a"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    theirs = [line.split("\t") for line in said.splitlines()]
    heads = [
        (name, number) for line in theirs for name, number in zip(line[0].split(","), line[1].split(","), strict=True)
    ]
    assert [(each["packet"], length_of(each)) for each in ours] == [(TYPES[int(name)], int(n)) for name, n in heads]
    (first, second) = (each for each in ours if each["packet"] == "PUBLISH")
    assert length_of(first) > 127
    assert [bits["meaning"][:6] for bits in first["fields"][0]["bits"][1:]] == ["DUP 0:", "QoS 2:", "RETAIN"]
    assert meaning_of(first, "payload").endswith(repr(TEXT))
    assert meaning_of(first, "topic name") == "'room/temperature'"
    assert second["fields"][0]["bits"][-1]["meaning"] == "RETAIN 1"


def length_of(packet: dict[str, object]) -> int:
    return int(meaning_of(packet, "remaining length").split()[0])


def meaning_of(packet: dict[str, object], name: str) -> str:
    fields = packet["fields"]
    assert isinstance(fields, list)
    (found,) = [str(field["meaning"]) for field in fields if field["name"] == name]
    return found
