"""How cost grows, as people read it: tables for the documentation, and a plot with a line for each series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from bench.plots import WIDTH, svg, text_at
from bench.render import number
from bench.report import Machine

CONNECTIONS = "connections"
FEW = 10_000
"""Of fewer the memory is not told: what a process has lying about from before is more than they take."""
LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 50, 150, 58, 40, 330


class Point(msgspec.Struct, frozen=True):
    """What was measured at one size; `series` is "connections", or "3 levels" and so on over subscriptions."""

    series: str
    x: int
    figures: dict[str, float]


class Growth(msgspec.Struct, frozen=True):
    """What `results/growth.json` holds."""

    machine: Machine
    points: list[Point]


def merged_points(old: Sequence[Point], new: Sequence[Point]) -> list[Point]:
    """Give all points, in their order; a new one replaces the old one of its place."""
    found = {(point.series, point.x): point for point in (*old, *new)}
    series = sorted({point.series for point in found.values()}, key=_place)
    return [found[key] for name in series for key in sorted(found) if key[0] == name]


def render_growth(growth: Growth) -> str:
    """Give the tables: over subscriptions, and over connections."""
    points, machine = growth.points, growth.machine
    series = list(dict.fromkeys(point.series for point in points if point.series != CONNECTIONS))
    lines = [
        f"| subscriptions that do not match | {' | '.join(f'find who hears, {name}' for name in series)} "
        "| a subscription | its memory |",
        "|---" * (len(series) + 3) + "|",
    ]
    for x in sorted({point.x for point in points if point.series in series}):
        here = {point.series: point.figures for point in points if point.x == x and point.series in series}
        match = [f"{number(here[name]['match_us'])} µs" if name in here else "–" for name in series]
        deepest = here[max(here, key=_place)]
        kept = f"{number(deepest['bytes'])} B" if x >= FEW else "–"
        lines.append(f"| {x:,} | {' | '.join(match)} | {number(deepest['subscribe_us'])} µs | {kept} |")
    lines += [
        "",
        "| idle connections | a message | the idle ones, of a core | each one's memory |",
        "|---|---|---|---|",
    ]
    for point in points:
        if point.series == CONNECTIONS:
            each = point.figures
            kept = f"{number(each['bytes'])} B" if point.x >= FEW else "–"
            share = f"{each['idle_share'] * 100:.1f} %"
            lines.append(f"| {point.x:,} | {number(each['message_us'])} µs | {share} | {kept} |")
    said = f"{machine.date}, {machine.cpu}, {machine.cores} cores, Linux {machine.kernel}, {machine.revision}"
    return "\n".join([*lines, "", f"The hub's CPU; memory beyond what its process had before. {said}.", ""])


def growth_plot(points: Sequence[Point]) -> str:
    """Give the plot: CPU over the number of subscriptions or connections, which is on a logarithmic scale."""
    title = "What stays when everything grows: the hub's CPU, in µs"
    if not points:
        return svg(HEIGHT, "Nothing was measured", [])
    lines: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        name = "a message" if point.series == CONNECTIONS else f"match, {point.series}"
        value = point.figures["message_us" if point.series == CONNECTIONS else "match_us"]
        lines.setdefault(name, []).append((point.x, value))
    most = max(value for line in lines.values() for _, value in line) * 1.1
    last = max(1.0, math.log10(max(point.x for point in points)))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: int, value: float) -> tuple[float, float]:
        return LEFT + wide * (math.log10(x) - 1) / max(1.0, last - 1), TOP + high * (1 - value / most)

    parts = []
    for quarter in range(5):
        y = place(10, most * quarter / 4)[1]
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text_at(LEFT - 6, y + 4, number(most * quarter / 4), "end", "quiet"))
    for power in range(1, math.floor(last) + 1):
        parts.append(text_at(place(10**power, 0)[0], HEIGHT - BOTTOM + 18, f"{10**power:,}", "middle", "quiet"))
    parts.append(text_at(LEFT, HEIGHT - 6, "subscriptions that do not match; idle connections", "start", "quiet"))
    for index, (name, line) in enumerate(lines.items()):
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in line))
        x, y = place(*line[-1])
        parts.append(f'<polyline class="l{index % 4}" points="{at}"/>')
        parts.append(text_at(x + 8, y + 4, name, "start"))
    return svg(HEIGHT, title, parts)


def _place(series: str) -> tuple[bool, int]:
    first = series.partition(" ")[0]
    return series == CONNECTIONS, int(first) if first.isdecimal() else 0
