"""From mosquitto: the same users, the same files, and the real mosquitto as the judge of what they may."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.enums import MQTTProtocolVersion as Version

from lockgate.home import Home
from lockgate.model.permission import Operation
from lockgate.model.principal import Principal
from lockgate.model.topic import topic_name
from lockgate.policy import Grant, PolicyEngine
from lockgate.registry.registry import Registry
from tests.support.hub import RunningHub, eventually
from tests.support.paho_peer import PahoPeer
from tests.support.peers import program

pytestmark = pytest.mark.process

USERS = {"anna": ("sha512", "secret-1"), "bert": ("sha512-pbkdf2", "secret-2"), "omni": ("sha512-pbkdf2", "secret-3")}
ACL = """\
user omni
topic #
user anna
topic read plan/#
topic write plan/today
topic deny plan/secret
topic readwrite hall/+/lamp
topic one
user bert
topic read plan/today
topic write hall/+/lamp/#
topic deny hall/3/lamp
pattern readwrite sync/%u
pattern read home/%u/in/#
pattern write home/%u/out
pattern write clients/%c/state
"""
TOPICS = (
    "plan", "plan/today", "plan/tomorrow", "plan/secret", "plan/secret/more", "hall/1/lamp", "hall/1/lamp/on",
    "hall/3/lamp", "hall/lamp", "one", "one/two", "home/anna/in", "home/anna/in/a/b", "home/anna/out", "home/bert/in/x",
    "home/bert/out", "sync/anna", "sync/bert", "clients/anna/state", "clients/bert/state", "elsewhere",
)  # fmt: skip


class Mosquitto:
    """A real mosquitto on a free port, with the files that will be imported."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "mosquitto.conf"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        passwords, acl = folder / "passwd", folder / "acl"
        passwords.touch(mode=0o600)
        for user, (kind, password) in USERS.items():
            subprocess.run([program("mosquitto_passwd"), "-b", "-H", kind, passwords, user, password], check=True)
        acl.write_text(ACL)
        self.conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n"
            "user root\nmax_queued_messages 500\n"
        )
        self.process = subprocess.Popen(
            [program("mosquitto"), "-c", self.conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._answers, 10.0, "mosquitto")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Client:
    """A paho client of one user, in the plain."""

    def __init__(self, port: int, user: str) -> None:
        self.acknowledged: dict[int, int] = {}
        self.heard: list[str] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, user, protocol=Version.MQTTv5)
        self.client.username_pw_set(user, USERS[user][1])
        self.client.on_publish = lambda _c, _u, number, code, _p: self.acknowledged.__setitem__(number, code.value)
        self.client.on_message = lambda _c, _u, message: self.heard.append(
            f"{message.topic} {message.payload.decode()}"
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def may_publish(self, topic: str) -> bool:
        number = self.client.publish(topic, "x", 1).mid
        eventually(lambda: number in self.acknowledged, 10.0, "the PUBACK")
        return self.acknowledged[number] < 0x80

    def waits_for(self, line: str) -> None:
        eventually(lambda: line in self.heard, 10.0, line)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield running
    running.process.terminate()
    running.process.wait()


def as_mosquitto_decides(port: int) -> dict[tuple[str, str, str], bool]:
    found = {}
    omni = Client(port, "omni")
    for user in ("anna", "bert"):
        client = Client(port, user)
        for topic in TOPICS:
            found[user, "publish", topic] = client.may_publish(topic)
        client.client.subscribe("#", 1)
        client.may_publish(f"sync/{user}")  # its own word comes back once the subscription stands
        client.waits_for(f"sync/{user} x")
        for topic in TOPICS:
            omni.client.publish(topic, "probe", 1)
        omni.client.publish(f"sync/{user}", "end", 1)
        client.waits_for(f"sync/{user} end")
        for topic in TOPICS:
            found[user, "receive", topic] = f"{topic} probe" in client.heard
        client.close()
    omni.close()
    return found


def as_lockgate_decides(home: Path) -> dict[tuple[str, str, str], bool]:
    found = {}
    with Home(home).registry(read_only=True) as database:
        registry = Registry(database)
        engine = PolicyEngine(registry)
        for user in ("anna", "bert"):
            device = registry.device(user)
            assert device is not None
            principal = Principal(user, user, "password", device.credentials[0].id)
            for operation in Operation:
                for topic in TOPICS:
                    answer = engine.authorize(principal, operation, topic_name(topic), 1, False)
                    found[user, operation.value, topic] = isinstance(answer, Grant)
    return found


def kinds(home: Path) -> set[str]:
    """Give the forms in which the imported passwords are kept."""
    with Home(home).registry(read_only=True) as database:
        return {credential.public[:10] for device in database.devices(list(USERS)) for credential in device.credentials}


@pytest.mark.requirement("F19")
def test_what_was_imported_decides_as_mosquitto_does_and_the_old_passwords_go_on(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    hub = RunningHub(tmp_path, office=True)
    with hub:
        done = hub.lockgate("import", "mosquitto", str(mosquitto.conf), "--json")
        assert msgspec.json.decode(done.stdout)["devices"] == list(USERS)
        asked, here = as_mosquitto_decides(mosquitto.port), as_lockgate_decides(hub.home)
        assert {question for question in asked if asked[question] != here[question]} == set()
        assert 20 < sum(asked.values()) < len(asked) - 20
        folder = hub.add_device("form", "password")  # only for the form of a device's folder
        facts = (folder / "device.json").read_text()
        for user, (_, password) in USERS.items():
            (folder / "device.json").write_text(facts.replace('"form"', f'"{user}"'))
            with PahoPeer(folder, hub.port, secret=(user, password)) as peer:
                assert peer.answers[0][0] == 0
            wrong = PahoPeer(folder, hub.port, secret=(user, password + "!"))
            wrong.gives_up = True
            assert wrong.connect()[0] == 0x86
            wrong.close()
        eventually(lambda: kinds(hub.home) == {"$argon2id$"}, 20.0, "the new hashes")
        for user, (_, password) in USERS.items():  # and the passwords are the same
            (folder / "device.json").write_text(facts.replace('"form"', f'"{user}"'))
            with PahoPeer(folder, hub.port, secret=(user, password)) as peer:
                assert peer.answers[0][0] == 0
        assert kinds(hub.home) == {"$argon2id$"}
