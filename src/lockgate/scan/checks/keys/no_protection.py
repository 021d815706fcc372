"""A device has no protection at all."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.model.device import CredentialKind
from lockgate.scan.credentials import live
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Find devices that are known by their address alone."""
    for credential in live(subject):
        if credential.kind is CredentialKind.NOSEC:
            yield Problem(
                f"{credential.device} is whoever sends from {credential.public}",
                f"lockgate credential revoke {credential.id} # give it a key before that, by device rotate --auth psk",
                credential.device,
            )


CHECK = Check(
    id="LG-KEY-011",
    title="A device has no protection at all",
    severity=Severity.SEVERE,
    meaning=(
        "It speaks CoAP without DTLS and without OSCORE: everybody on the way reads and changes what it says, and "
        "whoever can send from its address may do what it may. An address proves nothing on a network with others."
    ),
    fix="lockgate device rotate NAME --auth psk --out DIR, and revoke what it had",
    look=look,
    reference="RFC 7252 sections 9 and 11.4",
)
