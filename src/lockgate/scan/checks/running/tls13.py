"""TLS 1.3 is not spoken."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import TLSVersion

from lockgate.net.probe import Offer
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE

OFFER = Offer(TLSVersion.TLSv1_3, TLSVersion.TLSv1_3)


def look(subject: Subject) -> Iterator[Problem]:
    """Offer nothing else."""
    for door in subject.tls_doors():
        heard = subject.probe().handshake(door, OFFER)
        if not heard.is_taken:
            yield Problem(f"{door} refuses TLS 1.3: {heard.problem}", UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-011",
    title="TLS 1.3 is not spoken",
    severity=Severity.MEDIUM,
    meaning=(
        "Version 1.3 needs one round trip, hides the client's certificate and leaves out all that was ever broken."
    ),
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 9325 section 3.1.1",
    needs_hub=True,
)
