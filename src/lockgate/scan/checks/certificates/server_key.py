"""The server's key does not belong to its certificate."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the key's public half with the certificate's."""
    server = subject.need(subject.server, "server")
    if server.key is None:
        yield Problem("there is no readable key beside the certificate", "lockgate server-cert rotate", server.path)
    elif server.key != server.chain[0].public_key():
        yield Problem("key and certificate are of two pairs", "lockgate server-cert rotate", server.path)


CHECK = Check(
    id="LG-CERT-003",
    title="The server's key does not belong to its certificate",
    severity=Severity.SEVERE,
    meaning=(
        "The hub cannot start with such a pair; one that runs goes on with what it had and will not survive "
        "its next start."
    ),
    fix="lockgate server-cert rotate",
    look=look,
)
