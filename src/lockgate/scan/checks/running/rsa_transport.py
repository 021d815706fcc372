"""Key transport by RSA is taken."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import TLSVersion

from lockgate.net.probe import Offer
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE

OFFER = Offer(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2, "kRSA:@SECLEVEL=0")


def look(subject: Subject) -> Iterator[Problem]:
    """Offer nothing else, at each door with TLS."""
    for door in subject.tls_doors():
        heard = subject.probe().handshake(door, OFFER)
        if heard.is_taken:
            text = f"{door} takes key transport by RSA: {heard.version} {heard.suite}".rstrip(": ")
            yield Problem(text, UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-003",
    title="Key transport by RSA is taken",
    severity=Severity.SEVERE,
    meaning="There is no forward secrecy: who gets the server's key later reads everything that was recorded.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 9325 section 4.1; RFC 8446 section 1.2",
    needs_hub=True,
)
