"""What our CA signs is on record: only the rooms that write it down may ask the authority to sign."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "lockgate"
SIGNING = re.compile(
    r"\.(?:authority\(\)|issue_device\(|issue_device_for_request\(|issue_server\(|create_issuing\(|create_root\()"
)
# `bundle.py` and `enrolment.py` ask whom they are given, and the command line and the office give them the desk.
ALLOWED = {
    "ca/desk.py", "ca/rotation.py", "home.py", "pki/authority.py", "provision/bundle.py", "provision/enrolment.py",
    "cli/server_cert.py",
}  # fmt: skip


def test_only_rooms_that_keep_the_record_have_certificates_signed() -> None:
    asking = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if SIGNING.search(path.read_text())}
    assert asking - ALLOWED == set(), "issue by lockgate.ca.desk.Desk, which records what it issues"
    assert "ca/desk.py" in asking
