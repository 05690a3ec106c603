"""Pictures of a report as inline SVG: intervals of gains, and evidence as it grew."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from agents.gate.report import Finding

__all__ = ["evidence", "interval", "reach"]

WIDE, HIGH = 420, 170  # px of a chart of evidence
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36
LEAST = 1.3  # powers of ten that the axis of evidence reaches to at least, both ways


def reach(findings: Sequence[Finding]) -> float:
    """How far from zero the intervals of a table go that are not the whole range: what its bars are drawn to."""
    ends = [abs(v) for finding in findings for v in (finding.gain_low, finding.gain_high) if abs(v) < 1.0]
    return max(0.05, *(f.margin or 0.0 for f in findings), *ends) if findings else 1.0


def interval(finding: Finding, reach: float) -> str:
    """The gain with its interval as a bar, from -reach to reach, zero and the margin marked."""

    def x(value: float) -> float:
        return 4 + 132 * (min(max(value, -reach), reach) + reach) / (2 * reach)

    low, high = x(finding.gain_low), x(finding.gain_high)
    parts = [f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="1" y2="19"/>']
    if finding.margin is not None:
        parts.append(f'<line class="margin" x1="{x(-finding.margin):.1f}" x2="{x(-finding.margin):.1f}" y1="1" y2="19"/>')
    parts.append(f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="10" y2="10"/>')
    if finding.gain is not None:
        parts.append(f'<circle class="{finding.state.replace(" ", "-")}" cx="{x(finding.gain):.1f}" cy="10" r="4"/>')
    gain = "unknown" if finding.gain is None else f"{100 * finding.gain:+.1f}"
    title = f"gain {gain} points, between {100 * finding.gain_low:+.1f} and {100 * finding.gain_high:+.1f}"
    return f'<svg class="interval" viewBox="0 0 140 20" role="img"><title>{title}</title>{"".join(parts)}</svg>'


def evidence(finding: Finding, alpha: float, weight: float) -> str:
    """How the e-values of one metric grew with the pairs, on a logarithmic axis.

    The lines to cross: 1 / (alpha weight) for "worse", 1 / alpha for "kept up". "" without a curve.
    """
    if not finding.curve:
        return ""
    tens = math.log(10.0)
    lines = {"worse": [(n, e / tens) for n, e, _ in finding.curve]}
    if finding.margin is not None:
        lines["kept"] = [(n, e / tens) for n, _, e in finding.curve]
    crossed = {"worse": -math.log10(alpha * weight), "kept": -math.log10(alpha)}
    values = [e for line in lines.values() for _, e in line if math.isfinite(e)]
    high = max(LEAST, *values, *crossed.values()) + 0.2
    low = max(min(-LEAST, *values), -3.0)
    last = finding.curve[-1][0]

    def x(pairs: float) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * pairs / last

    def y(power: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (high - max(power, low)) / (high - low)

    parts = []
    step = max(1, math.ceil((high - low) / 5))
    for power in range(math.ceil(low), math.floor(high) + 1):
        if power % step == 0:
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(power):.1f}" y2="{y(power):.1f}"/>')
            parts.append(f'<text class="axis" x="{LEFT - 6}" y="{y(power) + 4:.1f}" text-anchor="end">{_power(power)}</text>')
    for name in lines:
        parts.append(f'<line class="bar {name}" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(crossed[name]):.1f}" y2="{y(crossed[name]):.1f}"/>')
    for n in _ticks(last):
        parts.append(f'<text class="axis" x="{x(n):.1f}" y="{HIGH - 20}" text-anchor="middle">{n}</text>')
    parts.append(f'<text class="axis" x="{(LEFT + WIDE - RIGHT) / 2:.0f}" y="{HIGH - 5}" text-anchor="middle">pairs</text>')
    for name, line in lines.items():
        points = " ".join(f"{x(n):.1f},{y(e):.1f}" for n, e in [(0, 0.0), *line])
        parts.append(f'<polyline class="{name}" points="{points}"/>')
    what = html.escape(f"{finding.metric}: evidence for worse and for kept up over {last} pairs")
    return f'<svg class="evidence" viewBox="0 0 {WIDE} {HIGH}" role="img"><title>{what}</title>{"".join(parts)}</svg>'


def _power(power: int) -> str:
    return {0: "1", 1: "10", 2: "100", -1: "0.1"}.get(power, f"1e{power}")


def _ticks(last: int) -> Sequence[int]:
    """About four round numbers from 0 on."""
    raw = max(last / 4, 1)
    size = 10 ** math.floor(math.log10(raw))
    step = next(int(f * size) for f in (1, 2, 5, 10) if f * size >= raw)
    return range(0, last + 1, step)
