"""The server's key or signature is weak."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.errors import InvalidSettings
from lockgate.pki.certificates import check_public_key
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Look at the leaf's key and at what it is signed with."""
    server = subject.need(subject.server, "server")
    leaf = server.chain[0]
    try:
        check_public_key(leaf.public_key())
    except InvalidSettings as error:
        yield Problem(str(error), "lockgate server-cert rotate", server.path)
    algorithm = leaf.signature_hash_algorithm
    if algorithm is not None and algorithm.name in ("md5", "sha1"):
        yield Problem(f"it is signed with {algorithm.name.upper()}", "lockgate server-cert rotate", server.path)


CHECK = Check(
    id="LG-CERT-006",
    title="The server's key or signature is weak",
    severity=Severity.SEVERE,
    meaning=("A short RSA key can be factored, a SHA-1 or MD5 signature forged: somebody else can then be this hub."),
    fix="lockgate server-cert rotate",
    look=look,
    reference="RFC 9325 section 4.5; NIST SP 800-131A",
)
