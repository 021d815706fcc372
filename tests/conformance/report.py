"""The conformance page: every statement, our words for it, its tests, and what they said when all were last run.

The results are in `results.txt`, written by a full run against our own hub with `--keep-results` (`make conformance`
does that). The page is made from them by `python -m docs.reference`; `tests/house/test_conformance.py` sees that they
know all tests, and every full run of the suite compares what it finds with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.conformance.catalogue import FILES, HERE, Statement, statements, tests

RESULTS = HERE / "results.txt"
PASSED = "passed"

Results = dict[str, str]
"""Test (file.py::name, without case) to outcome: "passed", or what else it was."""


def load_results(path: Path = RESULTS) -> Results:
    """Give the results of the last full run."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: outcome for name, _, outcome in (line.partition(" ") for line in lines)}


def save_results(results: Results, path: Path = RESULTS) -> None:
    """Keep the results of a full run, a line each: two changes that add tests do not get in each other's way."""
    path.write_text("".join(f"{name} {outcome}\n" for name, outcome in sorted(results.items())))


def summed_up(outcomes: Iterable[tuple[str, str]]) -> Results:
    """Join the outcomes of a test's cases: it has passed if all have."""
    found: Results = {}
    for name, outcome in outcomes:
        test = name.partition("[")[0]
        if found.get(test, PASSED) == PASSED:
            found[test] = outcome
    return found


def page() -> str:
    """Give the page."""
    results, known = load_results(), tests()
    parts = [HEAD]
    for version in FILES:
        listed = statements(version)
        title = version if version.startswith("RFC") else f"MQTT {version}"
        parts.append(f"## {title}\n\n" + _counts(version, listed, known, results))
        parts.append("| statement | in our words | result | tests |\n| --- | --- | --- | --- |")
        parts += _rows(version, listed, known, results)
        parts.append("")
    return "\n".join(parts)


HEAD = """# Conformance

Every normative statement of MQTT 5.0 and of MQTT 3.1.1 by its number, in our words; the standards' own are
[here for 5.0](https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html) and
[here for 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html). Of CoAP what
[RFC 7252](https://www.rfc-editor.org/rfc/rfc7252), [RFC 7641](https://www.rfc-editor.org/rfc/rfc7641) (Observe) and
[RFC 7959](https://www.rfc-editor.org/rfc/rfc7959) (block-wise) ask of a server, by section and a number of ours.
What binds a server has tests in `tests/conformance`, which speak to it over a socket and share no code with it.
`make conformance` runs them against lockgate, `make conformance HUB=mqtt://host:port` or `HUB=coap://host:port` against
any other hub; where one is known to differ, a file in `tests/conformance/elsewhere` says who is right. The results here
are those of the last full run; every `make test` compares them with its own.
"""


def _counts(
    version: str, listed: dict[str, Statement], known: dict[tuple[str, str], list[str]], results: Results
) -> str:
    binding = [number for number, statement in listed.items() if statement.is_ours]
    kept = sum(result(known.get((version, number), []), results) == PASSED for number in binding)
    count = len({test for (of, _), group in known.items() if of == version for test in group})
    return (
        f"{len(listed)} statements: {len(binding)} bind a server, of which {kept} are kept as {count} tests show; "
        f"{len(listed) - len(binding)} do not.\n"
    )


def _rows(
    version: str, listed: dict[str, Statement], known: dict[tuple[str, str], list[str]], results: Results
) -> Iterator[str]:
    for number, statement in listed.items():
        group = known.get((version, number), [])
        told = result(group, results)
        if not statement.is_ours:
            told = f"does not bind a server: {statement.reason}" + (f" ({told})" if group else "")
        names = "<br>".join(f"`{test}`" for test in group)
        wording = statement.wording.replace("|", "\\|")
        short = number.partition("-")[2]
        yield f"| {short} | {wording} | {told} | {names} |"


def result(group: list[str], results: Results) -> str:
    """Give what a group of tests says together: "passed" only if each has."""
    outcomes = {results.get(test, "not run") for test in group}
    if outcomes == {PASSED}:
        return PASSED
    return ", ".join(sorted(outcomes - {PASSED})) or "no test"
