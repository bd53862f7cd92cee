"""Charts: pure functions from data to small SVG texts, in calm colours that a page sets by CSS variables."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np

from stream_mtl.watch.ticks import Tick, log_ticks, number_ticks, percent_ticks, time_ticks
from stream_mtl.watch.words import at_utc, count, known, number, share

MOST_POINTS = 400
"""Points of a line that are drawn; of more, the least and greatest of each stretch."""
COLOURS = 6

STYLE = """
:root { --ink: #1f2933; --quiet: #66727f; --line: #dfe4ea; --paper: #ffffff; --card: #f6f8fa; --accent: #2f6690;
  --s0: #2f6690; --s1: #c4703a; --s2: #4a8a66; --s3: #84639f; --s4: #a8504f; --s5: #5f6c7b; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --quiet: #9aa6b2; --line: #333c46;
  --paper: #15191e; --card: #1d2329; --accent: #7fb3d9;
  --s0: #7fb3d9; --s1: #e39a68; --s2: #7fc09a; --s3: #b79bd1; --s4: #de8a88; --s5: #a3afbb; } }
.chart { display: block; width: 100%; height: auto; font: 11px system-ui, "Segoe UI", "Helvetica Neue", Arial,
  sans-serif; font-variant-numeric: tabular-nums; }
.chart text { fill: var(--quiet); } .chart .head { fill: var(--ink); font-weight: 600; font-size: 12.5px; }
.chart .grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
.chart .reference { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 4 3; }
.chart .series { fill: none; stroke-width: 1.7; stroke-linejoin: round; stroke-linecap: round; }
.chart .estimate { stroke-dasharray: 5 4; } .chart .proxy { stroke-width: 1.3; stroke-dasharray: 1.5 4; }
.chart .band { stroke: none; opacity: .16; } .chart .whisker { stroke-width: 1.2; opacity: .55; }
.chart .point { stroke: var(--paper); stroke-width: 1; } .chart .end { text-anchor: end; }
.chart .middle { text-anchor: middle; }
"""

_HEAD, _ROW = 18, 17  # pixels: the base line of the title, and from row to row of names under it

Ticks: TypeAlias = Callable[[float, float], list[Tick]]
Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart: x ascending; y None where there is nothing; low and high of a band around it, if any."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    band: Sequence[Span | None] = ()
    hand: Literal["", "estimate", "proxy"] = (
        ""  # how it is drawn: what is not final is broken, a proxy also grey
    )


@dataclass(frozen=True, slots=True)
class Dot:
    """A group of examples in a reliability diagram."""

    count: int
    predicted: float  # mean, 0 to 1
    observed: float  # share, 0 to 1


@dataclass(frozen=True, slots=True)
class Frame:
    """The plane of a chart in pixels, and what its edges stand for."""

    x: Span
    y: Span
    width: int = 520
    height: int = 250
    left: int = 50
    right: int = 16
    top: int = 34
    bottom: int = 42

    def across(self, x: float) -> float:
        """Return the pixel of an x."""
        low, high = self.x
        return self.left + (x - low) / (high - low) * (self.width - self.left - self.right)

    def down(self, y: float) -> float:
        """Return the pixel of a y; what is beyond an edge stands on it."""
        low, high = self.y
        part = min(max((y - low) / (high - low), 0.0), 1.0)
        return self.height - self.bottom - part * (self.height - self.top - self.bottom)

    def holds(self, y: float) -> bool:
        """Return whether a y is within the edges."""
        return self.y[0] <= y <= self.y[1]


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str = "event time (UTC)",
    y_label: str = "",
    reference: float | None = None,
    ticks: Ticks = time_ticks,
) -> str:
    """Return lines over event time, or over what `ticks` marks.

    The y range follows the bulk of the values, and the reference; the few beyond it stand as carets on the edge.
    """
    series = [decimate(one) for one in map(_finite, series) if any(y is not None for y in one.y)]
    if not series:
        return _empty(title)
    frame = Frame(_x_range(series), y_range(series, reference))
    legend = _legend_rows(frame, title, series)
    more = int(legend[-1].down - _HEAD) if legend else 0  # names that found no room beside the title
    frame = replace(frame, top=frame.top + more, height=frame.height + more)
    parts = [
        *_axes(frame, ticks(*frame.x), number_ticks(*frame.y), _x_text(frame, x_label, ticks), y_label),
        *([] if reference is None else [_level(frame, reference)]),
        *(part for i, one in enumerate(series) for part in _draw(frame, one, i)),
        *(part for row in legend for part in _legend(row)),
    ]
    return _svg(frame, title, parts)


def reliability_chart(title: str, dots: Sequence[Dot], log: bool | None = None) -> str:
    """Return observed over predicted, with 95 % intervals; on the diagonal a prediction keeps its promise.

    The axes are logarithmic where `log` says so or, if it is None, where the predictions reach over a decade.
    """
    dots = [dot for dot in dots if dot.count > 0]
    if not dots:
        return _empty(title)
    log = _wide(dots) if log is None else log
    low, high = _floor(dots, log), max(max(dot.predicted, interval(dot)[1]) for dot in dots) * 1.05
    scale: Callable[[float], float] = (lambda v: math.log10(max(v, low))) if log else (lambda v: v)
    marks = (log_ticks if log else percent_ticks)(low, min(high, 1.0))
    places = [Tick(scale(mark.place), mark.text) for mark in marks]
    span = (scale(low), scale(min(high, 1.0)))
    frame = Frame(span, span)
    most = max(dot.count for dot in dots)
    parts = [
        *_axes(frame, places, places, "predicted →", "observed"),
        f'<line class="reference" x1="{_p(frame.across(span[0]))}" y1="{_p(frame.down(span[0]))}" '
        f'x2="{_p(frame.across(span[1]))}" y2="{_p(frame.down(span[1]))}"/>',
        *(part for dot in dots for part in _draw_dot(frame, dot, scale, most)),
    ]
    return _svg(frame, title, parts)


def alone(svg: str) -> str:
    """Return a chart as a file of its own: with its style in it."""
    start = svg.index(">") + 1
    return f"{svg[:start]}<style>{STYLE}</style>{svg[start:]}"


def decimate(series: Series, most: int = MOST_POINTS) -> Series:
    """Return a line of at most so many points: of each stretch, its least and its greatest value."""
    if len(series.x) <= most:
        return series
    stretches = np.array_split(np.arange(len(series.x)), most // 2)
    keep = [place for stretch in stretches for place in _extremes(series, stretch.tolist())]
    band = [series.band[place] for place in keep] if series.band else ()
    return Series(series.name, [series.x[k] for k in keep], [series.y[k] for k in keep], band, series.hand)


def averaged(series: Series, most: int = 150) -> Series:
    """Return a noisy line of many points as the means of at most so many stretches, in a band of 80 % of the points."""
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
    if len(points) <= most:
        return series
    stretches = np.array_split(np.array(points), most)
    x, y = np.array([stretch.mean(axis=0) for stretch in stretches]).T.tolist()
    bands = [np.quantile(stretch[:, 1], (0.1, 0.9)).tolist() for stretch in stretches]
    return Series(series.name, x, y, [(low, high) for low, high in bands])


def y_range(series: Sequence[Series], reference: float | None = None) -> Span:
    """Return the range that shows the bulk: all values and intervals but proxies, unless a few would blow it up."""
    bulk = [one for one in series if one.hand != "proxy"] or series
    edges = [y for one in bulk if one.hand for span in one.band for y in span or ()]
    values = np.sort([*edges, *(y for one in bulk for y in one.y if y is not None)])
    low, high = float(values[0]), float(values[-1])
    least, most = np.quantile(values, (0.03, 0.97)).tolist()
    reach = (most - least) or abs(most) * 0.1 or 1.0
    low, high = max(low, least - reach), min(high, most + reach)
    if reference is not None:
        low, high = min(low, reference), max(high, reference)
    pad = max((high - low) * 0.08 or abs(high) * 0.05 or 0.5, abs(high) * 1e-6, 1e-9)
    return low - pad if low < 0 or low - pad > 0 else 0.0, high + pad


def interval(dot: Dot) -> Span:
    """Return where the true rate of a group is to be expected: Wilson's interval of 95 %."""
    z, n, p = 1.96, dot.count, dot.observed
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _finite(series: Series) -> Series:
    return replace(series, y=[known(y) for y in series.y])


def _extremes(series: Series, stretch: Sequence[int]) -> list[int]:
    places = [place for place in stretch if series.y[place] is not None]
    if not places:
        return [stretch[0]]
    least = min(places, key=lambda place: series.y[place] or 0.0)
    greatest = max(places, key=lambda place: series.y[place] or 0.0)
    return sorted({least, greatest})


def _x_range(series: Sequence[Series]) -> Span:
    low, high = min(one.x[0] for one in series), max(one.x[-1] for one in series)
    return (low, high) if low < high else (low - 1, high + 1)


def _x_text(frame: Frame, label: str, ticks: Ticks) -> str:
    if ticks is not time_ticks:
        return label
    days = [f"{at_utc(round(x)):%Y-%m-%d}" for x in frame.x]
    return f"{label}, {' to '.join(dict.fromkeys(days))}"


def _axes(
    frame: Frame, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], x_label: str, y_label: str
) -> Iterator[str]:
    left, right, base = frame.left, frame.width - frame.right, frame.height - frame.bottom
    for tick in y_ticks:
        y = _p(frame.down(tick.place))
        yield f'<line class="grid" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield f'<text class="end" x="{left - 7}" y="{y}" dy="3.5">{escape(tick.text)}</text>'
    yield f'<line class="grid" x1="{left}" y1="{base}" x2="{right}" y2="{base}"/>'
    for tick in x_ticks:
        x = _p(frame.across(tick.place))
        yield f'<line class="grid" x1="{x}" y1="{base}" x2="{x}" y2="{base + 4}"/>'
        room = frame.width - frame.across(tick.place) > 3.2 * len(tick.text)
        place = f'class="middle" x="{x}"' if room else f'class="end" x="{frame.width}"'
        yield f'<text {place} y="{base + 16}">{escape(tick.text)}</text>'
    yield f'<text class="end" x="{right}" y="{frame.height - 8}">{escape(x_label)}</text>'
    if y_label:
        yield f'<text x="0" y="{frame.height - 8}">↑ {escape(y_label)}</text>'


