"""The bench's results: from single runs to medians, ratios and goals, or to the reason why there is no ratio."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

OURS, PEER = "lockgate", "mosquitto"
TABLE_START, TABLE_END = "<!-- bench:start -->", "<!-- bench:end -->"
SATURATED_SHARE = 0.9


class Sample(msgspec.Struct, frozen=True):
    """One measurement of one fresh broker: its figures by name, or why they are not fit for a ratio."""

    measure: str
    broker: str
    figures: dict[str, float]
    problem: str | None = None
    others_share: float = 0.0
    generator_share: float = 0.0
    said: dict[str, Any] = {}


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Reference(msgspec.Struct, frozen=True):
    """What a figure of ours is held against: mosquitto's own, unless told; None is the row's own measure or figure."""

    broker: str = PEER
    measure: str | None = None
    figure: str | None = None


class Goal(msgspec.Struct, frozen=True):
    """At most `limit` times the reference (at least, where more is better); without a reference, `limit` itself."""

    limit: float
    against: Reference | None = Reference()
    at_least: bool = False
    written: str = ""
    beside: str = ""  # what the reference is, where it is none of the brokers

    def is_met(self, value: float) -> bool:
        """Say whether a ratio, or a figure where there is no reference, reaches the goal."""
        return value >= self.limit if self.at_least else value <= self.limit


class Row(msgspec.Struct, frozen=True):
    """One line of the table: a figure of a measure, and what it must reach."""

    name: str
    measure: str
    figure: str
    unit: str
    goal: Goal
    is_must: bool = True
    beside_others: bool = False


class Guess(msgspec.Struct, frozen=True):
    """What a broker that was measured elsewhere would need here, by its ratio to mosquitto there."""

    broker: str
    value: float


class Line(msgspec.Struct, frozen=True):
    """A row with its figures. A ratio that would not be honest is None, and `refusals` say why."""

    row: Row
    spreads: dict[str, Spread]
    ratio: float | None
    is_met: bool | None
    factor: float | None
    guesses: list[Guess]
    best: str | None
    best_ratio: float | None
    refusals: list[str]


class Machine(msgspec.Struct, frozen=True):
    """Where the numbers come from."""

    cpu: str
    cores: int
    kernel: str
    python: str
    versions: dict[str, str]
    revision: str
    date: str


class Report(msgspec.Struct, frozen=True):
    """All of one bench: what latest.json holds."""

    machine: Machine
    repeats: int
    seconds: float
    rules: int
    lines: list[Line]
    samples: list[Sample]

    @property
    def factor(self) -> float | None:
        """How much more the mosquitto here needs than the one that others were measured beside, over all rows."""
        factors = [line.factor for line in self.lines if line.factor]
        return statistics.median(factors) if factors else None


class Elsewhere(msgspec.Struct, frozen=True):
    """Figures of brokers that cannot be installed here, made on another machine beside another mosquitto."""

    what: str
    peer: str
    bridge: str
    rows: dict[str, dict[str, float]]
    as_they_are: set[str] = set()  # bytes are the same on every machine

    def factor(self, row: str, peer_here: float | None, bridge_here: float | None) -> float | None:
        """Give how much more the mosquitto here needs than the one there, seen from a broker measured at both places.

        None where one of the four figures is missing.
        """
        there = self.rows.get(row, {})
        if not peer_here or not bridge_here or self.bridge not in there:
            return None
        return (peer_here / bridge_here) / (there[self.peer] / there[self.bridge])

    def guesses(self, row: str, peer_here: float | None, factor: float | None) -> list[Guess]:
        """Give what the others would need here: their ratio to mosquitto there, by the factor (1 without one)."""
        there = self.rows.get(row, {})
        if row in self.as_they_are:
            return [Guess(name, each) for name, each in there.items()]
        if not peer_here:
            return []
        scale = peer_here / there[self.peer] / (factor or 1.0) if there else 0.0
        return [Guess(name, each * scale) for name, each in there.items() if name not in (self.peer, self.bridge)]


def load_problem(broker: str, said: Mapping[str, Any]) -> str | None:
    """Say why what the load generator printed is not fit for a ratio."""
    lost, delivered = said.get("lost", 0), said.get("delivered", 0)
    if lost:
        return f"{broker} lost {lost:,} of {delivered + lost:,} messages"
    if said.get("duplicates"):
        return f"{broker} delivered {said['duplicates']:,} messages twice or out of order"
    if said.get("saturated"):
        return f"the load generator was saturated beside {broker} ({said['cpu_share']:.0%} of its core)"
    return None


def summarise_all(rows: Sequence[Row], samples: Sequence[Sample], elsewhere: Elsewhere) -> list[Line]:
    """Give the lines of `rows`; one factor between the two mosquittos, the median of those of the rows, serves all."""
    factors = [line.factor for row in rows if (line := summarise(row, samples, elsewhere)).factor]
    common = statistics.median(factors) if factors else None
    return [summarise(row, samples, elsewhere, common) for row in rows]


def summarise(row: Row, samples: Sequence[Sample], elsewhere: Elsewhere, common_factor: float | None = None) -> Line:
    """Give the line of `row`: medians of its runs, and ratios where nothing speaks against."""
    spreads = _spreads(row, samples)
    refusals: list[str] = []
    value, ours = None, spreads.get(OURS)
    problems = _problems(row.measure, OURS, samples)
    if row.goal.against is not None:
        problems |= _problems(row.goal.against.measure or row.measure, row.goal.against.broker, samples)
    if problems:
        refusals.append("no ratio, because " + "; ".join(problems))
    elif ours is not None:
        value = _value(row, ours, samples)
    is_met = row.goal.is_met(value) if value is not None else None
    factor, guesses, best, best_ratio = _beside_others(row, spreads, samples, elsewhere, refusals, common_factor)
    ratio = value if row.goal.against is not None else None
    return Line(row, spreads, ratio, is_met, factor, guesses, best, best_ratio, refusals)


def _spreads(row: Row, samples: Sequence[Sample]) -> dict[str, Spread]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        if sample.measure == row.measure and row.figure in sample.figures:
            found.setdefault(sample.broker, []).append(sample.figures[row.figure])
    against = row.goal.against
    if against is not None and row.goal.beside:
        values = _values(against.measure or row.measure, against.broker, against.figure or row.figure, samples)
        if values:
            found[row.goal.beside] = values
    return {broker: Spread.of(values) for broker, values in found.items()}


def _values(measure: str, broker: str, figure: str, samples: Sequence[Sample]) -> list[float]:
    return [
        sample.figures[figure]
        for sample in samples
        if (sample.measure, sample.broker) == (measure, broker) and figure in sample.figures
    ]


def _value(row: Row, ours: Spread, samples: Sequence[Sample]) -> float | None:
    against = row.goal.against
    if against is None:
        return ours.median
    beside = _values(against.measure or row.measure, against.broker, against.figure or row.figure, samples)
    return ours.median / statistics.median(beside) if beside and statistics.median(beside) else None


def _problems(measure: str, broker: str, samples: Sequence[Sample]) -> dict[str, None]:
    runs = [sample for sample in samples if (sample.measure, sample.broker) == (measure, broker)]
    if not runs:
        return {f"{broker} was not run": None}
    return dict.fromkeys(run.problem for run in runs if run.problem)


def _beside_others(
    row: Row,
    spreads: Mapping[str, Spread],
    samples: Sequence[Sample],
    elsewhere: Elsewhere,
    refusals: list[str],
    common_factor: float | None,
) -> tuple[float | None, list[Guess], str | None, float | None]:
    """Give the factor, the guesses, the best of the others and our ratio to it."""
    ours, peer = (_sound(row, name, spreads, samples) for name in (OURS, PEER))
    bridge = _sound(row, elsewhere.bridge, spreads, samples)
    factor = elsewhere.factor(row.name, peer, bridge)
    guesses = elsewhere.guesses(row.name, peer, common_factor)
    if not row.beside_others:
        return factor, guesses, None, None
    others = {guess.broker: guess.value for guess in guesses}
    for broker in spreads:
        if broker in (OURS, PEER):
            continue
        value = _sound(row, broker, spreads, samples)
        if value is None:
            refusals.append("not counted: " + "; ".join(_problems(row.measure, broker, samples)))
        else:
            others[broker] = value
    if not others:
        return factor, guesses, None, None
    best = min(others, key=others.__getitem__)
    return factor, guesses, best, ours / others[best] if ours is not None and others[best] else None


def _sound(row: Row, broker: str, spreads: Mapping[str, Spread], samples: Sequence[Sample]) -> float | None:
    if broker not in spreads or _problems(row.measure, broker, samples):
        return None
    return spreads[broker].median


def replace_table(path: Path, table: str, marks: tuple[str, str] = (TABLE_START, TABLE_END)) -> bool:
    """Put `table` between the marks in the file at `path`; say whether it was there and had them."""
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8")
    before, start, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (start and end):
        return False
    path.write_text(f"{before}{start}\n{table}{end}{after}", encoding="utf-8")
    return True
