"""A door shows another certificate than the home holds."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compare what is shown with server.crt, and its chain with the root."""
    server = subject.need(subject.server, "server")
    for door in subject.tls_doors():
        chain = subject.probe().served(door).chain
        if not chain or chain[0] != server.chain[0]:
            yield Problem(
                f"{door} does not show {server.path}", "restart the hub: systemctl restart lockgate", str(door)
            )
        elif len(chain) < len(server.chain):
            yield Problem(f"{door} leaves out the issuing CA", "lockgate server-cert rotate", str(door))


CHECK = Check(
    id="LG-TLS-009",
    title="A door shows another certificate than the home holds",
    severity=Severity.HIGH,
    meaning="The hub could not take up a new certificate, or somebody else answers at its port.",
    fix="restart the hub, and read its log",
    look=look,
    reference="RFC 8446 section 4.4.2",
    needs_hub=True,
)
