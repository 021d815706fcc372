"""TLS 1.0 or 1.1 is taken."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import TLSVersion

from lockgate.net.probe import Offer
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE

OFFER = Offer(TLSVersion.TLSv1, TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0")


def look(subject: Subject) -> Iterator[Problem]:
    """Offer nothing else, at each door with TLS."""
    for door in subject.tls_doors():
        heard = subject.probe().handshake(door, OFFER)
        if heard.is_taken:
            text = f"{door} takes a withdrawn version of TLS: {heard.version} {heard.suite}".rstrip(": ")
            yield Problem(text, UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-001",
    title="TLS 1.0 or 1.1 is taken",
    severity=Severity.SEVERE,
    meaning="Both are broken and withdrawn; who listens may read.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 8996; RFC 9325 section 3.1.1",
    needs_hub=True,
)
