"""The scanner on a real home: which findings a check has, and whether its fix works."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import msgspec

from lockgate.fitness import gather
from lockgate.home import Home
from lockgate.scan.checks import ALL_CHECKS
from lockgate.scan.finding import Finding, Report
from lockgate.scan.runner import chosen, scan
from lockgate.scan.subject import Subject
from tests.support.cli import CommandLine

FRESH = {"LG-CA-001", "LG-CERT-005", "LG-HOST-001", "LG-HOST-003", "LG-HOST-008", "LG-SET-011"}
"""What a fresh home may show, by the machine that it is on and how lockgate was installed there."""


class Examined:
    """A home and its scans.

    `facts` are put in place of what the home says, for what a test cannot make: another user, a full disk, the future.
    """

    def __init__(self, lockgate: CommandLine) -> None:
        self.lockgate = lockgate
        self.path = lockgate.home
        self.home = Home(lockgate.home)

    def report(self, *only: str, **facts: object) -> Report:
        """Scan it."""
        subject: Subject = msgspec.structs.replace(gather(self.home, time.time()), **facts)
        return scan(subject, chosen(ALL_CHECKS, only))

    def find(self, check: str, **facts: object) -> list[Finding]:
        """Give what one check finds; it must have been possible."""
        report = self.report(check, **facts)
        assert not report.unchecked, report.unchecked
        return list(report.findings)

    def sees_only(self, check: str, **facts: object) -> Finding:
        """Give the one finding of this check; no other check may see the fault."""
        found = self.report(**facts).findings
        others = {f.check for f in found} - FRESH - {check}
        assert not others, [f for f in found if f.check in others]
        own = [f for f in found if f.check == check]
        assert len(own) == 1, own
        assert own[0].fix
        return own[0]

    def mends(self, finding: Finding) -> None:
        """Run the fix as it is written; the finding must be gone."""
        assert finding in self.find(finding.check)
        words = shlex.split(finding.fix, comments=True)
        if words[0] == "lockgate" and "&&" not in words:
            self.lockgate.does(*words[1:])
        else:
            environment = {**os.environ, "PATH": f"{self.lockgate.folder}:{os.environ['PATH']}"}
            done = subprocess.run(["bash", "-c", finding.fix], capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done
        assert finding.text not in [each.text for each in self.find(finding.check)]

    def sets(self, text: str) -> None:
        """Write settings, after those of the home."""
        with Path(self.home.settings_path).open("a") as file:
            file.write(text)