def _level(frame: Frame, y: float) -> str:
    at = _p(frame.down(y))
    return f'<line class="reference" x1="{frame.left}" y1="{at}" x2="{frame.width - frame.right}" y2="{at}"/>'


def _draw(frame: Frame, series: Series, number_: int) -> Iterator[str]:
    colour = _colour(series, number_)
    if series.band:
        yield from _draw_band(frame, series, colour)
    for run in _runs(series.y):
        points = [f"{_p(frame.across(series.x[i]))},{_p(frame.down(series.y[i] or 0.0))}" for i in run]
        if len(points) > 1:
            hand = f" {series.hand}" if series.hand else ""
            yield f'<polyline class="series{hand}" stroke="{colour}" points="{" ".join(points)}"/>'
    if not series.hand:
        yield from _draw_points(frame, series, colour)


def _draw_band(frame: Frame, series: Series, colour: str) -> Iterator[str]:
    for run in _runs(series.band):
        spans = [(frame.across(series.x[i]), series.band[i] or (0.0, 0.0)) for i in run]
        there = [f"{_p(x)},{_p(frame.down(high))}" for x, (_, high) in spans]
        back = [f"{_p(x)},{_p(frame.down(low))}" for x, (low, _) in reversed(spans)]
        yield f'<polygon class="band" fill="{colour}" points="{" ".join(there + back)}"/>'


