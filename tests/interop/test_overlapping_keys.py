"""A device whose keys overlap while they change: real clients with the old key, the new one, and a third."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.hub import RunningHub, eventually
from tests.support.intruder import ENDED, Ledger, Thief
from tests.support.paho_peer import PahoPeer

pytestmark = [pytest.mark.process, pytest.mark.requirement("I7")]


class Keys:
    """One device, and the folders that it was given one after the other."""

    def __init__(self, hub: RunningHub, name: str, auth: str) -> None:
        self.hub = hub
        self.name = name
        self.folders = [hub.add_device(name, auth)]

    def rotate(self, auth: str) -> Path:
        """Give it one more secret; those that it had hold for another hour."""
        folder = self.hub.folder / f"device-{self.name}-{len(self.folders) + 1}"
        words = ("--out", str(folder), "--auth", auth, "--overlap", "1h", "--hub", "localhost")
        self.hub.lockgate("device", "rotate", self.name, *words)
        self.folders.append(folder)
        return folder

    def numbers(self) -> list[int]:
        """Give the numbers of the credentials that hold, the oldest first."""
        listed = self.hub.lockgate("credential", "list", self.name, "--json").stdout
        return sorted(each["id"] for each in msgspec.json.decode(listed))


@pytest.fixture
def hub(tmp_path: Path) -> RunningHub:
    return RunningHub(tmp_path)


@pytest.mark.parametrize(
    "kinds",
    [("x509", "x509", "x509"), ("jwt-es256", "jwt-eddsa", "jwt-rs256"), ("password", "x509", "jwt-es256")],
    ids=" ".join,
)
def test_old_and_new_keys_live_side_by_side_until_one_is_revoked_and_that_one_alone(
    hub: RunningHub, kinds: tuple[str, str, str]
) -> None:
    with hub:
        keys = Keys(hub, "lamp", kinds[0])
        topic = "devices/lamp/hello"
        peers = [PahoPeer(keys.folders[0], hub.port, suffix="1")]
        try:
            assert peers[0].connect()[0] == 0
            for number, kind in enumerate(kinds[1:], 2):
                peer = PahoPeer(keys.rotate(kind), hub.port, suffix=str(number))
                eventually(lambda peer=peer: peer.connect()[0] == 0 or None)  # type: ignore[misc]
                peers.append(peer)
            numbers = keys.numbers()
            assert len(numbers) == 3
            for peer in peers:
                assert peer.subscribe(topic) == 1
            for number, peer in enumerate(peers):
                assert peer.publish(topic, f"from {number}") == 0
            for peer in peers:
                assert [each.payload for each in peer.wait_for(3)] == [b"from 0", b"from 1", b"from 2"]

            peers[0].gives_up = True
            hub.lockgate("credential", "revoke", str(numbers[0]))
            code, text = peers[0].wait_for_end()
            assert (code, text.partition(" (")[0]) == (0x98, "credential revoked")
            assert keys.numbers() == numbers[1:]
            assert peers[1].publish(topic, "still here") == 0
            for peer in peers[1:]:
                assert peer.wait_for(4)[-1].payload == b"still here"
                assert peer.ends == []
            assert len(peers[0].heard) == 3

            old = Thief(hub, keys.folders[0], False, Ledger())
            line, refused = old.connect("lamp/old")
            line.cut()
            assert refused.partition(" (")[0] in (
                "credential revoked",
                ENDED,
            )  # a certificate is refused by TLS already
            for folder in keys.folders[1:]:
                with Thief(hub, folder, False, Ledger()).enters("lamp/again") as line:
                    assert line.is_alive()
        finally:
            for peer in peers:
                peer.stop()


def test_revoking_the_new_key_leaves_the_old_one_good(hub: RunningHub) -> None:
    with hub:
        keys = Keys(hub, "lamp", "jwt-es256")
        with PahoPeer(keys.folders[0], hub.port, suffix="old") as old:
            keys.rotate("jwt-es256")
            new = PahoPeer(keys.folders[1], hub.port, suffix="new")
            eventually(lambda: new.connect()[0] == 0 or None)
            new.gives_up = True
            hub.lockgate("credential", "revoke", str(keys.numbers()[-1]))
            assert new.wait_for_end()[0] == 0x98
            assert old.publish("devices/lamp/x", "x") in (0, 0x10)
            assert old.ends == []
            new.stop()
