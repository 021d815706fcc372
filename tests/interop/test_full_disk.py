"""A full disk: the hub says so, acknowledges nothing that is not stored, and goes on when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import RunningHub, eventually, run_lockgate
from tests.support.power.disk import Recorder
from tests.support.strict import StrictPublisher, StrictSubscriber

pytestmark = pytest.mark.process

SETTINGS = """
[store]
max_waiting_bytes = 20000
[hub]
max_queued_messages = 60000
max_queued_bytes = 100000000
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    running = RunningHub(tmp_path / "site", settings=SETTINGS)
    yield running
    running.stop()


def test_nothing_is_acknowledged_while_the_disk_is_full_and_all_goes_on_afterwards(
    hub: RunningHub, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path, hub.home)
    hub.environment = recorder.environment
    hub.start()
    device = hub.add_device("d", "x509", "--publish", "a/#", "--receive", "a/#")
    here = StrictSubscriber(device, hub.port, "here", "a/#", 2)
    absent = StrictSubscriber(device, hub.port, "absent", "a/#", 2)
    for subscriber in (here, absent):
        subscriber.start()
        assert subscriber.is_subscribed.wait(15)
    absent.end()
    publishers = [
        StrictPublisher(device, hub.port, f"qos-{qos}", ("a/b",), qos, window=4, padding_bytes=500) for qos in (1, 2)
    ]
    for publisher in publishers:
        publisher.start()
    eventually(lambda: all(len(each.acknowledged) > 20 for each in publishers), 20.0, "the traffic")

    recorder.full.touch()
    (first,) = eventually(lambda: hub.events("store.failed")[:1] or None, 20.0, "the failed commit")
    assert "make room" in first["fix"]
    before = [each.acknowledged for each in publishers]
    eventually(lambda: len(hub.events("store.failed")) > 4 or None, 20.0, "more attempts")
    assert [each.acknowledged for each in publishers] == before, "nothing is acknowledged that is not stored"
    command = run_lockgate("device", "block", "d", home=hub.home, check=False, environment=hub.environment)
    assert command.returncode == 1
    assert "make room" in command.stderr

    recorder.full.unlink()
    eventually(lambda: has_gone_on(publishers, before) or None, 30.0, "the traffic")
    for publisher in publishers:
        publisher.finish()
    wanted = publishers[0].acknowledged | publishers[1].acknowledged
    here.wait_for(wanted)
    assert hub.events("message.dropped") == []
    port = hub.port
    hub.kill()
    hub.start(port)
    back = StrictSubscriber(device, hub.port, "absent", "a/#", 2)
    back.start()
    counts = back.wait_for(wanted)
    assert {payload for payload, count in counts.items() if count > 1 and payload.startswith(b"qos-2")} == set()
    for client in (*publishers, here, back):
        client.end()


def has_gone_on(publishers: list[StrictPublisher], before: list[set[bytes]]) -> bool:
    """Say whether each publisher has had more acknowledgements since."""
    return all(len(each.acknowledged) > len(known) + 20 for each, known in zip(publishers, before, strict=True))


def test_a_start_on_a_full_disk_is_refused_with_what_mends_it(hub: RunningHub, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, hub.home)
    recorder.full.touch()
    done = run_lockgate("up", "--home", str(hub.home), check=False, environment=recorder.environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    error, fix = done.stderr.strip().splitlines()
    assert "cannot be" in error
    assert "room" in fix
