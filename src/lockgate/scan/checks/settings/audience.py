"""The tokens' audience is the default."""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.scan.finding import Check, Problem, Severity
from lockgate.scan.subject import Subject
from lockgate.scan.words import quoted
from lockgate.settings import IdentitySettings


def look(subject: Subject) -> Iterator[Problem]:
    """Compare the audience with the default."""
    if subject.need(subject.settings, "settings").identity.jwt_audience == IdentitySettings().jwt_audience:
        fix = f"printf '\\n[identity]\\njwt_audience = \"hub.example\"\\n' >> {quoted(subject.settings_path)}"
        yield Problem("a token for one hub is good at another that has the same key registered", fix)


CHECK = Check(
    id="LG-SET-011",
    title="The tokens' audience is the default",
    severity=Severity.INFO,
    meaning=(
        "Where a device's key is registered at two hubs, the audience keeps a token for one from being used "
        "at the other."
    ),
    fix="set identity.jwt_audience to this hub's name, and give devices new tokens",
    look=look,
    reference="RFC 7519 section 4.1.3; RFC 8725 section 3.9",
)
