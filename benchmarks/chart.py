"""Draws line charts as SVG that GitHub can show: without scripts or fonts of its own, and readable in dark mode."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]
Scale: TypeAlias = Callable[[float], float]

WIDTH: Final = 460
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 80, 16, 34, 46
COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
LINE_HEIGHT: Final = 16
IN_A_ROW: Final = 3
MILLION: Final = 1e6


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with lines over a linear x-axis. With `log`, the y-axis is logarithmic and starts at `floor`."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    log: bool = False
    floor: float = 0.01
    x_ticks: Sequence[float] | None = None

    def svg(self, left: int, top: int) -> str:
        """The chart as SVG, with its upper left corner at this position."""
        points = [point for line in self.lines.values() for point in line]
        x_values, y_values = [x for x, _ in points], [y for _, y in points]
        x_scale = _linear(min(0, *x_values), max(x_values), LEFT, WIDTH - RIGHT)
        ticks = self.x_ticks or _round_numbers(max(x_values))
        low, high = HEIGHT - BOTTOM, TOP
        y_scale, y_ticks = self._decades(y_values) if self.log else self._even(y_values)
        parts = [f'<g transform="translate({left} {top})">', _text(LEFT, 20, self.title, weight="bold")]
        for tick in y_ticks:
            y = y_scale(tick)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(_text(LEFT - 6, y + 4, _number(tick), anchor="end"))
        parts += [_text(x_scale(tick), low + 16, _number(tick), anchor="middle") for tick in ticks]
        parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 12, self.x, anchor="middle"))
        parts.append(_text(0, 0, self.y, anchor="middle", move=f"translate(14 {(low + high) / 2}) rotate(-90)"))
        for index, (name, line) in enumerate(self.lines.items()):
            colour = COLOURS[index % len(COLOURS)]
            path = "L".join(f"{x_scale(x):.1f} {y_scale(y):.1f}" for x, y in line)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            y = HEIGHT + LINE_HEIGHT * (index // 2)
            parts.append(_text(LEFT + (index % 2) * (WIDTH - LEFT) / 2, y + 4, f"— {name}", fill=colour))
        return "\n".join([*parts, "</g>"])

    def _even(self, values: Sequence[float]) -> tuple[Scale, list[float]]:
        ticks = _round_numbers(max(*values, self.floor))
        return _linear(0, max(*values, ticks[-1]), HEIGHT - BOTTOM, TOP), ticks

    def _decades(self, values: Sequence[float]) -> tuple[Scale, list[float]]:
        lowest = math.floor(math.log10(self.floor))
        highest = max(lowest + 1, math.ceil(math.log10(max(*values, self.floor))))
        scale = _linear(lowest, highest, HEIGHT - BOTTOM, TOP)
        return lambda value: scale(math.log10(max(value, self.floor))), [10.0**n for n in range(lowest, highest + 1)]


def svg(charts: Sequence[Chart]) -> str:
    """An SVG document with the charts, three in a row."""
    legend = LINE_HEIGHT * max(math.ceil(len(chart.lines) / 2) for chart in charts)
    width, row = WIDTH * min(IN_A_ROW, len(charts)), HEIGHT + legend + LINE_HEIGHT
    height = row * math.ceil(len(charts) / IN_A_ROW)
    panels = "\n".join(
        chart.svg(WIDTH * (index % IN_A_ROW), row * (index // IN_A_ROW)) for index, chart in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{panels}\n</svg>\n'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns, except the first, are numbers and aligned right."""
    ruler = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows))


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1
    return lambda value: start + (value - low) / span * (end - start)


def _round_numbers(largest: float) -> list[float]:
    """About five values for an axis from zero, in steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(largest / 5))
    step = next(step for factor in (1, 2, 5, 10) if (step := factor * power) * 5 >= largest)
    return [step * index for index in range(int(largest / step) + 1)]


def _number(value: float) -> str:
    if value >= MILLION:
        return f"{value / MILLION:,.0f} M"
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "#333", weight: str = "normal",
          move: str = "") -> str:  # fmt: skip
    where = f'transform="{move}"' if move else f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {where} text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">{escape(text)}</text>'
