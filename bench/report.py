"""The bench's results: from single runs to medians, ratios and the table, or to the reason why there is no ratio."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

OURS, PEER = "lockgate", "mosquitto"
TABLE_START, TABLE_END = "<!-- bench:start -->", "<!-- bench:end -->"
NOTHING = "–"


class Load(msgspec.Struct, frozen=True):
    """What the load generator printed about one run."""

    tls: str
    published: int
    delivered: int
    lost: int
    duplicates: int
    elapsed_seconds: float
    delivered_per_second: float
    cpu_seconds: float
    cpu_share: float
    saturated: bool


class Run(msgspec.Struct, frozen=True):
    """One workload on one fresh broker."""

    workload: str
    broker: str
    load: Load
    broker_cpu_seconds: float
    machine_cpu_seconds: float

    @property
    def cpu_microseconds(self) -> float:
        """The broker's CPU for one delivered message."""
        return self.broker_cpu_seconds / self.load.delivered * 1e6 if self.load.delivered else float("nan")

    @property
    def others_share(self) -> float:
        """How much of one core went to neither the broker nor the load generator: it disturbs throughput."""
        others = self.machine_cpu_seconds - self.broker_cpu_seconds - self.load.cpu_seconds
        return max(0.0, others / self.load.elapsed_seconds)

    @property
    def problem(self) -> str | None:
        """Why this run is not fit for a ratio."""
        load = self.load
        if load.lost:
            return f"{self.broker} lost {load.lost:,} of {load.delivered + load.lost:,} messages"
        if load.duplicates:
            return f"{self.broker} delivered {load.duplicates:,} messages twice or out of order"
        if load.saturated:
            return f"the load generator was saturated beside {self.broker} ({load.cpu_share:.0%} of its core)"
        return None


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Row(msgspec.Struct, frozen=True):
    """One line of the table; a broker that was not run is None, and so is a ratio that would not be honest."""

    workload: str
    our_cpu: Spread | None
    peer_cpu: Spread | None
    cpu_ratio: float | None
    our_rate: Spread | None
    peer_rate: Spread | None
    rate_ratio: float | None
    refusal: str | None


class Machine(msgspec.Struct, frozen=True):
    """Where the numbers come from."""

    cpu: str
    cores: int
    kernel: str
    python: str
    lockgate: str
    mosquitto: str
    revision: str
    date: str


class Report(msgspec.Struct, frozen=True):
    """All of one bench: what latest.json holds."""

    machine: Machine
    repeats: int
    seconds: float
    rows: list[Row]
    runs: list[Run]


def summarise(workload: str, runs: Sequence[Run]) -> Row:
    """Give the row of `workload`: medians of its runs, and ratios (ours by the peer's) where nothing speaks against."""
    ours = [run for run in runs if run.workload == workload and run.broker == OURS]
    peers = [run for run in runs if run.workload == workload and run.broker == PEER]
    our_cpu, our_rate = _spreads(ours)
    peer_cpu, peer_rate = _spreads(peers)
    refusal = _refusal(ours, peers)
    cpu_ratio = rate_ratio = None
    if refusal is None and our_cpu and peer_cpu and our_rate and peer_rate:
        cpu_ratio = our_cpu.median / peer_cpu.median
        rate_ratio = our_rate.median / peer_rate.median
    return Row(workload, our_cpu, peer_cpu, cpu_ratio, our_rate, peer_rate, rate_ratio, refusal)


def _spreads(runs: Sequence[Run]) -> tuple[Spread | None, Spread | None]:
    runs = [run for run in runs if run.load.delivered]
    if not runs:
        return None, None
    return Spread.of([run.cpu_microseconds for run in runs]), Spread.of([run.load.delivered_per_second for run in runs])


def _refusal(ours: Sequence[Run], peers: Sequence[Run]) -> str | None:
    for name, runs in ((OURS, ours), (PEER, peers)):
        if not runs:
            return f"{name} was not run"
    problems = dict.fromkeys(run.problem for run in (*ours, *peers) if run.problem)
    return "; ".join(problems) or None


def render(report: Report) -> str:
    """Give the table in Markdown, the refused ratios with their reasons and the machine below it."""
    lines = [
        f"| workload (64 B) | CPU µs per delivery: {OURS} | {PEER} | ratio "
        f"| deliveries per second: {OURS} | {PEER} | ratio |",
        "|---|---|---|---|---|---|---|",
        *(_render_row(row) for row in report.rows),
        "",
    ]
    refused = [f"- {row.workload}: no ratio, because {row.refusal}." for row in report.rows if row.refusal]
    if refused:
        lines += [*refused, ""]
    lines += [_render_machine(report), ""]
    return "\n".join(lines)


def _render_row(row: Row) -> str:
    cells = (
        row.workload,
        _render_cpu(row.our_cpu),
        _render_cpu(row.peer_cpu),
        _render_ratio(row.cpu_ratio),
        _render_rate(row.our_rate),
        _render_rate(row.peer_rate),
        _render_ratio(row.rate_ratio),
    )
    return f"| {' | '.join(cells)} |"


def _render_cpu(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})" if spread else NOTHING


def _render_rate(spread: Spread | None) -> str:
    return f"{spread.median:,.0f} ({spread.least:,.0f} to {spread.most:,.0f})" if spread else NOTHING


def _render_ratio(ratio: float | None) -> str:
    return f"**{ratio:.2f}**" if ratio is not None else NOTHING


def _render_machine(report: Report) -> str:
    machine = report.machine
    others = max((run.others_share for run in report.runs), default=0.0)
    return (
        f"Medians (least to most) of {report.repeats} runs of {report.seconds:g} s, each on a fresh broker; "
        f"a ratio is {OURS}'s figure by {PEER}'s. {machine.date}, {machine.cpu}, {machine.cores} cores, "
        f"Linux {machine.kernel}, Python {machine.python}, {machine.lockgate} at {machine.revision}, "
        f"{machine.mosquitto}. Other processes took up to {others:.0%} of a core meanwhile."
    )


def replace_table(path: Path, table: str) -> bool:
    """Put `table` between the marks in the file at `path`; say whether it was there and had them."""
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8")
    before, start, rest = text.partition(TABLE_START)
    _, end, after = rest.partition(TABLE_END)
    if not (start and end):
        return False
    path.write_text(f"{before}{start}\n{table}{end}{after}", encoding="utf-8")
    return True
