"""Line charts in a terminal: braille dots if colours tell the lines apart, otherwise a letter for each line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from mlctl.domain.run_queries import Curve
from mlctl.output.text import format_number, is_encodable

COLORS = ("cyan", "magenta", "yellow", "green", "red", "blue")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BRAILLE = 0x2800  # code point of the empty braille character
DOTS = (
    (0x01, 0x08),
    (0x02, 0x10),
    (0x04, 0x20),
    (0x40, 0x80),
)  # bits of a braille character by row and column
HEIGHT = 14
Point = tuple[int, int]


def draw_chart(title: str, curves: Sequence[Curve], *, width: int, colored: bool) -> Text:
    """Return a chart of the curves, `width` cells wide, with a legend below."""
    points = [
        [(x, y) for x, y in zip(curve.steps, curve.values, strict=True) if math.isfinite(y)]
        for curve in curves
    ]
    all_points = [point for curve_points in points for point in curve_points]
    if not all_points:
        return Text(f"{title}: no values yet\n")
    low, high = min(y for _, y in all_points), max(y for _, y in all_points)
    first, last = min(x for x, _ in all_points), max(x for x, _ in all_points)
    braille = is_encodable("⣿") and (colored or len(curves) == 1)
    labels = {
        0: format_number(high),
        HEIGHT // 2: format_number((low + high) / 2),
        HEIGHT - 1: format_number(low),
    }
    margin = max(len(label) for label in labels.values())
    columns = max(10, width - margin - 2)
    cell_width, cell_height = (2, 4) if braille else (1, 1)  # in dots
    cells: dict[Point, tuple[int, int]] = {}  # (column, row) -> (bits of its dots, index of its curve)
    for index, curve_points in enumerate(points):
        dots = [
            (
                _scale(x, first, last, top=columns * cell_width - 1),
                HEIGHT * cell_height - 1 - _scale(y, low, high, top=HEIGHT * cell_height - 1),
            )
            for x, y in curve_points
        ]
        for x, y in _connect(dots):
            cell = (x // cell_width, y // cell_height)
            bits = cells.get(cell, (0, 0))[0] | DOTS[y % cell_height][x % cell_width]
            cells[cell] = (bits, index)
    lines = [Text(title, style="bold")]
    axis = "┤" if is_encodable("┤") else "|"
    for row in range(HEIGHT):
        line = Text(f"{labels.get(row, ''):>{margin}} {axis}")
        for column in range(columns):
            bits, index = cells.get((column, row), (0, -1))
            if index < 0:
                line.append(" ")
            else:
                mark = chr(BRAILLE + bits) if braille else LETTERS[index % len(LETTERS)]
                line.append(mark, style=COLORS[index % len(COLORS)])
        line.rstrip()
        lines.append(line)
    end = str(last)
    lines.append(Text(f"{'':>{margin}}  {first:<{columns - len(end)}}{end}"))
    dash = "━━" if is_encodable("━") else "--"
    for index, curve in enumerate(curves):
        mark = dash if braille else LETTERS[index % len(LETTERS)]
        last_value = format_number(curve.values[-1]) if curve.values else "none"
        label = f" {curve.run_name} ({curve.run_id[:8]}): last {last_value}"
        lines.append(Text(mark, style=COLORS[index % len(COLORS)]).append(label, style="default"))
    return Text("\n").join(lines)


def _scale(value: float, low: float, high: float, *, top: int) -> int:
    return round((value - low) / (high - low) * top) if high > low else top // 2


def _connect(points: Sequence[Point]) -> list[Point]:
    """Return the points and those on the straight lines between them."""
    if len(points) == 1:
        return list(points)
    line = []
    for (x, y), (next_x, next_y) in pairwise(points):
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        line += [
            (x + round((next_x - x) * i / steps), y + round((next_y - y) * i / steps))
            for i in range(steps + 1)
        ]
    return line
