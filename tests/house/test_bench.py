"""The published table shows medians, and no ratio where messages were lost or the load generator was the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from bench.brokers import merged, settings_text
from bench.curves import Growth, Point, growth_plot, merged_points, render_growth
from bench.fleet import CANARY, Fleet, device_names, devices_table, rules_text
from bench.measures import EVERY, Flow
from bench.plots import cost_plot, ratio_plot
from bench.render import number, render_figures, render_goals
from bench.report import (
    OURS,
    PEER,
    TABLE_END,
    TABLE_START,
    Elsewhere,
    Goal,
    Line,
    Machine,
    Reference,
    Report,
    Row,
    Sample,
    load_problem,
    replace_table,
    summarise,
    summarise_all,
)
from bench.rows import MEASURES, ROWS

NAME = "1 to 1"
ROW = Row(NAME, NAME, "cpu", "µs", Goal(1 / 2, written="1/2"), beside_others=True)
NOWHERE = Elsewhere("nothing", "mosquitto 2.1", "NATS", {})
THERE = Elsewhere("there", "mosquitto 2.1", "NATS", {NAME: {"mosquitto 2.1": 8.0, "NATS": 1.0, "FlashMQ": 0.8}})
MACHINE = Machine(
    "A processor", 2, "6.1", "3.11", {OURS: "lockgate 0.1.0 (pure)", PEER: "mosquitto 2"}, "abc", "2030-01-02"
)


def sample(broker: str, cpu: float, problem: str | None = None, measure: str = NAME) -> Sample:
    return Sample(measure, broker, {"cpu": cpu, "per_second": 500_000.0}, problem, 0.25)


def report(samples: Sequence[Sample], elsewhere: Elsewhere = NOWHERE) -> Report:
    return Report(MACHINE, 1, 2.0, 10_000, summarise_all([ROW], samples, elsewhere), list(samples))


def line(*samples: Sample, row: Row = ROW, elsewhere: Elsewhere = NOWHERE) -> Line:
    return summarise(row, samples, elsewhere)


def test_a_line_holds_medians_spread_and_ratio() -> None:
    found = line(*(sample(OURS, s) for s in (1.0, 2.0, 9.0)), *(sample(PEER, s) for s in (10.0, 4.0, 5.0)))
    assert found.refusals == []
    assert (found.spreads[OURS].median, found.spreads[OURS].least, found.spreads[OURS].most) == (2.0, 1.0, 9.0)
    assert found.ratio == 2.0 / 5.0
    assert found.is_met is True


def test_a_goal_that_is_missed_is_said_to_be() -> None:
    assert line(sample(OURS, 3.0), sample(PEER, 4.0)).is_met is False


def test_runs_of_another_measure_do_not_count() -> None:
    found = line(sample(OURS, 2.0), sample(OURS, 50.0, "lost", measure="another"), sample(PEER, 4.0))
    assert found.ratio == 0.5


@pytest.mark.parametrize("loser", [OURS, PEER])
def test_one_run_with_a_problem_refuses_the_ratio(loser: str) -> None:
    found = line(sample(OURS, 2.0), sample(PEER, 4.0), sample(loser, 2.0, "something was lost"))
    assert (found.ratio, found.is_met) == (None, None)
    assert found.refusals == ["no ratio, because something was lost"]


def test_a_broker_that_was_not_run_has_no_ratio() -> None:
    assert line(sample(PEER, 4.0)).refusals == ["no ratio, because lockgate was not run"]


def test_of_the_others_the_best_counts_and_one_with_a_problem_does_not() -> None:
    found = line(sample(OURS, 2.0), sample(PEER, 4.0), sample("NATS", 1.0), sample("aedes", 0.5, "aedes lost 1"))
    assert (found.best, found.best_ratio) == ("NATS", 2.0)
    assert found.refusals == ["not counted: aedes lost 1"]


def test_a_broker_measured_elsewhere_stands_by_its_ratio_to_the_mosquitto_there() -> None:
    [found] = summarise_all([ROW], [sample(OURS, 2.0), sample(PEER, 24.0), sample("NATS", 2.0)], THERE)
    assert found.factor == (24.0 / 2.0) / (8.0 / 1.0)
    assert [guess.broker for guess in found.guesses] == ["FlashMQ"]
    assert found.guesses[0].value == pytest.approx(24.0 * 0.8 / 8.0 / found.factor)
    assert found.best == "FlashMQ"
    assert found.best_ratio == pytest.approx(2.0 / 1.6)


def test_the_median_of_the_factors_serves_every_row() -> None:
    rows = [msgspec.structs.replace(ROW, name=name, measure=name) for name in ("one", "two", "three")]
    there = Elsewhere("there", "mosquitto 2.1", "NATS", {row.name: THERE.rows[NAME] for row in rows})
    samples = [
        each
        for row, peer in zip(rows, (8.0, 16.0, 80.0), strict=True)
        for each in (sample(OURS, 1.0, measure=row.name), sample(PEER, peer, measure=row.name))
    ] + [sample("NATS", 1.0, measure=row.name) for row in rows]
    lines = summarise_all(rows, samples, there)
    assert [line.factor for line in lines] == [1.0, 2.0, 10.0]
    assert [line.guesses[0].value for line in lines] == pytest.approx([0.4, 0.8, 4.0])


def test_bytes_stand_as_they_were_measured_elsewhere() -> None:
    there = Elsewhere("there", "mosquitto 2.1", "NATS", {NAME: {"mosquitto 2.1": 6012, "FlashMQ": 5255}}, {NAME})
    found = line(sample(OURS, 2000.0), sample(PEER, 700.0), elsewhere=there)
    assert [(guess.broker, guess.value) for guess in found.guesses] == [("mosquitto 2.1", 6012), ("FlashMQ", 5255)]
    assert found.best == "FlashMQ"


def test_without_the_bridge_the_factor_is_taken_as_one() -> None:
    found = line(sample(OURS, 2.0), sample(PEER, 24.0), elsewhere=THERE)
    assert found.factor is None
    assert found.guesses[0].value == pytest.approx(2.4)


def test_more_is_better_where_the_goal_says_at_least() -> None:
    row = Row(NAME, NAME, "per_second", "/s", Goal(0.8, Reference("the disk"), at_least=True))
    found = line(sample(OURS, 1.0), sample("the disk", 1.0), row=row)
    assert (found.ratio, found.is_met) == (1.0, True)


def test_a_figure_can_be_held_against_another_figure_of_ours() -> None:
    row = Row(NAME, NAME, "cpu", "µs", Goal(1.1, Reference(OURS, "other")))
    found = line(sample(OURS, 1.2), sample(OURS, 1.0, measure="other"), row=row)
    assert (found.ratio, found.is_met) == (1.2, False)


def test_a_goal_without_a_reference_is_about_the_figure_itself() -> None:
    row = Row(NAME, NAME, "cpu", "ms", Goal(3.0, None))
    found = line(sample(OURS, 2.5), row=row)
    assert (found.ratio, found.is_met) == (None, True)


def test_lost_doubled_and_saturated_are_problems() -> None:
    sound = {"delivered": 1_000_000, "lost": 0, "duplicates": 0, "saturated": False, "cpu_share": 0.95}
    assert load_problem(OURS, sound) is None
    assert load_problem(OURS, sound | {"lost": 1}) == "lockgate lost 1 of 1,000,001 messages"
    assert load_problem(OURS, sound | {"duplicates": 2}) == "lockgate delivered 2 messages twice or out of order"
    saturated = "the load generator was saturated beside lockgate (95% of its core)"
    assert load_problem(OURS, sound | {"saturated": True}) == saturated


def test_the_tables_show_figures_ratio_goal_and_machine() -> None:
    found = report([sample(OURS, 2.0), sample(PEER, 5.0)])
    text = render_goals(found)
    assert "| 1 to 1 | 2 µs | 5 µs | 0.40 | ≤ 1/2 | yes | – | – |" in text
    for fact in ("A processor", "2 cores", "Linux 6.1", "lockgate 0.1.0 (pure)", "mosquitto 2;", "2030-01-02", "25%"):
        assert fact.rstrip(";") in text
    assert "10,000 rules" in text
    assert "no ratio" not in text
    assert text in render_figures(found)


def test_the_tables_say_what_is_a_guess_and_by_which_factor() -> None:
    samples = [sample(OURS, 2.0), sample(PEER, 24.0), sample("NATS", 2.0)]
    found = report(samples, THERE)
    assert "| FlashMQ, 1.60 µs \\* | 1.25 |" in render_goals(found)
    assert "| 1 to 1 | 1.50 | 1.60 µs |" in render_figures(found)


def test_the_table_says_why_a_ratio_is_missing() -> None:
    text = render_goals(report([sample(OURS, 2.0, "lockgate lost 1 of 2 messages"), sample(PEER, 4.0)]))
    assert "| – | ≤ 1/2 | – |" in text
    assert "- 1 to 1: no ratio, because lockgate lost 1 of 2 messages." in text


def test_the_plots_show_every_broker_and_are_the_same_each_time() -> None:
    found = report([sample(OURS, 2.0), sample(PEER, 24.0), sample("NATS", 3.0)], THERE)
    for plot in (cost_plot, ratio_plot):
        text = plot(found)
        assert text == plot(found)
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert ">1 to 1</text>" in text
        assert "prefers-color-scheme: dark" in text
    assert all(f">{name}</text>" in cost_plot(found) for name in (OURS, PEER, "NATS"))
    assert 'class="b0"' in ratio_plot(found)
    assert 'class="no"' in ratio_plot(report([sample(OURS, 20.0), sample(PEER, 24.0)]))


def test_growth_is_merged_point_by_point_and_drawn_with_a_line_for_each_series() -> None:
    old = [Point("10 levels", 10, {"match_us": 1.0, "subscribe_us": 1.5, "bytes": 0.0})]
    old += [Point("connections", 10_000, {"message_us": 0.3, "idle_share": 0.01, "bytes": 2500.0})]
    new = [Point("10 levels", 10, {"match_us": 0.9, "subscribe_us": 1.5, "bytes": 0.0})]
    new += [Point("3 levels", 10_000, {"match_us": 0.5, "subscribe_us": 1.0, "bytes": 500.0})]
    points = merged_points(old, new)
    assert [(point.series, point.x) for point in points] == [
        ("3 levels", 10_000),
        ("10 levels", 10),
        ("connections", 10_000),
    ]
    table = render_growth(Growth(report([]).machine, points))
    assert "| 10 | – | 0.900 µs | 1.50 µs | – |" in table
    assert "| 10,000 | 0.500 µs | – | 1 µs | 500 B |" in table
    assert "| 10,000 | 0.300 µs | 1.0 % | 2,500 B |" in table
    plot = growth_plot(points)
    assert ElementTree.fromstring(plot).tag == "{http://www.w3.org/2000/svg}svg"
    assert plot.count("<polyline") == 3
    assert "Nothing was measured" in growth_plot([])


def test_plots_of_nothing_say_so() -> None:
    assert "Nothing was measured" in cost_plot(report([]))
    assert "Nothing was measured" in ratio_plot(report([]))


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (1.2345, "1.23"), (12.34, "12.3"), (1234.5, "1,234"), (3.0, "3")]
)
def test_figures_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_every_row_has_its_measure_and_its_name_once() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    measures = {measure.name: measure for measure in MEASURES}
    assert len(measures) == len(MEASURES)
    for row in ROWS:
        assert OURS in measures[row.measure].brokers
        against = row.goal.against
        if against is not None:
            assert against.measure is None or against.measure in measures


def test_a_flow_gives_the_generator_its_options() -> None:
    words = Flow(NAME, EVERY, publishers=100, rate=1000, persistent=True, seconds_at_least=1.0).load_arguments(0.5)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert (options["--publishers"], options["--rate"], options["--seconds"]) == ("100", "1000", "1")
    assert options["--session"] == "persistent"
    words = Flow(NAME, EVERY, at_most=5000, refill=5).load_arguments(0.5)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert (options["--at-most"], options["--refill"]) == ("5000", "5")


def test_every_device_of_the_fleet_has_rules_of_its_own() -> None:
    fleet = Fleet(Path("somewhere"), 3, 1, 2)
    assert device_names(fleet) == ["d0", "d1", "d2", "j0"]
    lines = ["name,auth", "d0,x509", "d1,x509", "d2,x509", "j0,jwt-es256", f"{CANARY},x509"]
    assert devices_table(fleet).splitlines() == lines
    rules = rules_text(fleet)
    assert rules.count("[[rule]]") == fleet.rules == 12
    assert '[[rule]]\nfor = "device:d1"\nallow = "publish"\ntopic = "bench/#"\n' in rules
    assert f'[[rule]]\nfor = "device:{CANARY}"\ndeny = "receive"\ntopic = "bench/load"\n' in rules


def test_settings_of_a_run_go_over_those_of_the_home() -> None:
    both = merged({"hub": {"a": 1, "b": 2}}, {"hub": {"b": 3}, "net": {"c": "x"}})
    assert settings_text(both) == '[hub]\na = 1\nb = 3\n\n[net]\nc = "x"\n'


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
