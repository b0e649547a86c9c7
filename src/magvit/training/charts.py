"""Line charts as SVG text, for pages that open without a server. Colours come from the page's style sheet."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

Number = int | float
Points = Sequence[tuple[Number, Number]]

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 22
MOST_POINTS = 500
HOVER_STRIPS = 60


def line_chart(series: Mapping[str, Points], zero: bool = False) -> str:
    """One `<svg>` with a line for each series of points `(x, y)`, which are in order of x. Values not finite are gaps.

    Long series are averaged down to `MOST_POINTS`, and where they are noisy a smooth line is drawn over a faint one.
    The scale is logarithmic if all values are positive and spread over more than a factor of 30.

    Args:
        series: lines by name; at most four have colours of their own.
        zero: let the scale begin at 0, and not be logarithmic.
    """
    lines = {name: _thinned([p for p in points if math.isfinite(p[1])]) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return "<p class=quiet>no values</p>"
    values = sorted(y for points in lines.values() for _, y in points)
    log = not zero and values[0] > 0 and values[-1] > 30 * values[0]
    x = _Axis(min(p[0][0] for p in lines.values()), max(p[-1][0] for p in lines.values()), LEFT, WIDTH - RIGHT)
    y = _Axis(min(0.0, values[0]) if zero else values[0], values[-1], HEIGHT - BOTTOM, TOP, log)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(", ".join(lines))}">']
    for tick in y.ticks:
        place = y(tick)
        parts.append(f'<line class=grid x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in x.ticks:
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{short(tick)}</text>')
    for number, points in enumerate(lines.values()):
        smooth = _smoothed(points)
        if smooth is not points:
            parts.append(_path(points, x, y, f"raw s{number % 4}"))
        parts.append(_path(smooth, x, y, f"s{number % 4}"))
    parts += _hover(lines, x)
    return "".join(parts) + "</svg>"


def short(value: Number) -> str:
    """A number for an axis: 12k, 0.05, 3e-05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


class _Axis:
    """A map from values to places, and round values to mark."""

    def __init__(self, low: Number, high: Number, start: int, end: int, log: bool = False):
        self.log, self.start, self.end = log, start, end
        if high <= low:
            room = abs(low) * 0.1 or 1.0
            low, high = low - room, high + room
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)
        if log:
            exponents = range(math.ceil(self.low), math.floor(self.high) + 1)
            marks = [10.0**n for n in exponents[:: max(1, -(-len(exponents) // 5))]]
            self.ticks = marks if len(marks) > 1 else _round_values(low, high)
        else:
            self.ticks = _round_values(low, high)

    def __call__(self, value: Number) -> float:
        scaled = math.log10(value) if self.log else value
        return self.start + (self.end - self.start) * (scaled - self.low) / (self.high - self.low)


def _round_values(low: Number, high: Number) -> list[float]:
    """Three to six multiples of 1, 2 or 5 times a power of ten."""
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (0.5, 1, 2, 5) if (high - low) / (factor * step) <= 5.5)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _thinned(points: Points) -> Points:
    """Means of so many neighbours that at most `MOST_POINTS` are left."""
    count = -(-len(points) // MOST_POINTS)
    if count <= 1:
        return points
    groups = [points[i : i + count] for i in range(0, len(points), count)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _smoothed(points: Points) -> Points:
    """Centred moving mean over a fifteenth of the points; the same points where they are few or smooth already."""
    reach = len(points) // 30
    turns = sum((b[1] - a[1]) * (c[1] - b[1]) < 0 for (a, b), (_, c) in pairwise(pairwise(points)))
    if reach < 1 or turns < len(points) / 4:
        return points
    windows = [points[max(0, i - reach) : i + reach + 1] for i in range(len(points))]
    return [(x, sum(y for _, y in window) / len(window)) for (x, _), window in zip(points, windows, strict=True)]


def _path(points: Points, x: _Axis, y: _Axis, style: str) -> str:
    places = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    if len(points) == 1:
        a, b = points[0]
        return f'<circle class="{style}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="2"/>'
    return f'<polyline class="{style}" points="{places}"/>'


def _hover(lines: Mapping[str, Points], x: _Axis) -> list[str]:
    """Invisible strips that show the values below the pointer."""
    longest = max(lines.values(), key=len)
    shown = longest[:: max(1, -(-len(longest) // HOVER_STRIPS))]
    width = (WIDTH - LEFT - RIGHT) / len(shown)
    strips = []
    for place, _ in shown:
        near = {name: min((abs(x - place), y) for x, y in points)[1] for name, points in lines.items()}
        told = "\n".join([f"step {place:.0f}", *(f"{name} {y:.4g}" for name, y in near.items())])
        left = x(place) - width / 2
        strips.append(
            f'<rect class=hover x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
            f"<title>{escape(told)}</title></rect>"
        )
    return strips
