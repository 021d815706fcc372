"""Finite-field Diffie-Hellman is taken."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import TLSVersion

from lockgate.net.probe import Offer
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE

OFFER = Offer(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2, "kDHE:@SECLEVEL=0")


def look(subject: Subject) -> Iterator[Problem]:
    """Offer nothing else, at each door with TLS."""
    for door in subject.tls_doors():
        heard = subject.probe().handshake(door, OFFER)
        if heard.is_taken:
            text = f"{door} takes finite-field Diffie-Hellman: {heard.version} {heard.suite}".rstrip(": ")
            yield Problem(text, UPGRADE, str(door))


CHECK = Check(
    id="LG-TLS-004",
    title="Finite-field Diffie-Hellman is taken",
    severity=Severity.HIGH,
    meaning="Its groups are often short or home-made, and it invites denial of service (D(HE)at).",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    reference="RFC 9325 section 4.1; RFC 8446 section 1.2",
    needs_hub=True,
)