def _draw_points(frame: Frame, series: Series, colour: str) -> Iterator[str]:
    """Give dots with their values where there are few, carets where a value is beyond the edge."""
    few = sum(y is not None for y in series.y) <= 60
    for x, y in zip(series.x, series.y, strict=True):
        if y is None:
            continue
        across, down = frame.across(x), frame.down(y)
        title = f"<title>{escape(series.name)}: {number(y)}</title>"
        if not frame.holds(y):
            tip = -5 if y > frame.y[1] else 5
            yield f'<path fill="{colour}" d="M{_p(across - 3.5)} {_p(down)}h7l-3.5 {tip}z">{title}</path>'
        elif few:
            yield f'<circle class="point" fill="{colour}" cx="{_p(across)}" cy="{_p(down)}" r="2.6">{title}</circle>'


@dataclass(frozen=True, slots=True)
class _LegendRow:
    """Lines that are named beside each other, with their numbers."""

    left: float
    down: float
    series: Sequence[tuple[int, Series]]


def _legend_rows(frame: Frame, title: str, series: Sequence[Series]) -> list[_LegendRow]:
    """Name the lines beside the title if there is room, else in rows under it; one line alone needs no name."""
    named = list(enumerate(series)) if len(series) > 1 else []
    room, whole = frame.width - frame.right, sum(map(_legend_width, named))
    if whole <= room - 7.2 * len(title):
        return [_LegendRow(room - whole, _HEAD, named)] if named else []
    rows: list[list[tuple[int, Series]]] = [[]]
    for one in named:
        if rows[-1] and sum(map(_legend_width, [*rows[-1], one])) > room:
            rows.append([])
        rows[-1].append(one)
    return [_LegendRow(-10, _HEAD + _ROW * place, row) for place, row in enumerate(rows, 1)]


