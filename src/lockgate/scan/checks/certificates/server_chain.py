"""The server certificate does not come from this home's CA."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Check that leaf, issuing CA and root sign each other in turn."""
    server = subject.need(subject.server, "server")
    issuing, root = subject.need(subject.issuing, "issuing"), subject.need(subject.root, "root")
    try:
        server.chain[0].verify_directly_issued_by(issuing.chain[0])
        issuing.chain[0].verify_directly_issued_by(root.chain[0])
    except (ValueError, TypeError, InvalidSignature):
        yield Problem("its chain does not lead to ca/root.crt", "lockgate server-cert rotate", server.path)
        return
    if len(server.chain) < 2 or server.chain[1] != issuing.chain[0]:
        yield Problem("the issuing CA's certificate does not follow it", "lockgate server-cert rotate", server.path)


CHECK = Check(
    id="LG-CERT-007",
    title="The server certificate does not come from this home's CA",
    severity=Severity.HIGH,
    meaning="Devices hold the root of this home and refuse a hub whose chain does not lead to it.",
    fix="lockgate server-cert rotate",
    look=look,
    reference="RFC 5280 section 6; RFC 8446 section 4.4.2",
)
