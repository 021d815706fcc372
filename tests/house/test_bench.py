"""The published table shows medians, and no ratio where messages were lost or the load generator was the bottleneck."""

from __future__ import annotations

from pathlib import Path

from bench.report import (
    OURS,
    PEER,
    TABLE_END,
    TABLE_START,
    Load,
    Machine,
    Report,
    Run,
    render,
    replace_table,
    summarise,
)

WORKLOAD = "1 to 1, QoS 0, plain"
MACHINE = Machine("A processor", 2, "6.1", "3.11", "lockgate 0.1.0 (pure)", "mosquitto 2", "abc", "2030-01-02")


def run(
    broker: str,
    cpu_seconds: float,
    *,
    delivered: int = 1_000_000,
    lost: int = 0,
    duplicates: int = 0,
    cpu_share: float = 0.5,
) -> Run:
    load = Load(
        tls="",
        published=delivered + lost,
        delivered=delivered,
        lost=lost,
        duplicates=duplicates,
        elapsed_seconds=2.0,
        delivered_per_second=delivered / 2.0,
        cpu_seconds=cpu_share * 2.0,
        cpu_share=cpu_share,
        saturated=cpu_share > 0.9,
    )
    return Run(WORKLOAD, broker, load, cpu_seconds, cpu_seconds + load.cpu_seconds + 0.5)


def test_a_row_holds_medians_and_ratios() -> None:
    row = summarise(WORKLOAD, [run(OURS, s) for s in (1.0, 2.0, 9.0)] + [run(PEER, s) for s in (10.0, 4.0, 5.0)])
    assert row.refusal is None
    assert row.our_cpu is not None
    assert (row.our_cpu.median, row.our_cpu.least, row.our_cpu.most) == (2.0, 1.0, 9.0)
    assert row.cpu_ratio == 2.0 / 5.0
    assert row.rate_ratio == 1.0


def test_runs_of_another_workload_do_not_count() -> None:
    other = Run("1 to 100, QoS 0, plain", OURS, run(OURS, 50.0, lost=3).load, 50.0, 51.0)
    row = summarise(WORKLOAD, [run(OURS, 2.0), other, run(PEER, 4.0)])
    assert row.cpu_ratio == 0.5


def test_one_lost_message_of_either_broker_refuses_the_ratios() -> None:
    for loser in (OURS, PEER):
        runs = [run(OURS, 2.0), run(PEER, 4.0), run(loser, 2.0, lost=1)]
        row = summarise(WORKLOAD, runs)
        assert (row.cpu_ratio, row.rate_ratio) == (None, None)
        assert row.refusal == f"{loser} lost 1 of 1,000,001 messages"


def test_a_message_delivered_twice_refuses_the_ratios() -> None:
    row = summarise(WORKLOAD, [run(OURS, 2.0, duplicates=2), run(PEER, 4.0)])
    assert row.cpu_ratio is None
    assert row.refusal == "lockgate delivered 2 messages twice or out of order"


def test_a_saturated_generator_refuses_the_ratios() -> None:
    row = summarise(WORKLOAD, [run(OURS, 2.0, cpu_share=0.95), run(PEER, 4.0)])
    assert (row.cpu_ratio, row.rate_ratio) == (None, None)
    assert row.refusal == "the load generator was saturated beside lockgate (95% of its core)"


def test_a_broker_that_delivered_nothing_has_no_figures() -> None:
    row = summarise(WORKLOAD, [run(OURS, 2.0, delivered=0, lost=7), run(PEER, 4.0)])
    assert row.our_cpu is None
    assert row.refusal == "lockgate lost 7 of 7 messages"


def test_a_broker_that_was_not_run_has_no_ratio() -> None:
    assert summarise(WORKLOAD, [run(PEER, 4.0)]).refusal == "lockgate was not run"


def test_the_table_shows_figures_ratio_and_machine() -> None:
    row = summarise(WORKLOAD, [run(OURS, 2.0), run(PEER, 4.0)])
    text = render(Report(MACHINE, 1, 2.0, [row], [run(OURS, 2.0)]))
    figures = "500,000 (500,000 to 500,000)"
    assert f"| {WORKLOAD} | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) | **0.50** | {figures} | {figures} |" in text
    for fact in (
        "A processor",
        "2 cores",
        "Linux 6.1",
        "lockgate 0.1.0 (pure)",
        "mosquitto 2",
        "2030-01-02",
        "25% of a core",
    ):
        assert fact in text
    assert "no ratio" not in text


def test_the_table_says_why_a_ratio_is_missing() -> None:
    row = summarise(WORKLOAD, [run(OURS, 2.0, lost=1), run(PEER, 4.0)])
    text = render(Report(MACHINE, 1, 2.0, [row], []))
    assert "**" not in text
    assert f"- {WORKLOAD}: no ratio, because lockgate lost 1 of 1,000,001 messages." in text


def test_the_table_replaces_the_old_one_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Top\n{TABLE_START}\nold\n{TABLE_END}\nBelow\n", encoding="utf-8")
    assert replace_table(readme, "new\n")
    assert readme.read_text(encoding="utf-8") == f"# Top\n{TABLE_START}\nnew\n{TABLE_END}\nBelow\n"


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    assert not replace_table(readme, "new\n")
    readme.write_text(f"# Top\n{TABLE_START}\n", encoding="utf-8")
    assert not replace_table(readme, "new\n")
    assert readme.read_text(encoding="utf-8") == f"# Top\n{TABLE_START}\n"
