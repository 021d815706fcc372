"""The server certificate is for this machine only."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.pki.certificates import names_of
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import LOOPBACK, Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Find a certificate all of whose names are loopback."""
    names = names_of(subject.need(subject.server, "server").chain[0])
    if all(name.startswith(LOOPBACK) for name in names):
        machine = subject.need(subject.machine, "machine")
        better = next((n for n in (*machine.names, *machine.addresses) if not n.startswith(LOOPBACK)), "hub.example")
        yield Problem(f"it is for {named(names)}", f"lockgate server-cert add-name {better}")


CHECK = Check(
    id="LG-CERT-004",
    title="The server certificate is for this machine only",
    severity=Severity.MEDIUM,
    meaning="All its names mean loopback: no device on the network can check that it speaks to this hub.",
    fix="lockgate server-cert add-name NAME_OR_ADDRESS",
    look=look,
    reference="RFC 9525 section 6",
)
