"""Revocation under load: hundreds of live TLS sessions with traffic; all victims fall silent, and nobody else does.

How long it takes is the bench's to say (`python -m bench.revocation`); here it only has to be true.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.revocation import measure
from lockgate.adapters.mqtt.packets import ReasonCode


@pytest.mark.process
@pytest.mark.parametrize(
    ("sessions", "one_by_one", "in_group"),
    [(100, 20, 20), pytest.param(1000, 150, 100, marks=pytest.mark.long)],
)
def test_whoever_is_revoked_is_silent_and_nobody_else_is(
    tmp_path: Path, sessions: int, one_by_one: int, in_group: int
) -> None:
    seen = measure(tmp_path / "run", sessions, one_by_one, in_group)
    print(seen)
    assert seen.still_open == []
    assert seen.dropped == []
    assert seen.let_in_again == []
    assert seen.heard_late == 0
    assert seen.codes == {ReasonCode.ADMINISTRATIVE_ACTION: one_by_one + in_group}
    assert seen.deliveries > 0, "there was traffic"
