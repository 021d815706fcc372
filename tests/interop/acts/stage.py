"""What the acts of the fault matrix share: two hubs, people to play with, the real clients, and what `why` says."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from click.testing import CliRunner

from lockgate.adapters.mqtt import wire
from lockgate.adapters.mqtt.packets import V5, Connect, Packet, Properties
from lockgate.cli import cli
from tests.support import mosquitto
from tests.support.certificates import Authority
from tests.support.forgery import CertificateForger
from tests.support.hub import RunningHub, eventually
from tests.support.mqttjs import NodeClient
from tests.support.paho_client import PahoClient
from tests.support.peers import WAIT_SECONDS, Login, login, program

Told: TypeAlias = dict[str, Any]
"""One refusal, as `lockgate why --json` tells it."""

TIGHT = (
    """\
connect_deadline_seconds = 2
max_connect_bytes = 2048
max_packet_bytes = 2048
receive_maximum = 2
packet_deadline_seconds = 1
""",
    """
[hub]
max_queued_messages = 3
max_subscriptions = 3
max_retained_messages = 2
max_sessions_per_device = 2
max_messages_per_second = 25
rate_burst_seconds = 1
on_exceeded_rate = "disconnect"

[identity]
jwt_clock_skew_seconds = 1
wrong_passwords_before_lockout = 3
lockout_seconds = 2

[log]
level = "debug"

[net]
handshake_deadline_seconds = 2
max_connections_per_address = 3
""",
)

FAR_AHEAD = str(int((datetime.now(UTC) + timedelta(days=365 * 30)).timestamp()))
"""When openssl is told to live, if its clock is to be 30 years ahead."""

_numbers = count(1)


class Made(msgspec.Struct, frozen=True):
    """A fault that was made: by whom, as `why` knows them, and what to do once `why` has told of it."""

    who: dict[str, str]
    mend: Callable[[Told], None]
    hub: RunningHub
    reference: str = ""
    """What the client was told of it, if anything."""


class Stage:
    """Where the acts are played.

    Args:
        roomy: a hub with the settings that everybody has.
        tight: one whose limits are soon reached.
        folder: for files that clients show.
    """

    def __init__(self, roomy: RunningHub, tight: RunningHub, folder: Path) -> None:
        self.roomy = roomy
        self.tight = tight
        self.folder = folder
        self.forger = CertificateForger(roomy.home, folder)
        self.authority = Authority.from_home(roomy.home)

    def command(self, *words: str, hub: RunningHub | None = None, check: bool = True) -> str:
        """Run `lockgate` on a home, in this process; give what it printed."""
        done = CliRunner().invoke(cli, list(words), env={"LOCKGATE_HOME": str((hub or self.roomy).home)})
        if check:
            assert done.exit_code == 0, f"lockgate {' '.join(words)}: {done.output} {done.exception!r}"
        return done.output

    def device(self, kind: str, *options: str, hub: RunningHub | None = None) -> Login:
        """Provision a device with a name of its own; give its login."""
        hub = hub or self.roomy
        name = f"{kind}-{next(_numbers)}"
        out = hub.folder / name
        self.command("device", "add", name, "--auth", kind, "--out", str(out), "--hub", "localhost", *options, hub=hub)
        if hub.process is not None:
            news = "change.applied"
            wait_for(lambda: any(event["name"] == name for event in hub.events(news)), f"the hub's news of {name}")
        return login(out).but(port=hub.port)

    def folder_of(self, shown: Login) -> Path:
        """Give a device's folder."""
        return shown.ca.parent

    def key(self, shown: Login) -> bytes:
        """Give a device's private key."""
        return (self.folder_of(shown) / "device.key").read_bytes()

    def ends_soon(self, shown: Login) -> None:
        """Let a device's only credential end in a second."""
        (credential,) = msgspec.json.decode(self.command("credential", "list", shown.client_id, "--json"))
        self.command("credential", "expire", str(credential["id"]), "--at", "1s")

    def does_the_fix(self, told: Told, hub: RunningHub | None = None) -> None:
        """Run the command that `why` gives as the fix, word by word."""
        program_name, *words = shlex.split(told["fix"])
        assert program_name == "lockgate", told["fix"]
        self.command(*words, hub=hub)

    def raises(self, setting: str, value: object, hub: RunningHub | None = None) -> None:
        """Raise a setting of the tight hub (or another's), as the fix says, and start it again."""
        hub = hub or self.tight
        name = setting.rpartition(".")[2]
        path = hub.home / "lockgate.toml"
        lines = path.read_text().split("\n")
        changed = [
            f"{name} = {msgspec.json.encode(value).decode()}" if one.startswith(f"{name} = ") else one for one in lines
        ]
        assert changed != lines, f"{setting} is not among this hub's settings"
        path.write_text("\n".join(changed))
        hub.restart()

    def newest(self, hub: RunningHub, who: dict[str, str]) -> Told | None:
        """Give the newest refusal of somebody."""
        text = self.command("why", "--last", "60", "--json", hub=hub)
        found = msgspec.json.decode(text, type=list[Told])
        return next((told for told in found if who.items() <= told.items()), None)


