"""What a rotation does to those who are connected: nobody is dropped here; beside it, mosquitto as Debian ships it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rotation_beside import ENDS, GOES_ON, OUT, WELCOME, Lockgate, RotatedMosquitto, observe
from tests.support.hub import RunningHub

pytestmark = [pytest.mark.long, pytest.mark.process]


def test_no_session_that_may_stay_ends_and_every_other_does(tmp_path: Path) -> None:
    with RunningHub(tmp_path / "lockgate") as hub:
        row = observe(Lockgate(hub, tmp_path / "keys"))
    assert row.dropped == "none"
    assert (row.key_live, row.password_live, row.rule_live) == (GOES_ON, GOES_ON, GOES_ON)
    assert (row.key_old, row.password_old, row.key_end) == (WELCOME, WELCOME, OUT)
    assert (row.authority_live, row.authority_full, row.authority_ticket) == (ENDS, OUT, OUT)
    assert (row.list_live, row.list_full, row.list_ticket) == (ENDS, OUT, OUT)
    assert (row.list_outdated, row.broken) == (WELCOME, WELCOME)
    assert row.tickets == f"{WELCOME} (full handshake)"


@pytest.mark.parametrize(("has_plugin", "dropped"), [(True, "1 (rule), 1 (password)"), (False, "1 (password)")])
def test_the_same_steps_can_be_taken_beside_mosquitto(tmp_path: Path, has_plugin: bool, dropped: str) -> None:
    with RotatedMosquitto(tmp_path, has_plugin).running() as broker:
        row = observe(broker)
    # What the page says of it: whoever reads this after an upgrade shall see at once what has changed.
    assert row.dropped == dropped
    assert (row.authority_live, row.list_live) == (GOES_ON, GOES_ON)
    assert (row.authority_full, row.authority_ticket, row.list_full, row.list_ticket) == (OUT, OUT, OUT, OUT)
    assert (row.list_outdated, row.broken, row.password_old) == (OUT, OUT, OUT)
    assert row.tickets == f"{WELCOME} (full handshake)"
