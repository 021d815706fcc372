"""A client with the root cannot verify a door."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import TLSVersion

from lockgate.net.probe import Offer
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject

OFFER = Offer(TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)


def look(subject: Subject) -> Iterator[Problem]:
    """Connect as a good client, with the root alone."""
    for door in subject.tls_doors():
        heard = subject.probe().handshake(door, OFFER)
        if not heard.is_taken or heard.problem:
            yield Problem(f"{door}: {heard.problem or 'no handshake'}", "lockgate server-cert rotate", str(door))


CHECK = Check(
    id="LG-TLS-010",
    title="A client with the root cannot verify a door",
    severity=Severity.HIGH,
    meaning="A device that checks whom it speaks to cannot connect: the chain, the times or the name do not hold.",
    fix="lockgate server-cert rotate",
    look=look,
    reference="RFC 9525 section 6; RFC 5280 section 6",
    needs_hub=True,
)
