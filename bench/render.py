"""The tables: a short one of goals for the README, and a long one with every figure for bench/results/."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import OURS, PEER, Goal, Line, Report, Spread

NOTHING = "–"
PEER_THERE = "mosquitto 2.1"
YES, NO = "yes", "**no**"


def render_goals(report: Report) -> str:
    """Give the short table: our figure, mosquitto's, the ratio, the goal, and the best of the others."""
    lines = [
        f"| workload | {OURS} | {PEER} | ratio | goal | met | best of the others | ratio to it |",
        "|---|---|---|---|---|---|---|---|",
        *(_goal_row(line) for line in report.lines),
        "",
        *_refusals(report.lines),
        _machine(report),
        "",
    ]
    return "\n".join(lines)


def _goal_row(line: Line) -> str:
    against = line.row.goal.against
    beside = (line.row.goal.beside or against.broker) if against else None
    cells = (
        line.row.name,
        _figure(line.spreads.get(OURS), line.row.unit),
        NOTHING if beside is None else _beside(line, beside),
        _ratio(line.ratio),
        _goal(line.row.goal, line.row.unit),
        _met(line.is_met),
        _best(line),
        _ratio(line.best_ratio),
    )
    return f"| {' | '.join(cells)} |"


def _beside(line: Line, broker: str) -> str:
    figure = _figure(line.spreads.get(broker), line.row.unit)
    return figure if broker == PEER or figure == NOTHING else f"{figure} ({broker})"


def _best(line: Line) -> str:
    if line.best is None:
        return NOTHING
    spread = line.spreads.get(line.best)
    guess = next((each.value for each in line.guesses if each.broker == line.best), None)
    value = spread.median if spread else guess
    assert value is not None
    return f"{line.best}, {number(value)} {line.row.unit}" + ("" if spread else " \\*")


def render_figures(report: Report) -> str:
    """Give the long tables: every broker with its spread, those measured elsewhere, and throughput."""
    names = _brokers(report)
    parts = [
        render_goals(report),
        "## Every figure",
        "",
        "Medians (least to most).",
        "",
        f"| workload | | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
        *(_figure_row(line, names) for line in report.lines),
        "",
        *_throughput(report),
        *_elsewhere(report),
    ]
    return "\n".join(parts)


def _brokers(report: Report) -> list[str]:
    return list(dict.fromkeys([OURS, PEER, *(name for line in report.lines for name in line.spreads)]))


def _figure_row(line: Line, names: Sequence[str]) -> str:
    cells = (_spread(line.spreads.get(name)) for name in names)
    return f"| {line.row.name} | {line.row.unit} | {' | '.join(cells)} |"


def _throughput(report: Report) -> list[str]:
    rates: dict[str, dict[str, list[float]]] = {}
    for sample in report.samples:
        if "per_second" in sample.figures and not sample.problem:
            rates.setdefault(sample.measure, {}).setdefault(sample.broker, []).append(sample.figures["per_second"])
    names = list(dict.fromkeys(name for row in rates.values() for name in row))
    lines = ["## Per second", "", f"| workload | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for measure, row in rates.items():
        cells = (_spread(Spread.of(row[name])) if name in row else NOTHING for name in names)
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return [*lines, ""]


def _elsewhere(report: Report) -> list[str]:
    lines = [line for line in report.lines if line.guesses]
    if not lines:
        return []
    names = list(dict.fromkeys(guess.broker for line in lines for guess in line.guesses))
    rows = []
    for line in lines:
        found = {guess.broker: guess.value for guess in line.guesses}
        cells = (f"{number(found[name])} {line.row.unit}" if name in found else NOTHING for name in names)
        factor = f"{line.factor:.2f}" if line.factor else "as they were there" if PEER_THERE in found else NOTHING
        rows.append(f"| {line.row.name} | {factor} | {' | '.join(cells)} |")
    common = f"{report.factor:.2f}" if report.factor else "1, for want of one"
    return [
        "## Brokers that cannot be installed here",
        "",
        f"Measured on another machine beside {PEER_THERE} (bench/elsewhere.json), and set beside the mosquitto here by",
        "their ratio to that one, divided by the factor between the two. NATS was measured at both places, so the",
        "factor of a row is (mosquitto here / NATS here) / (mosquitto there / NATS there). The version of NATS there",
        "is not known and may differ from this one, and so may the windows of the workloads: the factors of the rows",
        f"are apart. So their median serves all rows: **{common}**. What stands here is a guess, not a measurement.",
        "Bytes of memory are the same on every machine, and stand as they were there.",
        "",
        f"| workload | factor of the row | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
        *rows,
        "",
    ]


def _refusals(lines: Sequence[Line]) -> list[str]:
    found = [f"- {line.row.name}: {refusal}." for line in lines for refusal in line.refusals]
    return [*found, ""] if found else []


def _figure(spread: Spread | None, unit: str) -> str:
    return f"{number(spread.median)} {unit}" if spread else NOTHING


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    if spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)} to {number(spread.most)})"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return NOTHING
    return f"{ratio:.3f}" if ratio < 0.2 else f"{ratio:.2f}"


def _goal(goal: Goal, unit: str) -> str:
    word = "≥" if goal.at_least else "≤"
    return f"{word} {goal.written or number(goal.limit)}" + (f" {unit}" if goal.against is None else "")


def _met(is_met: bool | None) -> str:
    return NOTHING if is_met is None else YES if is_met else NO


def number(value: float) -> str:
    """Write a figure with three digits that count, and thousands apart."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{digits}f}"


def _machine(report: Report) -> str:
    machine = report.machine
    others = max((sample.others_share for sample in report.samples), default=0.0)
    versions = ", ".join(dict.fromkeys(machine.versions.values()))
    return (
        f"µs are the broker's CPU for one delivered message, or one handshake; B are bytes of memory for one idle "
        f"connection. Medians of {report.repeats} runs of {report.seconds:g} s, each on a fresh broker; a ratio is "
        f"{OURS}'s figure by the other's. {OURS} ran with {report.rules:,} rules. \\*: measured elsewhere, set beside "
        f"this mosquitto by its ratio to another one. {machine.date}, {machine.cpu}, {machine.cores} cores, Linux "
        f"{machine.kernel}, Python {machine.python}, {machine.revision}; {versions}. Other processes took up to "
        f"{others:.0%} of a core meanwhile."
    )
