"""What remains after a revocation, as seen from outside: nothing here; beside it, mosquitto as Debian ships it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.revocation_beside import Lockgate, Mosquitto, observe
from tests.support.hub import RunningHub


@pytest.mark.process
def test_of_a_revoked_device_nothing_remains_that_a_client_could_see(tmp_path: Path) -> None:
    with RunningHub(tmp_path / "lockgate") as hub:
        row = observe(Lockgate(hub, tmp_path / "keys"))
    assert row.is_silent, row


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("has_plugin", [True, False])
def test_the_same_steps_can_be_taken_beside_mosquitto(tmp_path: Path, has_plugin: bool) -> None:
    with Mosquitto(tmp_path, has_plugin).running() as broker:
        row = observe(broker)
    # What the page says of it: whoever reads this after an upgrade shall see at once what has changed.
    assert (row.live, row.again, row.ticket, row.will) == ("ended", "refused", "refused", "gone")
    assert (row.queue, row.retained) == ("the session waits, with 'before'", "stays")
