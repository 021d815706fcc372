"""The plots: SVG written by hand, the same bytes from the same report, readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.render import number
from bench.report import OURS, PEER, Line, Report

WIDTH, LABELS, VALUES = 860, 250, 70
BAR, GAP, TOP_MARGIN, BOTTOM_MARGIN = 11, 14, 58, 12
SHOWN = (OURS, PEER, "NATS")
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .quiet { fill: #59636e; } .title { font-size: 15px; font-weight: 600; }
  .rule { stroke: #d1d9e0; } .goal { stroke: #1f2328; stroke-width: 2; }
  .b0 { fill: #0969da; } .b1 { fill: #bf8700; } .b2 { fill: #8c959f; } .no { fill: #cf222e; }
  polyline { fill: none; stroke-width: 2; }
  .l0 { stroke: #0969da; } .l1 { stroke: #bf8700; } .l2 { stroke: #8c959f; } .l3 { stroke: #1a7f37; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .rule { stroke: #3d444d; } .goal { stroke: #f0f6fc; }
    .b0 { fill: #4493f8; } .b1 { fill: #d29922; } .b2 { fill: #656c76; } .no { fill: #f85149; }
  }
"""


def cost_plot(report: Report) -> str:
    """Give the plot of what each broker spends on a delivered message, with a logarithmic scale."""
    lines = [line for line in report.lines if line.row.figure == "cpu" and line.row.unit == "µs" and _is_cost(line)]
    values = [line.spreads[name].median for line in lines for name in SHOWN if name in line.spreads]
    if not values:
        return svg(TOP_MARGIN, "Nothing was measured", [])
    scale = _Scale(min(values), max(values))
    parts, y = [_legend(SHOWN), *scale.rules(_height(lines))], TOP_MARGIN
    for line in lines:
        names = [name for name in SHOWN if name in line.spreads]
        parts.append(text_at(LABELS - 8, y + BAR * len(names) / 2 + 4, line.row.name, "end"))
        for name in names:
            value = line.spreads[name].median
            parts.append(_bar(LABELS, y, scale.at(value) - LABELS, f"b{SHOWN.index(name)}"))
            parts.append(text_at(scale.at(value) + 5, y + BAR - 1, number(value), "start", "quiet"))
            y += BAR
        y += GAP
    return svg(y + BOTTOM_MARGIN, "The broker's CPU for one delivered message, in µs (logarithmic)", parts)


def ratio_plot(report: Report) -> str:
    """Give the plot of our figures beside mosquitto's, each with its goal."""
    lines = [line for line in report.lines if line.ratio is not None and _is_beside_peer(line)]
    if not lines:
        return svg(TOP_MARGIN, "Nothing was measured", [])
    ratios = [value for line in lines for value in (line.ratio or 0.0, line.row.goal.limit)]
    scale = _Scale(min(ratios), max(*ratios, 1.0))
    height = TOP_MARGIN + len(lines) * (BAR + GAP)
    parts, y = [text_at(LABELS, 36, "the stroke is the goal; 1 is mosquitto", "start", "quiet")], TOP_MARGIN
    parts += scale.rules(height)
    for line in lines:
        assert line.ratio is not None
        goal = scale.at(line.row.goal.limit)
        parts.append(text_at(LABELS - 8, y + BAR - 1, line.row.name, "end"))
        parts.append(_bar(LABELS, y, scale.at(line.ratio) - LABELS, "b0" if line.is_met else "no"))
        parts.append(f'<line class="goal" x1="{goal:.1f}" x2="{goal:.1f}" y1="{y - 3}" y2="{y + BAR + 3}"/>')
        parts.append(text_at(max(scale.at(line.ratio), goal) + 5, y + BAR - 1, f"{line.ratio:.2f}", "start", "quiet"))
        y += BAR + GAP
    return svg(y + BOTTOM_MARGIN, "lockgate's figure by mosquitto's (logarithmic; less is better)", parts)


def _is_cost(line: Line) -> bool:
    return OURS in line.spreads and "handshake" not in line.row.name and "JWT" not in line.row.name and bool(line.best)


def _is_beside_peer(line: Line) -> bool:
    goal = line.row.goal
    return goal.against is not None and goal.against.broker == PEER and not goal.at_least


def _height(lines: Sequence[Line]) -> int:
    return TOP_MARGIN + sum(GAP + BAR * sum(name in line.spreads for name in SHOWN) for line in lines)


class _Scale:
    """A logarithmic scale from the power of ten below the least value to the most."""

    def __init__(self, least: float, most: float) -> None:
        self._from = math.floor(math.log10(least))
        self._to = math.log10(most)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._from) / (self._to - self._from)
        return LABELS + share * (WIDTH - LABELS - VALUES)

    def rules(self, height: int) -> list[str]:
        parts = []
        for power in range(self._from, math.floor(self._to) + 1):
            x = self.at(10.0**power)
            parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_MARGIN - 6}" y2="{height}"/>')
            parts.append(text_at(x, TOP_MARGIN - 10, f"{10.0**power:g}", "middle", "quiet"))
        return parts


def _legend(names: Sequence[str]) -> str:
    parts, x = [], LABELS
    for number_, name in enumerate(names):
        parts.append(f'<rect class="b{number_}" x="{x}" y="28" width="10" height="10" rx="2"/>')
        parts.append(text_at(x + 15, 37, name, "start"))
        x += 110
    return "".join(parts)


def _bar(x: float, y: float, width: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{BAR - 2}" rx="2"/>'


def text_at(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    """Give a text that starts, ends or has its middle ("start", "end", "middle") at a place."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """Give a whole picture of these parts under a title."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    name = f'<title>{escape(title)}</title><text class="title" x="12" y="20">{escape(title)}</text>'
    return "\n".join([head, f"<style>{STYLE}</style>", name, *parts, "</svg>", ""])