def _legend_width(one: tuple[int, Series]) -> float:
    return 6.6 * len(one[1].name) + 24


def _legend(row: _LegendRow) -> Iterator[str]:
    x, y = row.left, row.down - 4
    for i, one in row.series:
        colour = _colour(one, i)
        if one.hand:
            yield f'<path class="series {one.hand}" stroke="{colour}" d="M{_p(x + 9)} {_p(y)}h11"/>'
        else:
            yield f'<circle cx="{_p(x + 14)}" cy="{_p(y)}" r="4" fill="{colour}"/>'
        yield f'<text x="{_p(x + 22)}" y="{_p(row.down)}">{escape(one.name)}</text>'
        x += _legend_width((i, one))


def _colour(series: Series, number_: int) -> str:
    return "var(--quiet)" if series.hand == "proxy" else f"var(--s{number_ % COLOURS})"


def _draw_dot(frame: Frame, dot: Dot, scale: Callable[[float], float], most: int) -> Iterator[str]:
    x, y = frame.across(scale(dot.predicted)), frame.down(scale(dot.observed))
    low, high = interval(dot)
    radius = 2.5 + 3.5 * math.sqrt(dot.count / most)
    says = f"{count(dot.count)} examples: predicted {share(dot.predicted)}, observed {share(dot.observed)}"
    yield (
        f'<line class="whisker" stroke="var(--s0)" x1="{_p(x)}" y1="{_p(frame.down(scale(low)))}" '
        f'x2="{_p(x)}" y2="{_p(frame.down(scale(high)))}"/>'
    )
    yield (
        f'<circle class="point" fill="var(--s0)" cx="{_p(x)}" cy="{_p(y)}" r="{_p(radius)}">'
        f"<title>{escape(says)}</title></circle>"
    )


def _wide(dots: Sequence[Dot]) -> bool:
    predicted = [max(dot.predicted, 1e-9) for dot in dots]
    return max(predicted) / min(predicted) > 10


def _floor(dots: Sequence[Dot], log: bool) -> float:
    """Return the lower edge of both axes: zero, or just below the least rate that is there."""
    if not log:
        return 0.0
    rates = [rate for dot in dots for rate in (dot.predicted, dot.observed) if rate > 0]
    return min(rates, default=1e-4) / 1.6


def _runs(values: Sequence[object | None]) -> Iterator[list[int]]:
    """Give the stretches without a gap."""
    for there, run in groupby(range(len(values)), key=lambda i: values[i] is not None):
        if there:
            yield list(run)


def _empty(title: str) -> str:
    frame = Frame((0, 1), (0, 1))
    x, y = frame.width // 2, frame.height // 2
    return _svg(frame, title, [f'<text class="middle" x="{x}" y="{y}">nothing to show yet</text>'])


def _svg(frame: Frame, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width} {frame.height}" '
        f'role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<text class="head" x="0" y="18">{escape(title)}</text>{"".join(parts)}</svg>'
    )


def _p(pixel: float) -> str:
    return f"{pixel:.1f}".removesuffix(".0")
