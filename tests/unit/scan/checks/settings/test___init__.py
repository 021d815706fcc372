"""Settings: each that switches a protection off is seen by its check alone, and gone after the fix."""

from __future__ import annotations

import pytest

from tests.support.scan import Examined

FAULTS = {
    "LG-SET-001": "[hub]\nmax_messages_per_second = 0\n",
    "LG-SET-002": "[hub]\nmax_bytes_per_second = 0\n",
    "LG-SET-003": "[net]\nmax_handshakes_per_second_per_address = 0\n",
    "LG-SET-004": "max_packet_bytes = 100_000_000\n",
    "LG-SET-005": "max_connect_bytes = 100_000_000\n",
    "LG-SET-006": '[store]\ndurability = "memory"\n',
    "LG-SET-007": "[identity]\nwrong_passwords_before_lockout = 1000000\n",
    "LG-SET-008": "[identity]\nlockout_seconds = 1\n",
    "LG-SET-009": "[identity]\njwt_clock_skew_seconds = 86400\n",
    "LG-SET-010": "[identity]\njwt_max_lifetime_hours = 8760\n",
    "LG-SET-012": '[log]\nlevel = "error"\n',
    "LG-SET-013": 'websocket_origins = ["*"]\n',
    "LG-SET-014": "[log]\nmax_remembered_refusals = 5\n",
    "LG-SET-015": "[net]\nmax_connections_per_address = 20000\n",
    "LG-SET-016": "[hub]\nsys_interval_seconds = 0\n",
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_setting_that_opens_wide_is_seen_and_its_fix_works(home: Examined, check: str) -> None:
    home.sets(FAULTS[check])
    home.mends(home.sees_only(check))


def test_the_default_audience_is_noted_and_the_fix_sets_one(home: Examined) -> None:
    (found,) = home.find("LG-SET-011")
    home.mends(found)
    assert home.home.settings().identity.jwt_audience == "hub.example"


def test_settings_that_cannot_be_read_are_not_passed(home: Examined) -> None:
    home.sets("nonsense")
    report = home.report("LG-SET-001")
    assert (report.passed, report.findings) == ((), ())
    assert "is no TOML" in report.unchecked[0].reason
