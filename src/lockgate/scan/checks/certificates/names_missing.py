"""An address of this machine is not in the server certificate."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.pki.certificates import names_of
from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import LOOPBACK, Subject
from lockgate.scan.words import named


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the certificate's names with the machine's."""
    names = set(names_of(subject.need(subject.server, "server").chain[0]))
    machine = subject.need(subject.machine, "machine")
    missing = [each for each in (*machine.names, *machine.addresses) if each not in names]
    missing = [each for each in missing if not each.startswith(LOOPBACK)]
    if missing:
        yield Problem(f"it lacks {named(missing)}", f"lockgate server-cert add-name {' '.join(missing)}")


CHECK = Check(
    id="LG-CERT-005",
    title="An address of this machine is not in the server certificate",
    severity=Severity.INFO,
    meaning=(
        "A device that connects by that name or address refuses the hub. That is harmless where devices use another."
    ),
    fix="lockgate server-cert add-name NAME_OR_ADDRESS",
    look=look,
)
