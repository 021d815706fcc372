"""A door with TLS answers without it."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.packets import connect_packet
from lockgate.scan.subject import Subject
from lockgate.scan.words import UPGRADE

TLS_ALERT = 0x15


def look(subject: Subject) -> Iterator[Problem]:
    """Send a plain CONNECT and a plain HTTP request."""
    for door in subject.tls_doors():
        for what, sent in (("MQTT", connect_packet()), ("HTTP", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")):
            answer = subject.probe().plain(door, sent)
            if answer and answer[0] != TLS_ALERT:
                yield Problem(f"{door} answers {what} without TLS", UPGRADE, str(door))


CHECK = Check(
    id="LG-HUB-007",
    title="A door with TLS answers without it",
    severity=Severity.SEVERE,
    meaning="A client that is set up wrongly sends its password in the clear, and nobody notices.",
    fix="install lockgate anew: its own TLS settings never do that",
    look=look,
    needs_hub=True,
)