def own_address() -> str:
    """Give an address of loopback that nobody else speaks from, so that its refusals are told apart."""
    number = next(_numbers)
    return f"127.8.{number // 250}.{number % 250 + 1}"


def works(shown: Login, version: int = 5) -> None:
    """See that a client gets in, and may speak of itself."""
    with PahoClient(shown, version) as client:
        assert client.publish(f"devices/{shown.client_id.partition('/')[0]}/x", "here").code in (0, 0x10)


def connects(shown: Login, version: int = 5) -> tuple[int, str]:
    """Connect with paho; give the code of the CONNACK, and the reference in it."""
    client = PahoClient(shown, version)
    answer = client.connect()
    client.close()
    return answer.code, reference_in(answer.reason)


def is_refused(shown: Login) -> str:
    """See that paho is not let in; give the reference that it was told."""
    code, reference = connects(shown)
    assert code >= 0x80
    return reference


def reference_in(text: str) -> str:
    """Give the reference in something that a client was told, "" if there is none."""
    return text.rpartition("(reference ")[2][:9] if "(reference " in text else ""


def mosquitto_says(shown: Login, topic: str = "x", *extra: str, **words: Any) -> subprocess.CompletedProcess[str]:
    """Run mosquitto_pub."""
    return mosquitto.publish(shown, topic, "hello", extra=extra, **words)


def run(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; its exit code is the caller's to judge."""
    return subprocess.run(
        [program(words[0]), *words[1:]], input=data, capture_output=True, timeout=WAIT_SECONDS, check=False
    )


def s_client(
    hub: RunningHub, address: str, *offer: str, data: bytes = b"", ca: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run openssl s_client from an address; with `data` it stays until the hub closes."""
    words = [
        "s_client",
        "-connect",
        f"127.0.0.1:{hub.port}",
        "-bind",
        f"{address}:0",
        "-CAfile",
        str(ca or hub.ca_path),
    ]
    return run("openssl", *words, *(["-quiet"] if data else []), *offer, data=data)


def speaks(hub: RunningHub, address: str, data: bytes, shown: Login | None = None) -> bytes:
    """Send bytes of MQTT through openssl s_client; give what came until the hub closed."""
    offer = ["-cert", str(shown.certificate), "-key", str(shown.key)] if shown is not None else []
    return s_client(hub, address, *offer, data=data).stdout


def sends(*packets: Packet) -> bytes:
    """Encode packets of MQTT 5.0."""
    return b"".join(wire.encode(packet, V5) for packet in packets)


def connect(shown: Login, keep_alive: int = 60, **properties: Any) -> Connect:
    """Give a CONNECT of somebody who shows a certificate."""
    return Connect(V5, shown.client_id, keep_alive_seconds=keep_alive, properties=Properties(**properties))


def node_is_refused(shown: Login, **options: object) -> str:
    """See that mqtt.js is not let in; give the reference that it was told."""
    with NodeClient(shown, options=options) as client:
        connack = client.next("connack")
        assert connack["code"] >= 0x80
        return reference_in(connack["properties"]["reasonString"])


Act: TypeAlias = Callable[[Stage], Made]
ACTS: dict[str, Act] = {}


def act(name: str) -> Callable[[Act], Act]:
    """Enter how a fault is made under its name in the table."""

    def enter(function: Act) -> Act:
        assert name not in ACTS
        ACTS[name] = function
        return function

    return enter


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """Wait until something is there."""
    return eventually(look, WAIT_SECONDS, what)
