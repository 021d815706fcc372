"""A device's key is weak."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.errors import InvalidSettings
from lockgate.registry.weaknesses import check_weaknesses
from lockgate.scan.credentials import has_public_key, live, public_key
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject


def look(subject: Subject) -> Iterator[Problem]:
    """Read every live key again, as the registry does."""
    for credential in live(subject):
        if has_public_key(credential):
            try:
                check_weaknesses(public_key(credential), credential.thumbprint)
            except InvalidSettings as error:
                yield Problem(
                    f"{credential.device}: {error}", f"lockgate device revoke {credential.device}", credential.device
                )


CHECK = Check(
    id="LG-KEY-001",
    title="A device's key is weak",
    severity=Severity.SEVERE,
    meaning=(
        "Who can compute the private key is that device. The registry refuses such keys when they come; one "
        "that is there was put there by other means or an older release."
    ),
    fix="lockgate device revoke NAME, and a new key for it",
    look=look,
    reference="NIST SP 800-131A; RFC 8725 section 3.5",
)
