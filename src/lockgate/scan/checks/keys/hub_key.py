"""A device has a key of the hub itself."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.pki.certificates import certificate_key, spki_thumbprint
from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Compare devices' keys with the server's and the authorities'."""
    identities = [i for i in (subject.need(subject.server, "server"), subject.issuing, subject.root) if i is not None]
    own = {spki_thumbprint(certificate_key(each.chain[0])): each.path for each in identities}
    for credential in live(subject):
        if credential.thumbprint in own:
            text = f"{credential.device} has the key of {own[credential.thumbprint]}"
            fix = f"lockgate device revoke {credential.device} && lockgate server-cert rotate"
            yield Problem(text, fix, credential.device)


CHECK = Check(
    id="LG-KEY-004",
    title="A device has a key of the hub itself",
    severity=Severity.SEVERE,
    meaning="Who holds that device's key can be the hub, or sign for it.",
    fix="lockgate device revoke NAME; lockgate server-cert rotate",
    look=look,
)
